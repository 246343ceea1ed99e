#!/usr/bin/env python3
"""Write cpp/msltx/text/hf_unicode_table.cpp: what the Hugging Face library takes characters for.

    pip install tokenizers==0.23.3 unicodedata2==16.0.0
    python script/generate_hf_unicode.py

The library's components look at characters through several Unicode tables of several ages. The
table holds facts only: each code point is put before each component, and what comes out is noted.
It takes some minutes.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable
from pathlib import Path

import tokenizers
import unicodedata2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
OUTPUT = Path(__file__).resolve().parent.parent / "cpp" / "msltx" / "text" / "hf_unicode_table.cpp"
# In the order of the enum HfClass.
CONTROL, COMBINING, NONSPACING, PUNCTUATION, NUMERIC, WORD, REGEX_WORD, NORMALIZES, JOINS = (
    1 << i for i in range(9)
)


def graphemes() -> normalizers.Normalizer:
    """Return a normalizer that turns a cluster of up to 5 bytes that begins with a into b."""
    units = [0] * 1024
    units[0] = 256 << 10
    units[256 ^ ord("a")] = ord("a") | 1 << 8 | 512 << 10
    trie = struct.pack(f"<{len(units)}I", *units)
    charsmap = base64.b64encode(struct.pack("<I", len(trie)) + trie + b"b\0").decode()
    tokenizer = json.loads(Tokenizer(models.WordLevel({"u": 0}, "u")).to_str())
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    normalizer = Tokenizer.from_str(json.dumps(tokenizer)).normalizer
    assert normalizer is not None
    return normalizer


def flags() -> dict[int, int]:
    """Return the flags of every code point."""
    clean = normalizers.BertNormalizer(True, False, False, False)
    strip_nonspacing = normalizers.BertNormalizer(False, False, True, False)
    strip_accents = normalizers.StripAccents()
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    punctuation, digits = pre_tokenizers.Punctuation("removed"), pre_tokenizers.Digits(True)
    whitespace = pre_tokenizers.Whitespace()
    regex_word = pre_tokenizers.Split(Regex(r"\w"), "removed")
    joined = graphemes()
    assert joined.normalize_str("ax") == "bx"
    out: dict[int, int] = {}
    for code in CODE_POINTS:
        c = chr(code)
        found = 0
        if clean.normalize_str(f"a{c}a") == "aa":
            found |= CONTROL
        if strip_accents.normalize_str("a" + c) == "a":
            found |= COMBINING
        decomposed, compatible = nfd.normalize_str(c), nfkd.normalize_str(c)
        if decomposed == c and strip_nonspacing.normalize_str("a" + c) == "a":
            found |= NONSPACING
        if len(punctuation.pre_tokenize_str(f"a{c}a")) == 2:
            found |= PUNCTUATION
        if len(digits.pre_tokenize_str(f"a{c}a")) == 3:
            found |= NUMERIC
        if len(whitespace.pre_tokenize_str(f"a{c}a")) == 1:
            found |= WORD
        if len(regex_word.pre_tokenize_str(f" {c} ")) == 2:
            found |= REGEX_WORD
        # It has a place in canonical order: U+0334 is of class 1, U+0327 of class 202.
        starter = (
            nfd.normalize_str(f"a{c}\u0334") == f"a{c}\u0334"
            and nfd.normalize_str(f"a\u0327{c}") == f"a\u0327{c}"
        )
        if decomposed != c or compatible != c or (not starter and len(decomposed) == 1):
            found |= NORMALIZES
            # What it does with those it knows is what the standard says.
            assert decomposed == unicodedata2.normalize("NFD", c)
            assert compatible == unicodedata2.normalize("NFKD", c)
        if joined.normalize_str("a" + c) == "b":
            found |= JOINS
        out[code] = found
    return out


def scripts() -> list[tuple[int, int]]:
    """Return (first, number) where another script begins; 0 is the one that goes with any."""
    splitter = pre_tokenizers.UnicodeScripts()

    def differ(a: str, b: str) -> bool:
        return len(splitter.pre_tokenize_str(a + b)) > 1

    # A space goes with any script.
    anything = [code for code in CODE_POINTS if not differ("a", chr(code))]
    latin = {code for code in anything if not differ("\u4e00", chr(code))}
    known: list[str] = ["a"]
    runs: list[tuple[int, int]] = []
    previous = ""
    for code in CODE_POINTS:
        c = chr(code)
        if code in latin:
            number = 0
        elif previous and runs[-1][1] and not differ(previous, c):
            previous = c
            continue
        else:
            number = next((i + 1 for i, k in enumerate(known) if not differ(k, c)), 0)
            if number == 0:
                known.append(c)
                number = len(known)
        previous = c
        if not runs or runs[-1][1] != number:
            runs.append((code, number))
    assert len(known) < 256
    return runs


def letters() -> dict[int, int]:
    """Return the kinds of letters whose general category does not say it, in the order of the enum.

    [[:alpha:]], [[:lower:]] and [[:upper:]] are each asked of all characters at once: what is left
    does not belong.
    """

    def members(name: str) -> set[int]:
        splitter = pre_tokenizers.Split(Regex(f"[[:{name}:]]"), "removed")
        left = splitter.pre_tokenize_str("".join(map(chr, CODE_POINTS)))
        return set(CODE_POINTS) - {ord(c) for piece, _ in left for c in piece}

    alphabetic, lower, upper = members("alpha"), members("lower"), members("upper")
    out: dict[int, int] = {}
    for code in CODE_POINTS:
        category = unicodedata2.category(chr(code))
        by_category = (category[0] == "L" or category == "Nl", category == "Ll", category == "Lu")
        found = (code in alphabetic, code in lower, code in upper)
        assert all(f or not b for f, b in zip(found, by_category, strict=True))
        assert found[0] or not (found[1] or found[2])
        beyond = [i + 1 for i in range(3) if found[i] and not by_category[i]]
        out[code] = beyond[-1] if beyond else 0
    return out


def runs_of(values: dict[int, int]) -> Iterable[tuple[int, int]]:
    """Yield (first, value) where another value begins; surrogates go with what is before them."""
    last = -1
    for code, value in values.items():
        if value != last:
            yield code, value
            last = value


def lowercase() -> list[tuple[int, str]]:
    """Return the characters whose lowercase is another one than in Unicode 16.0."""
    lower = normalizers.Lowercase()
    return [
        (code, lower.normalize_str(chr(code)))
        for code in CODE_POINTS
        if unicodedata2.category(chr(code)) == "Cn" and lower.normalize_str(chr(code)) != chr(code)
    ]


def rows(numbers: list[str], per_row: int) -> str:
    """Return C++ initializers, a number of them per line."""
    lines = (
        "    " + ", ".join(numbers[i : i + per_row]) + "," for i in range(0, len(numbers), per_row)
    )
    return "\n".join(lines)


def main() -> None:
    """Write the table."""
    class_runs = [f"0x{first << 11 | value:X}" for first, value in runs_of(flags())]
    script_runs = [f"0x{first << 8 | number:X}" for first, number in scripts()]
    letter_runs = [f"0x{first << 2 | kind:X}" for first, kind in runs_of(letters())]
    lower = [f"{{0x{code:X}, 0x{ord(text):X}}}" for code, text in lowercase()]
    OUTPUT.write_text(
        f"""// Generated by script/generate_hf_unicode.py. Do not edit.
// From tokenizers {tokenizers.__version__}.
// clang-format off
#include "msltx/text/hf_unicode.h"

namespace msltx::text::hf {{

const uint32_t kClassRuns[] = {{
{rows(class_runs, 9)}
}};
const int kClassRunCount = {len(class_runs)};

const uint32_t kScriptRuns[] = {{
{rows(script_runs, 9)}
}};
const int kScriptRunCount = {len(script_runs)};

const uint32_t kLetterRuns[] = {{
{rows(letter_runs, 9)}
}};
const int kLetterRunCount = {len(letter_runs)};

const LowercasePair kNewerLowercase[] = {{
{rows(lower, 5)}
}};
const int kNewerLowercaseCount = {len(lower)};

}}  // namespace msltx::text::hf
""",
        encoding="ascii",
    )
    print(f"{OUTPUT}: {len(class_runs)} runs, {len(script_runs)} of scripts, {len(lower)} letters")


if __name__ == "__main__":
    main()
