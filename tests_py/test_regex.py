"""Regular expressions of tokenizer.json beside the Hugging Face library: what they match."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import msltx
from msltx import Tokenizer
from test_tokenizer_components import characters, tokenizer

# An expression and a text in which it matches something.
EXPRESSIONS = [
    (r"\p{Han}+|[^\p{Han}a]", "\u4e2d\u3001\u6587\u30fb\u6f22\u3005\u3007 a\u304b"),
    (r"\p{Uppercase Letter}|\p{l-m}|\p{Emoji}", "aA\u02b0\U0001f600"),
    (r"\p{Cs}|[\p{Cs}]|[a-z]+", "abc ]| ABC"),
    (r"\pL|\p", "apL"),
    (r"[a-z&&[^aeiou]]+|[^a-z&&[^b]]+", "hello1\u00e9"),
    (r"[a-z[A-Z]-9]+|[[a-c]x]", "aZ-9"),
    (r"[a[:b]]|[[:^alpha:]1]", "a[:b]"),
    (r"[]a]|[^]]|[!--]+|[a-c-e]", "]a+,-d"),
    (r"(?i)\p{Lu}+|[\p{Ll}1]+", "abAB1"),
    (r"(?i)[^\p{Lu}]+|\P{Ll}", "abAB1"),
    (r"(?i)ss|stop|\u00dfx|[\ufb01]", "\u00df\u1e9e \ufb06op ssx fi"),
    (r"(?i)xffi|\ufb00i|sss|(?:s)s", "x\ufb03 ffi \u00dfs s\u00df"),
    (r"\x41{2}+|\101|\x{1F600}{2}?|\u00e9", "AAAAA\U0001f600\u00e9"),
    (r"\xc3\xa9|\303\252|[\xc3\xab]", "\u00e9\u00ea\u00eb"),
    (r"\cA|\C-B|\o{103}|\e|\Qa.\E|\m|\-", "\x01\x02C\x1bQaxEm-"),
    (r"(a)\11|\08|\18", "a\t\x008\x018"),
    (r"a{2}{3}|b{2}*c|d{3,1}d|e{,2}f|g{ 2}", "aaaaaaabbcddddeefg{ 2}"),
    (r"(?x)a{2} + | b (?#c) + # d", "aaaabb"),
    (r"a{3}?b|c{1,2}+d|e++f|g??h", "aaabbcccdeefgh"),
    (r"(?<n>a|b)(c)\k<n>", "acb bcb"),
    (r"(a|b)\k<-1>\1|bc", "aaa bc"),
    (r"(a|b)+|\g<1>c", "aaa bc"),
    (r"(?>a+?)b|(?>\s+?)\S|([ab]?[ab]?c)*+d\1", "aab  x bacd"),
    (r"a\Kx*|(?!\G)|\Gb", "aaxb"),
    (r"(?:a(?i)b|c)d|(?m:e.f)|(?i-i)g", "aBd acd Cd e\nf gG"),
    (r"^a|b$|\Ac|d\Z|e\z|\bf\B|\Gg", "a\na b\nfg d\n"),
    (r"\R|\N|\O", "\r\ne\u0301\n"),
    (r"(?i)\u019b[\u0264]\x{10D55}|s{1}s|(?:s)(?:)s", "\ua7dc\ua7cb\U00010d75\u00df"),
]
CHARACTERS = [*"aabbcsSAK1 .", "\u00e9", "\u4e2d", "\u00df", "\ufb01", "\u017f", "\n"]
CLASSES = [
    *(r"\w", r"\W", r"\s", r"\S", r"\d", r"\D", r"\h", r"\H", r"\p{L}", r"\P{L}", r"\p{Lu}"),
    *(r"\p{^Lu}", r"\p{Han}", r"\p{Alpha}", r"\P{Ll}"),
]
POSIX = ["alpha", "^alpha", "upper", "lower", "^digit", "space", "punct", "word"]
REPEATS = ["*", "+", "?", "{2}", "{1,2}", "{2,}", "{,2}"]
GROUPS = ["(?:", "(", "(?i:", "(?-i:", "(?>", "(?=", "(?!", "(?m:", "(?x: "]


class Draw:
    """Random expressions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def character(self) -> str:
        c, kind = self.random.choice(CHARACTERS), self.random.random()
        if kind < 0.1:
            return f"\\x{{{ord(c):X}}}"
        return f"\\u{ord(c):04X}" if kind < 0.15 or c == "." else c

    def bracket(self, depth: int = 0) -> str:
        inside = self.random.choice(["", "", "^"])
        for _ in range(self.random.randint(1, 4)):
            kind = self.random.random()
            if kind < 0.4:
                inside += self.character()
            elif kind < 0.6:
                inside += "-".join(sorted(self.random.choices("abcsAZ09", k=2)))
            elif kind < 0.75:
                inside += self.random.choice(CLASSES)
            elif kind < 0.85:
                inside += f"[:{self.random.choice(POSIX)}:]"
            elif kind < 0.95 and depth < 2:
                inside += self.bracket(depth + 1)
            else:
                inside += "&&"
        return f"[{inside}]"

    def atom(self, depth: int) -> str:
        kind = self.random.random()
        if kind < 0.45 or depth > 3:
            return self.character()
        if kind < 0.6:
            return self.random.choice(CLASSES)
        if kind < 0.8:
            return self.bracket()
        if kind < 0.84:
            return self.random.choice(["^", "$", r"\b", r"\B", "."])
        return self.random.choice(GROUPS) + self.alternatives(depth + 1) + ")"

    def repeat(self) -> str:
        if self.random.random() < 0.6:
            return ""
        return self.random.choice(REPEATS) + self.random.choice(["", "", "?", "+", "{2}"])

    def alternatives(self, depth: int) -> str:
        branches = self.random.choice([1, 1, 2])
        return "|".join(
            "".join(self.atom(depth) + self.repeat() for _ in range(self.random.randint(1, 4)))
            for _ in range(branches)
        )

    def expression(self) -> str:
        return self.random.choice(["", "", "(?i)"]) + self.alternatives(0)

    def text(self) -> str:
        return "".join(self.random.choices([*CHARACTERS, "ss", "aa", "bb"], k=12))


def replacing(expression: str) -> str:
    """Return a tokenizer.json that puts a mark where the expression matches."""
    replace = {"type": "Replace", "pattern": {"Regex": expression}, "content": "\u2581"}
    model: dict[str, Any] = characters() | {"byte_fallback": True}
    return json.dumps(tokenizer(normalizer=replace, model=model))


def compare(expression: str, text: str) -> None:
    """Check that both match the same; what the other library refuses need not be refused here."""
    hf = pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    try:
        theirs = hf.Tokenizer.from_str(replacing(expression))
    except Exception:  # what the library raises has no class of its own
        return
    expected = theirs.encode(text, add_special_tokens=False).ids
    ours = Tokenizer.from_json(replacing(expression))
    assert ours.encode(text).tolist() == expected, (expression, text)


@pytest.mark.parametrize(("expression", "text"), EXPRESSIONS)
def test_expressions(expression: str, text: str) -> None:
    compare(expression, text)


@pytest.mark.parametrize("seed", range(10))
def test_random_expressions(seed: int) -> None:
    draw = Draw(seed)
    refused = []
    for _ in range(60):
        expression = draw.expression()
        try:
            compare(expression, draw.text())
        except msltx.FileError:  # docs/formats.md says which
            refused.append(expression)
    assert len(refused) < 6, refused


@pytest.mark.parametrize("refused", [r"(?~a)", r"\y", r"\p{InGreek}", r"(?<n>a)|(?<n>b)", r"(?W)a"])
def test_what_is_not_known_is_named(refused: str) -> None:
    with pytest.raises(msltx.FileError, match="the expression"):
        Tokenizer.from_json(replacing(refused))
