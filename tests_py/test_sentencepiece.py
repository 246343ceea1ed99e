"""SentencePiece files: read with that library's ids and text, and written so that it reads them."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import msltx
from msltx import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MSLTX_TEST_DATA", ROOT.parent / "shared"))
TEXTS = [ROOT / "README.md", ROOT / "LICENSE", ROOT / "docs/decisions.md"]
SAMPLES = (
    "",
    " ",
    "Hello  world, it's  a test. ",
    "  leading and\ttabs\nlines \u3000 wide",
    "Ünïcode ﬁ ① 漢字 😀 naïve cafe\u0301",
    "\u2581 a literal mark \u2581",
    "<s>control</s><unk><0x41>",
    "x" * 300,
    "ab" * 40 + " " * 20,
)


def peer() -> Any:
    return pytest.importorskip("sentencepiece", reason="the sentencepiece package is not installed")


def random_texts(count: int) -> Iterator[str]:
    draw = random.Random(1)
    planes = [(32, 127), (32, 0x250), (0x300, 0x370), (0x2000, 0x2070), (0x3000, 0x3100)]
    planes += [(0xFF00, 0xFFF0), (0x1F300, 0x1F700), (1, 0xD800), (0xE000, 0x110000)]
    for _ in range(count):
        low, high = draw.choice(planes)
        letters = [chr(draw.randrange(low, high)) for _ in range(draw.randrange(1, 12))]
        letters += [" ", "e", "\u0301", "the"]
        yield "".join(draw.choice(letters) for _ in range(draw.randrange(1, 30)))


def assert_same(ours: Tokenizer, theirs: Any, text: str) -> None:
    ids = theirs.encode(text)
    assert ours.encode(text).tolist() == ids, repr(text)
    assert ours.decode(ids) == theirs.decode(ids), repr(text)


PEER_MODELS: dict[str, dict[str, Any]] = {
    "unigram, nmt_nfkc": {"model_type": "unigram"},
    "unigram, identity, bytes": {
        "model_type": "unigram",
        "normalization_rule_name": "identity",
        "byte_fallback": True,
    },
    "unigram, symbols": {"model_type": "unigram", "user_defined_symbols": ["<sep>", "ing", "  "]},
    "bpe, nmt_nfkc_cf": {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc_cf"},
    "bpe, bytes, as it is": {
        "model_type": "bpe",
        "byte_fallback": True,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
    },
    "bpe, symbols": {"model_type": "bpe", "user_defined_symbols": ["<sep>", "tion", "▁▁"]},
    "bpe, no prefix": {"model_type": "bpe", "add_dummy_prefix": False},
}


@pytest.mark.parametrize("options", PEER_MODELS.values(), ids=PEER_MODELS)
def test_files_of_the_library_give_its_ids(options: dict[str, Any], tmp_path: Path) -> None:
    spm = peer()
    spm.SentencePieceTrainer.train(
        input=[str(path) for path in TEXTS],
        model_prefix=str(tmp_path / "m"),
        vocab_size=700,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    theirs = spm.SentencePieceProcessor(model_file=str(tmp_path / "m.model"))
    ours = Tokenizer.load(tmp_path / "m.model")
    assert ours.vocab_size == theirs.vocab_size()
    assert [ours.unk_id, ours.bos_id, ours.eos_id] == [0, 1, 2]
    again = Tokenizer.load(ours.save(tmp_path / "tokenizer.json"))
    for text in (*SAMPLES, *random_texts(400), *(path.read_text("utf-8") for path in TEXTS)):
        assert_same(ours, theirs, text)
        assert again.encode(text).tolist() == ours.encode(text).tolist()
    copied = ours.save(tmp_path / "copy.model")
    assert copied.stat().st_size > 0
    assert Tokenizer.load(copied).encode("it's").tolist() == ours.encode("it's").tolist()


def test_llama2_gives_the_ids_of_the_library() -> None:
    path = SHARED / "tokenizers/llama2.model"
    if not path.exists():
        pytest.skip(f"{path} is not here (MSLTX_TEST_DATA)")
    theirs = peer().SentencePieceProcessor(model_file=str(path))
    ours = Tokenizer.load(path)
    for text in (*SAMPLES, *random_texts(2000)):
        assert_same(ours, theirs, text)


TRAINED: dict[str, dict[str, Any]] = {
    "unigram": {"model": "unigram"},
    "unigram, bytes, lowercase": {"model": "unigram", "byte_fallback": True, "lowercase": True},
    "bpe": {"model": "char_bpe", "split": "metaspace"},
    "bpe, bytes": {"model": "char_bpe", "split": "metaspace", "byte_fallback": True},
}


@pytest.mark.parametrize("options", TRAINED.values(), ids=TRAINED)
def test_the_library_reads_what_is_written(options: dict[str, Any], tmp_path: Path) -> None:
    ours = Tokenizer.train(TEXTS, vocab_size=700, **options)
    path = ours.save(tmp_path / "m.model")
    again = Tokenizer.load(path)
    texts = (*SAMPLES, *random_texts(300), *(path.read_text("utf-8") for path in TEXTS))
    special = ("<s>", "<unk>")
    for text in texts:
        if not any(token in text for token in special):
            # Sums of scores are float32 there: rounding tells some equal ones apart.
            first, second = (Counter(tok.encode(text).tolist()) for tok in (again, ours))
            assert (first - second).total() <= first.total() / 1000, repr(text)
    theirs = peer().SentencePieceProcessor(model_file=str(path))
    for text in texts:
        assert_same(again, theirs, text)


def test_what_no_file_can_say_is_refused(tmp_path: Path) -> None:
    for options, message in (
        ({"model": "bpe"}, "neither Unigram nor BPE over characters"),
        ({"model": "char_bpe"}, "trained here with the split metaspace"),
        ({"model": "unigram", "special_tokens": ["[PAD]"]}, "has no unknown token"),
    ):
        tok = Tokenizer.train(texts=["low lower lowest " * 9], vocab_size=300, **options)
        with pytest.raises(ValueError, match=message):
            tok.save(tmp_path / "m.model")


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    tok = Tokenizer.train(texts=["low lower lowest " * 9], vocab_size=30, model="unigram")
    whole = tok.save(tmp_path / "whole.model").read_bytes()
    damaged = tmp_path / "damaged.model"
    for cut in (0, 1, 2, 9, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:cut])
        with pytest.raises(msltx.FileError, match=r"damaged\.model"):
            Tokenizer.load(damaged)
    damaged.write_bytes(b"no protocol buffer at all")
    with pytest.raises(msltx.FileError, match=r"damaged\.model"):
        Tokenizer.load(damaged)
