"""Texts cut into words that are looked up: the ids of the pipeline that sees the whole text."""

from __future__ import annotations

import itertools
import json
import os
import random
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
