"""Training, ids and files beside the Hugging Face library, where it is installed."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from msltx import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MSLTX_TEST_DATA", ROOT.parent / "shared"))
# Text that is always there: this repository's own.
OWN = [ROOT / "LICENSE", *sorted((ROOT / "cpp" / "msltx" / "text").glob("*.cpp"))]
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
ODD_TEXT = "Héllo  wörld,\tit's 中文 ٣٤ 😀\r\n\n  we'll [EOS] see\u3000\u00a0x"


def shared(*names: str) -> list[Path]:
    paths = [path for name in names for path in sorted(SHARED.glob(name))]
    if not paths:
        pytest.skip(f"no {names[0]} in {SHARED} (MSLTX_TEST_DATA)")
    return paths


def hugging_face() -> Any:
    return pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")


def hf_trained(
    files: list[Path] | None = None,
    texts: list[str] | None = None,
    vocab_size: int = 8192,
    min_frequency: int = 2,
    special_tokens: list[str] = SPECIAL,
    lowercase: bool = False,
) -> Any:
    hf = hugging_face()
    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = hf.decoders.ByteLevel()
    if lowercase:
        tokenizer.normalizer = hf.normalizers.Lowercase()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special_tokens,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    if files is not None:
        tokenizer.train([str(path) for path in files], trainer)
    else:
        tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def vocabulary_and_merges(json_text: str) -> tuple[dict[str, int], list[list[str]]]:
    model = json.loads(json_text)["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return model["vocab"], merges


@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 2000},
        {"vocab_size": 10**6, "min_frequency": 0},
        {"vocab_size": 1500, "lowercase": True, "special_tokens": []},
        {"vocab_size": 1500, "special_tokens": ["the", " of", "a", "[X y]", "st", "é", "Ġto"]},
    ],
)
def test_training_equals_hugging_face(options: dict[str, Any]) -> None:
    theirs = hf_trained(files=OWN, **options).to_str()
    ours = Tokenizer.train(OWN, **options).to_json()
    assert vocabulary_and_merges(ours) == vocabulary_and_merges(theirs)


def test_training_on_texts_equals_hugging_face() -> None:
    texts = [path.read_text(encoding="utf-8") for path in OWN]
    theirs = hf_trained(texts=texts, vocab_size=2000).to_str()
    ours = Tokenizer.train(texts=texts, vocab_size=2000).to_json()
    assert vocabulary_and_merges(ours) == vocabulary_and_merges(theirs)


# Words of few letters: many ties, and tokens that are made again from other parts.
@pytest.mark.parametrize("seed", range(12))
def test_training_on_random_words_equals_hugging_face(seed: int) -> None:
    draw = random.Random(seed)
    letters = "ab" if seed % 2 else "abc"
    texts = [
        " ".join("".join(draw.choices(letters, k=draw.randint(1, 12))) for _ in range(200))
        for _ in range(5)
    ]
    theirs = hf_trained(texts=texts, vocab_size=2000, min_frequency=seed % 3)
    ours = Tokenizer.train(texts=texts, vocab_size=2000, min_frequency=seed % 3)
    assert vocabulary_and_merges(ours.to_json()) == vocabulary_and_merges(theirs.to_str())
    for text in texts:
        assert ours.encode(text).tolist() == theirs.encode(text).ids


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corpora/shakespeare.txt", "tokenizers/mixed_input.txt"])
def test_training_on_shared_text_equals_hugging_face(name: str) -> None:
    files = shared(name)
    options: dict[str, Any] = {"vocab_size": 20000, "min_frequency": 1}
    theirs = hf_trained(files=files, **options).to_str()
    assert vocabulary_and_merges(Tokenizer.train(files, **options).to_json()) == (
        vocabulary_and_merges(theirs)
    )


@pytest.mark.parametrize("lowercase", [False, True])
def test_our_file_gives_the_same_ids_in_hugging_face(lowercase: bool, tmp_path: Path) -> None:
    hf = hugging_face()
    tok = Tokenizer.train(OWN, vocab_size=900, lowercase=lowercase)
    theirs = hf.Tokenizer.from_file(str(tok.save(tmp_path)))
    assert theirs.get_vocab_size() == tok.vocab_size
    texts = [ODD_TEXT, "[BOS]a[EOS] [PAD][[UNK]]", "", *(p.read_text() for p in OWN[:3])]
    for text in texts:
        for special in (False, True):
            ids = tok.encode(text, add_special_tokens=special).tolist()
            assert ids == theirs.encode(text, add_special_tokens=special).ids
            for skip in (False, True):
                assert tok.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)
    # And theirs, saved by them, comes back to us.
    again = tmp_path / "again.json"
    theirs.save(str(again))
    assert Tokenizer.load(again).encode(ODD_TEXT, True).tolist() == theirs.encode(ODD_TEXT).ids


def test_broken_bytes_decode_as_in_hugging_face(tmp_path: Path) -> None:
    hf = hugging_face()
    tok = Tokenizer.train(ROOT / "LICENSE", vocab_size=270)
    theirs = hf.Tokenizer.from_file(str(tok.save(tmp_path)))
    draw = random.Random(5)
    for _ in range(300):
        ids = [draw.randrange(tok.vocab_size) for _ in range(12)]
        assert tok.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("name", "size", "roles"),
    [("gpt2", 50257, (50256, 50256, None)), ("llama3", 128256, (128000, 128001, None))],
)
def test_known_tokenizers_give_the_same_ids(
    name: str, size: int, roles: tuple[int, int, None], tmp_path: Path
) -> None:
    hf = hugging_face()
    path = shared(f"tokenizers/{name}.json")[0]
    theirs = hf.Tokenizer.from_file(str(path))
    tok = Tokenizer.load(path)
    assert tok.vocab_size == size
    assert (tok.bos_id, tok.eos_id, tok.pad_id) == roles
    texts = [ODD_TEXT + "<|endoftext|>" + ODD_TEXT + "<|eot_id|>WE'LL we'\u017f 12345\n\n  "]
    for file in shared("tokenizers/*_input.txt", "corpora/*.txt"):
        texts.append(file.read_bytes().decode())
    for text in texts:
        ids = tok.encode(text).tolist()
        assert ids == theirs.encode(text).ids
        assert tok.decode(ids) == text
    saved = Tokenizer.load(tok.save(tmp_path))
    assert saved.encode(texts[0]).tolist() == tok.encode(texts[0]).tolist()


@pytest.mark.campaign
def test_gpt2_gives_the_same_ids_on_every_book_and_code_point() -> None:
    hf = hugging_face()
    path = shared("tokenizers/gpt2.json")[0]
    theirs, tok = hf.Tokenizer.from_file(str(path)), Tokenizer.load(path)
    for file in shared("corpora/books/*.md", "corpora/bookcorpus/*.txt"):
        text = file.read_bytes().decode()
        assert tok.encode(text).tolist() == theirs.encode(text).ids, file
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            text = f"a{chr(code)}b 1{chr(code)} {chr(code)}{chr(code)}x"
            assert tok.encode(text).tolist() == theirs.encode(text).ids, hex(code)


def test_lowercase_of_every_code_point_equals_hugging_face() -> None:
    hf = hugging_face()
    lower = hf.normalizers.Lowercase()
    tok = Tokenizer.train(texts=["abc"], vocab_size=260, lowercase=True)
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[start : start + 4096]))
        assert tok.decode(tok.encode(text)) == lower.normalize_str(text)


@pytest.mark.parametrize("model", ["bpe", "char_bpe", "wordpiece", "unigram", "word_level"])
def test_the_hugging_face_library_lets_the_record_stand(model: str, tmp_path: Path) -> None:
    hf = hugging_face()
    tok = Tokenizer.train(texts=["low lower lowest " * 20], vocab_size=300, model=model)
    assert '"msltx"' in tok.to_json()
    peer = hf.Tokenizer.from_str(tok.to_json())
    assert (
        peer.encode("low lowest", add_special_tokens=False).ids == tok.encode("low lowest").tolist()
    )
