"""Texts cut into words that are looked up: the ids of the pipeline that sees the whole text."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msltx import Tokenizer
from test_tokenizer_components import PIECES, characters, tokenizer

SHARED = Path(os.environ.get("MSLTX_TEST_DATA", Path(__file__).resolve().parents[1] / "../shared"))
MARK = "\u2581"

NORMALIZERS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "lowercase": {"type": "Lowercase"},
    "bert": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "decomposed": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
            {"type": "NFKD"},
            {"type": "StripAccents"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ],
    },
    "marked": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": MARK},
            {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
        ],
    },
    "marked twice": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
            {"type": "Replace", "pattern": {"String": "a" + MARK}, "content": "b"},
        ],
    },
    "letters gone": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "x"}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"},
        ],
    },
    "stripped": {"type": "Strip", "strip_left": True, "strip_right": True},
}
PRE_TOKENIZERS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "bert": {"type": "BertPreTokenizer"},
    "whitespace": {"type": "Whitespace"},
    "metaspace": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True},
        ],
    },
    "first": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True},
    "over words": {
        "type": "Split",
        "pattern": {"String": "a b"},
        "behavior": "Isolated",
        "invert": False,
    },
}


def crossing() -> dict[str, Any]:
    """Return a model with a token that reaches over the beginning of a word."""
    model = characters()
    token = f"a{MARK}"
    model["vocab"][token] = len(model["vocab"])
    model["merges"].append(["a", MARK])
    return model


def text(seed: int, words: int) -> str:
    draw = random.Random(seed)
    plain = [
        "the",
        "a",
        "x",
        "fox.",
        "don't",
        "(a)",
        "caf\u00e9",
        "\u00e9t\u00e9",
        "\u0439",
        "''x",
        "1,000",
    ]
    parts = []
    for _ in range(words):
        parts.append(draw.choice(plain) if draw.random() < 0.8 else draw.choice(PIECES))
        if draw.random() < 0.7:
            parts.append(" ")
    return "".join(parts)


def check(tok: Tokenizer, texts: list[str]) -> None:
    for each in texts:
        # The second time words are known.
        for _ in range(2):
            assert np.array_equal(tok.encode(each), tok.encode_fully(each).ids), each[:200]
    batch = tok.encode_batch(texts)
    assert all(
        np.array_equal(ids, tok.encode_fully(each).ids)
        for ids, each in zip(batch, texts, strict=True)
    )


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"), list(itertools.product(NORMALIZERS, PRE_TOKENIZERS))
)
def test_words_have_the_ids_of_the_whole_text(normalizer: str, pre_tokenizer: str) -> None:
    for model in (
        characters(),
        {**characters(), "fuse_unk": True, "byte_fallback": True},
        crossing(),
    ):
        file = tokenizer(
            model=model,
            normalizer=NORMALIZERS[normalizer],
            pre_tokenizer=PRE_TOKENIZERS[pre_tokenizer],
        )
        for added in file["added_tokens"]:
            added["normalized"] = False
        tok = Tokenizer.from_json(json.dumps(file))
        check(tok, [text(seed, 1 + seed % 40) for seed in range(40)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["llama2.json", "llama2.model", "bert_base_cased.json", "xlnet_base_cased.json"]
)
def test_known_tokenizers_have_the_ids_of_the_whole_text(name: str) -> None:
    path = SHARED / "tokenizers" / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    tok = Tokenizer.load(path)
    # Long enough to be shared out to workers.
    check(tok, [text(seed, 20) for seed in range(300)] + [text(7, 60_000)])


def merging(marks: bool = False, **fields: Any) -> dict[str, Any]:
    """Return BPE of letters, U+2581 and a few tokens of several characters."""
    letters = [MARK, *"abcdefghijklmnopqrstuvwxyzNY_"]
    pairs = [("a", "b"), *([(MARK, MARK)] if marks else [])]
    tokens = [*letters, *(first + second for first, second in pairs), MARK + "ab", "<unk>"]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": {token: k for k, token in enumerate(tokens)},
        "merges": [list(pair) for pair in pairs],
        **fields,
    }


def replace(what: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": what}, "content": content}


def made_of(
    model: dict[str, Any],
    normalizers: list[dict[str, Any]],
    pre_tokenizer: dict[str, Any] | None = None,
    added: tuple[dict[str, Any], ...] = (),
    post_processor: dict[str, Any] | None = None,
) -> Tokenizer:
    file = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": len(model["vocab"]) + k,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
                **token,
            }
            for k, token in enumerate(added)
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers} if normalizers else None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": pre_tokenizer if pre_tokenizer == BYTES else None,
        "model": model,
    }
    return Tokenizer.from_json(json.dumps(file))


ALWAYS = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
BERT = {"type": "BertPreTokenizer"}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TO_MARK = replace(" ", MARK)
ONE_SPACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
NO_ACCENTS = {"type": "StripAccents"}


def space_becomes(text: bytes) -> dict[str, Any]:
    """A charsmap with one key, the space, in the layout of a double array."""
    units = [0] * 512
    units[0] = 1 << 10
    leaf = 0x140
    units[1 ^ ord(" ")] = ord(" ") | 1 << 8 | (1 ^ ord(" ") ^ leaf) << 10
    units[leaf] = 1 << 31
    trie = struct.pack(f"<I{len(units)}I", 4 * len(units), *units)
    charsmap = base64.b64encode(trie + text + b"\0").decode()
    return {"type": "Precompiled", "precompiled_charsmap": charsmap}


# Words of such a model can be looked up, unless the normalizer forbids it.
KNOWN = merging(True, unk_token="<unk>")

# Each was once cut into words whose ids are not those of the whole text.
DEPEND_ON_THE_TEXT = {
    "the whole text may be a token": made_of(merging(ignore_merges=True), [TO_MARK]),
    "an unknown character is a mark": made_of(merging(True, unk_token=MARK), [TO_MARK]),
    "an unknown character leaves marks side by side": made_of(merging(True), [TO_MARK]),
    "bytes that are unknown do, too": made_of(merging(True, byte_fallback=True), [TO_MARK]),
    "a mark at a word's end": made_of(KNOWN, [replace("f", "a" + MARK), TO_MARK]),
    "a word that vanishes": made_of(
        merging(), [replace("ab", "\u0301"), NO_ACCENTS, ONE_SPACE], ALWAYS
    ),
    "a word that vanishes between marks": made_of(
        KNOWN, [replace("ab", "\u0301"), NO_ACCENTS, TO_MARK]
    ),
    "a word that brings its own spaces": made_of(
        merging(),
        [
            replace("ab", "\u4e2d"),
            {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": False,
                "lowercase": False,
            },
            ONE_SPACE,
        ],
        ALWAYS,
    ),
    "a table that joins words": made_of(merging(), [space_becomes(b"a")], BERT),
    "a table that drops spaces": made_of(KNOWN, [space_becomes(b""), TO_MARK]),
    "a table that changes spaces before they are marked": made_of(
        KNOWN, [space_becomes(b"a"), TO_MARK]
    ),
}
TEXTS = [
    *("x ab ab", "ab", "x% ab", "x of foo", "x a_ foo", "x ab y"),
    *("% %a a% %", "x % ab", "# # a", "f f a_ _a"),
]


@pytest.mark.parametrize("name", DEPEND_ON_THE_TEXT)
def test_words_that_depend_on_their_text_are_not_looked_up(name: str) -> None:
    check(DEPEND_ON_THE_TEXT[name], TEXTS)


SINGLE_WORDS = (
    ({"content": "New York", "single_word": True}, {"content": "York"}),
    ({"content": "tok"}, {"content": "bar", "single_word": True}),
)


@pytest.mark.parametrize("added", SINGLE_WORDS)
@pytest.mark.parametrize("kind", ["marked", "bert", "bytes"])
def test_tokens_are_not_found_in_what_a_single_word_was_passed_over_for(
    added: tuple[dict[str, Any], ...], kind: str
) -> None:
    if kind == "bytes":
        tok = made_of(byte_model(), [], BYTES, added)
    else:
        marked = kind == "marked"
        tok = made_of(merging(), [TO_MARK] if marked else [], None if marked else BERT, added)
    once = "x tokbar the New Yorkers y York tok bar "
    # The long one is shared out to workers.
    check(tok, [once, "tokbar", once * 8000])


def byte_model() -> dict[str, Any]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in shown] + [chr(256 + k) for k in range(256 - len(shown))]
    return {**merging(), "vocab": {c: k for k, c in enumerate(letters)}, "merges": []}


def test_a_template_that_doubles_long_text_does_so_in_parallel_too() -> None:
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [sequence, sequence],
        "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    }
    tok = made_of(byte_model(), [], BYTES, post_processor=template)
    check(tok, ["abc", "abc " * 40_000])
    assert len(tok.encode("abc " * 40_000)) == 2 * 4 * 40_000
