"""Training every model of a tokenizer: what is learned, and what the Hugging Face library says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from msltx import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [ROOT / "README.md", ROOT / "LICENSE", ROOT / "docs/decisions.md"]
SAMPLES = (
    "The quick brown fox, 1234 times; it's a test.",
    "  two  spaces\tand\nlines \n\n",
    "Ünïcode — 漢字 😀 and naïve café",
    "",
    "x",
)

#: Options, and whether what was encoded is decoded unchanged but for white space.
MODELS: dict[str, dict[str, Any]] = {
    "bytes": {"model": "bytes"},
    "bpe, digits": {"model": "bpe", "split": "digits"},
    "bpe, regex": {"model": "bpe", "split": r"\w+|\W"},
    "bpe, bert": {"model": "bpe", "split": "bert"},
    "char_bpe": {"model": "char_bpe"},
    "char_bpe, prefix": {"model": "char_bpe", "continuing_prefix": "##", "split": "bert"},
    "char_bpe, metaspace": {"model": "char_bpe", "split": "metaspace", "byte_fallback": True},
    "char_bpe, gpt2": {"model": "char_bpe", "split": "gpt2"},
    "wordpiece": {"model": "wordpiece"},
    "wordpiece, lowercase": {"model": "wordpiece", "lowercase": True},
    "unigram": {"model": "unigram"},
    "unigram, bytes": {"model": "unigram", "byte_fallback": True, "lowercase": True},
    "unigram, llama3": {"model": "unigram", "split": "llama3"},
    "word_level": {"model": "word_level"},
    "word_level, digits": {"model": "word_level", "split": "digits"},
    "chars": {"model": "chars"},
    "chars, bytes": {"model": "chars", "byte_fallback": True},
}
LOSSLESS = {"bytes", "bpe, digits", "bpe, regex", "chars, bytes"}
ONE_SPACE = {"char_bpe, metaspace"}


def train(**options: Any) -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=800, **options)


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_every_model_trains_and_is_read_again(
    options: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tok = train(**options)
    name = request.node.callspec.id
    if options["model"] not in ("bytes", "chars", "word_level"):
        assert tok.vocab_size == 800
    assert [tok.pad_id, tok.unk_id, tok.bos_id, tok.eos_id] == [0, 1, 2, 3]
    again = Tokenizer.load(tok.save(tmp_path / "tokenizer.json"))
    for text in SAMPLES:
        ids = tok.encode(text)
        assert np.array_equal(again.encode(text), ids)
        assert again.decode(ids) == tok.decode(ids)
        if name in LOSSLESS:
            assert tok.decode(ids) == text
        if name in ONE_SPACE:
            assert tok.decode(ids) == " ".join(text.split())


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_the_hugging_face_library_gives_the_same_ids(
    options: dict[str, Any], tmp_path: Path
) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")
    tok = train(**options)
    peer = tokenizers.Tokenizer.from_file(str(tok.save(tmp_path / "tokenizer.json")))
    for text in (*SAMPLES, *(path.read_text("utf-8") for path in TEXTS)):
        theirs = peer.encode(text, add_special_tokens=False)
        assert tok.encode(text).tolist() == theirs.ids
        assert tok.decode(theirs.ids) == peer.decode(theirs.ids, skip_special_tokens=False)


@pytest.mark.parametrize("name", ["bpe, regex", "wordpiece", "unigram", "word_level", "chars"])
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    before = msltx.get_num_threads()
    made = []
    try:
        for threads in (1, 3):
            msltx.set_num_threads(threads)
            made.append(train(**MODELS[name]).to_json())
    finally:
        msltx.set_num_threads(before)
    assert made[0] == made[1]


WORDS = ["low low low low low lower lower newest newest newest newest newest newest widest widest"]


def tokens_of(tok: Tokenizer, text: str) -> list[str]:
    return [tok.id_to_token(int(i)) for i in tok.encode(text)]


def test_what_is_learned() -> None:
    wordpiece = Tokenizer.train(texts=WORDS, model="wordpiece", vocab_size=32)
    assert tokens_of(wordpiece, "newest lowest xy") == ["newest", "low", "##est", "[UNK]"]
    assert wordpiece.decode(wordpiece.encode("newest lowest")) == "newest lowest"
    ends = Tokenizer.train(texts=WORDS, model="char_bpe", vocab_size=40)
    assert tokens_of(ends, "low lowest") == ["low</w>", "lo", "w", "est</w>"]
    assert ends.decode(ends.encode("low lowest")) == "low lowest"
    words = Tokenizer.train(texts=WORDS, model="word_level", vocab_size=7)
    assert [words.id_to_token(i) for i in range(4, 7)] == ["newest", "low", "lower"]
    assert tokens_of(words, "low widest") == ["low", "[UNK]"]
    letters = Tokenizer.train(texts=WORDS, model="chars")
    assert "".join(letters.id_to_token(i) for i in range(4, letters.vocab_size)) == " deilnorstw"
    assert tokens_of(letters, "low!") == ["l", "o", "w", "[UNK]"]
    pieces = Tokenizer.train(texts=WORDS * 9, model="unigram", vocab_size=30)
    assert tokens_of(pieces, "newest low")[0].startswith("\u2581n")
    assert pieces.decode(pieces.encode("newest  low ")) == "newest low"


def test_unknown_characters_become_bytes() -> None:
    tok = Tokenizer.train(texts=WORDS, model="char_bpe", split="metaspace", byte_fallback=True)
    assert tokens_of(tok, "é")[-2:] == ["<0xC3>", "<0xA9>"]
    assert tok.decode(tok.encode("low é low")) == "low é low"


def test_the_alphabet_is_limited() -> None:
    few = Tokenizer.train(texts=WORDS, model="chars", alphabet_limit=3)
    assert few.vocab_size == 7
    covered = Tokenizer.train(texts=["aaaaaaab"], model="chars", character_coverage=0.8)
    assert [covered.id_to_token(4), covered.vocab_size] == ["a", 5]


def test_without_an_unknown_token_what_is_unknown_is_an_error() -> None:
    tok = Tokenizer.train(texts=WORDS, model="word_level", special_tokens=["[PAD]"])
    with pytest.raises(ValueError, match="unk"):
        tok.encode("other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "words"}, "split is words; it takes gpt2, "),
        ({"split": "("}, r"\("),
        (
            {"model": "bpe", "byte_fallback": True},
            "byte_fallback is given for the model bpe; it is",
        ),
        ({"model": "unigram", "word_suffix": "."}, "word_suffix is given for the model unigram"),
        ({"model": "word_level", "alphabet_limit": 5}, "alphabet_limit is given for the model"),
        ({"model": "chars", "split": "bert"}, "split is given for the model chars"),
        ({"model": "chars", "vocab_size": 3}, r"vocab_size is 3; it takes 4 \(special tokens\) to"),
        ({"model": "char_bpe", "vocab_size": 9}, "vocab_size is 9; special tokens and the"),
        ({"model": "unigram", "character_coverage": 1.5}, "character_coverage is 1.5"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokenizer.train(texts=WORDS, **options)


def test_the_file_says_how_text_is_cut() -> None:
    made = json.loads(train(model="unigram").to_json())
    assert made["pre_tokenizer"]["type"] == "Metaspace"
    assert made["normalizer"]["normalizers"][0]["type"] == "Nmt"
    assert made["model"]["type"] == "Unigram"


@pytest.mark.parametrize("sample", [0, -1, True, "0.1", 0.0, 1.5])
def test_samples_that_are_none_are_refused(sample: Any) -> None:
    with pytest.raises(ValueError, match="sample"):
        Tokenizer.train(texts=["some text"] * 9, sample=sample)


def test_samples_may_be_numbers_of_numpy() -> None:
    lines = [f"line {i}" for i in range(400)]
    drawn = [Tokenizer.train(texts=lines, sample=s).training for s in (0.25, np.float64(0.25))]
    assert drawn[0] == drawn[1]
    assert drawn[0]["sample"]["share"] == 0.25
    half = Tokenizer.train(texts=lines, sample=np.float32(0.5))  # type: ignore[arg-type]
    assert half.training["sample"]["share"] == 0.5
    with pytest.raises(ValueError, match="5 bytes of texts"):
        Tokenizer.train(texts=lines, sample=np.int64(5))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["word_level", "chars"])
@pytest.mark.parametrize(
    "wrong", [{"min_frequency": -5}, {"alphabet_limit": -5}, {"character_coverage": float("nan")}]
)
def test_models_without_merges_check_their_options(model: str, wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Tokenizer.train(texts=["some text"], model=model, **wrong)


def test_a_split_that_is_no_expression_says_so_once() -> None:
    with pytest.raises(ValueError, match=r"^the expression \( has a \( without \)$"):
        Tokenizer.train(texts=["some text"], split="(")


@pytest.mark.slow
def test_a_large_alphabet_takes_no_square_of_time() -> None:
    text = "".join(chr(c) for first in (0x3400, 0x20000) for c in range(first, first + 0x6A00))
    begin = time.perf_counter()
    made = Tokenizer.train(texts=[text, text], model="chars", vocab_size=200_000)
    assert made.vocab_size > 50_000
    assert time.perf_counter() - begin < 2
