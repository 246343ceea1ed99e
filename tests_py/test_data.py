"""Datasets from Python: prepare, open, batches, and what goes wrong."""

from __future__ import annotations

import json
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import msltx
from msltx import Tokenizer, data

ROOT = Path(__file__).resolve().parent.parent
LICENSE = ROOT / "LICENSE"


def corpus(documents: int, first: int = 0) -> str:
    numbers = range(first, first + documents)
    return "".join(f"Document {i} begins here,\nwith number {i * i}.\n\n" for i in numbers)


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(texts=[corpus(50)], vocab_size=300)


@pytest.fixture(scope="module")
def dataset(tok: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> data.Dataset:
    folder = tmp_path_factory.mktemp("data")
    (folder / "books.txt").write_text(corpus(2000), encoding="utf-8")
    return data.prepare(folder / "books.txt", tok, out=folder / "deep" / "books")


def test_files_of_a_dataset(dataset: data.Dataset, tok: Tokenizer) -> None:
    assert sorted(p.name for p in dataset.path.iterdir()) == [
        "meta.json",
        "tokenizer.json",
        "train-00000.bin",
        "train-00000.idx",
        "val-00000.bin",
        "val-00000.idx",
    ]
    assert [p.name for p in dataset.path.parent.iterdir()] == ["books"]
    assert dataset.meta == json.loads((dataset.path / "meta.json").read_text())
    assert dataset.meta["format"] == "msltx-tokens"
    assert dataset.meta["sources"] == [{"name": "books.txt", "bytes": len(corpus(2000))}]
    assert dataset.tokenizer.to_json() == tok.to_json()
    assert (dataset.vocab_size, dataset.eos_id) == (tok.vocab_size, 3)
    assert dataset.train_tokens > 5 * dataset.val_tokens > 0
    assert "training and" in repr(dataset)
    dataset.verify()
    # What docs/formats.md says, read without msltx.
    raw = (dataset.path / "train-00000.bin").read_bytes()
    assert raw[:8] == b"MSLTXTOK"
    ids = np.frombuffer(raw, "<u2", offset=64)
    assert np.array_equal(ids, dataset.tokens("train"))
    index = (dataset.path / "train-00000.idx").read_bytes()
    offsets, sizes = np.frombuffer(index, "<u8", offset=32).reshape(-1, 2).T
    assert offsets[-1] == len(ids)
    assert sizes[-1] == dataset.meta["splits"]["train"]["bytes"]
    assert np.all(ids[offsets[1:].astype(np.int64) - 1] == 3)  # each document ends with [EOS]
    assert len(offsets) - 1 == dataset.documents("train")


def test_the_text_is_all_there(dataset: data.Dataset, tok: Tokenizer) -> None:
    texts = {
        text
        for split in ("train", "val")
        for text in tok.decode(dataset.tokens(split)).split("[EOS]")
    }
    assert texts == {"", *corpus(2000).strip().split("\n\n")}
    ratio = dataset.bytes_per_token("train")
    assert ratio is not None
    assert ratio * dataset.train_tokens == pytest.approx(
        sum(len(t) for t in tok.decode(dataset.tokens("train")).split("[EOS]"))
    )
    assert np.array_equal(dataset.tokens("val", 5, 20), dataset.tokens("val")[5:25])


def test_batches_are_a_function_of_seed_and_step(dataset: data.Dataset) -> None:
    tokens, targets = dataset.batch(7, 4, 32, seed=3)
    assert tokens.shape == targets.shape == (4, 32)
    assert tokens.dtype == targets.dtype == np.int32
    assert np.array_equal(tokens[:, 1:], targets[:, :-1])
    again = data.open(dataset.path).batch(7, 4, 32, seed=3)
    assert np.array_equal(again[0], tokens)
    assert np.array_equal(again[1], targets)
    assert not np.array_equal(dataset.batch(8, 4, 32, seed=3)[0], tokens)
    assert not np.array_equal(dataset.batch(7, 4, 32, seed=4)[0], tokens)
    # Every row is a place in the text.
    text = dataset.tokens("train")
    views = np.lib.stride_tricks.sliding_window_view(text, 33)
    for row, row_targets in zip(tokens, targets, strict=True):
        assert (views == np.append(row, row_targets[-1])).all(axis=1).any()


def test_micro_batches_see_what_one_batch_sees(dataset: data.Dataset) -> None:
    for step in range(5):
        whole = dataset.batch(step, 8, 16, seed=1)
        parts = [dataset.batch(4 * step + m, 2, 16, seed=1) for m in range(4)]
        for i in range(2):
            assert np.array_equal(whole[i], np.concatenate([part[i] for part in parts]))


def test_windows_cover_a_split_once(dataset: data.Dataset) -> None:
    text = dataset.tokens("val")
    seen = []
    for tokens, targets in dataset.windows(4, 50):
        assert tokens.shape == (4, 50)
        seen.append(targets[targets != -1])
        assert not np.any((targets == -1)[:, :-1] & (targets != -1)[:, 1:])
    assert np.array_equal(np.concatenate(seen), text[1:])
    assert len(list(dataset.windows(4, 50, split="train"))) > len(seen)


def test_short_text_is_padded_and_ignored(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab")
    small = data.prepare(tmp_path / "a.txt", tok, out=tmp_path / "out", val_fraction=0)
    text = [*tok.encode("ab").tolist(), 3]
    tokens, targets = small.batch(0, 2, 8)
    pad = [0] * (9 - len(text))
    assert tokens.tolist() == [text[:-1] + pad] * 2
    assert targets.tolist() == [text[1:] + [-1] * len(pad)] * 2
    assert list(small.windows(2, 8)) == []
    assert small.bytes_per_token("val") is None


def test_sources(tok: Tokenizer, tmp_path: Path) -> None:
    for name in ("b/two.txt", "b/c/three.md", "one.txt", "b/skip.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def names(*sources: str | Path) -> list[str]:
        return [str(p.relative_to(tmp_path)) for p in data.text_files(sources)]

    assert names(tmp_path) == ["b/c/three.md", "b/two.txt", "one.txt"]
    with pytest.warns(UserWarning, match=r"one\.txt is given twice, and read once$"):
        assert names(tmp_path / "one.txt", tmp_path) == ["one.txt", "b/c/three.md", "b/two.txt"]
    with pytest.warns(UserWarning, match=r"three\.md and 2 more are given twice, and read once$"):
        assert len(names(tmp_path, tmp_path)) == 3
    assert names(f"{tmp_path}/**/*.txt") == ["b/two.txt", "one.txt"]
    assert data.text_files(tmp_path / "missing.txt") == [tmp_path / "missing.txt"]
    with pytest.raises(msltx.FileError, match=r"no file is named like .*\*\.csv"):
        data.text_files(f"{tmp_path}/*.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        msltx.FileError, match=r"empty has no file that ends with \.txt, .* or \.parquet"
    ):
        data.text_files(tmp_path / "empty")
    made = data.prepare(tmp_path, tok, out=tmp_path / "out", val_fraction=0, documents="file")
    assert tok.decode(made.tokens()) == "b/c/three.md[EOS]b/two.txt[EOS]one.txt[EOS]"


@pytest.mark.slow
def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    # Tokens that text can only name, not be merged from, make a large vocabulary quickly.
    special = [f"[{i}]" for i in range(66000)]
    tok = Tokenizer.train(texts=["ab"], vocab_size=66300, special_tokens=special)
    (tmp_path / "a.txt").write_text("".join(special[-5:]) + "ab")
    made = data.prepare(tmp_path / "a.txt", tok, out=tmp_path / "out", val_fraction=0)
    assert made.meta["bytes_per_token"] == 4
    assert made.tokens().tolist()[:5] == [65995, 65996, 65997, 65998, 65999]
    assert tok.decode(made.tokens()) == "".join(special[-5:]) + "ab"


def test_wrong_arguments(dataset: data.Dataset, tok: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is test; it takes train or val"):
        dataset.batch(0, 2, 8, split="test")
    with pytest.raises(ValueError, match="batch_size is 0; it takes 1 to"):
        dataset.batch(0, 0, 8)
    with pytest.raises(ValueError, match="length is -8; it takes 1 to"):
        dataset.batch(0, 2, -8)
    with pytest.raises(ValueError, match="step -1 is out of range"):
        dataset.batch(-1, 2, 8)
    with pytest.raises(ValueError, match="seed is -1; it takes 0 to"):
        dataset.batch(0, 2, 8, seed=-1)
    with pytest.raises(ValueError, match="are outside the val split"):
        dataset.tokens("val", dataset.val_tokens - 1, 2)
    for options, message in [
        ({"val_fraction": 1.0}, "val_fraction is 1; it takes 0 to less than 1"),
        ({"val_fraction": float("nan")}, "val_fraction is nan"),
        ({"documents": "page"}, "documents is page; it takes blank_line, line, file, text or rec"),
        ({"documents": "text"}, "separator is empty; documents=text takes the text between"),
        ({"documents": "line", "separator": "x"}, "separator is given, but documents is line"),
        ({"field": ""}, "field is empty"),
        ({"normalize_unicode": "NFC"}, "normalize_unicode is NFC; it takes none, nfc, nfd, nfkc"),
        ({"invalid_utf8": "keep"}, "invalid_utf8 is keep; it takes refuse, replace or skip"),
        ({"shard_tokens": 0}, "shard_tokens is 0; it takes at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.prepare(LICENSE, tok, out=tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(msltx.FileError, match=r"is no dataset: it has no meta\.json"):
        data.open(tmp_path)
    with pytest.raises(msltx.FileError, match=r"^cannot open .*no: No such file or directory$"):
        data.open(tmp_path / "no")
    assert list(tmp_path.iterdir()) == []


def test_bad_files_leave_nothing_behind(tok: Tokenizer, tmp_path: Path) -> None:
    source, out = tmp_path / "a.txt", tmp_path / "out"
    for content, message in [
        (b"", "there is no text to prepare"),
        (b"\n \t\r\n", "there is no text to prepare"),
        (b"fine\n\ncaf\xe9\n", r"a\.txt has invalid UTF-8 at byte 9 \(0xe9\)"),
    ]:
        source.write_bytes(content)
        with pytest.raises(msltx.Error, match=message):
            data.prepare(source, tok, out=out)
        assert list(tmp_path.iterdir()) == [source]
    made = data.prepare(source, tok, out=out, invalid_utf8="replace", val_fraction=0)
    assert tok.decode(made.tokens()) == "fine[EOS]caf\ufffd[EOS]"
    with pytest.raises(msltx.FileError, match="No such file"):
        data.prepare(tmp_path / "missing.txt", tok, out=tmp_path / "other")
    with pytest.raises(msltx.FileError, match="out exists already"):
        data.prepare(source, tok, out=out, invalid_utf8="replace")
    source.write_text("one document")
    with pytest.warns(UserWarning, match="the only document fell into the training split; there"):
        data.prepare(source, tok, out=out, overwrite=True, val_fraction=0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "out"]


def test_truncated_and_foreign_shards(tok: Tokenizer, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text(corpus(300))
    data.prepare(source, tok, out=tmp_path / "out")
    shard = tmp_path / "out" / "train-00000.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-2])
    with pytest.raises(msltx.FileError, match=r"train-00000\.bin .* truncated or damaged"):
        data.open(tmp_path / "out")
    shard.write_bytes(b"\x93NUMPY" + whole[6:])
    with pytest.raises(msltx.FileError, match=r"train-00000\.bin is not a shard of msltx"):
        data.open(tmp_path / "out")
    # An id outside the vocabulary, put there by somebody else: found when it is read.
    shard.write_bytes(whole[:200] + b"\xff\xff" + whole[202:])
    damaged = data.open(tmp_path / "out")
    with pytest.raises(msltx.FileError, match=r"has token id 65535 .* the vocabulary has 300"):
        damaged.tokens()
    with pytest.raises(msltx.FileError, match="checksum"):
        damaged.verify()
    shard.unlink()
    with pytest.raises(msltx.FileError, match=r"train-00000\.bin: No such file"):
        data.open(tmp_path / "out")


def test_a_full_disk_is_one_error(tok: Tokenizer, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text(corpus(4000))
    data.prepare(source, tok, out=tmp_path / "out")
    meta = (tmp_path / "out" / "meta.json").read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30000, limits[1]))
    try:
        with pytest.raises(msltx.FileError, match="cannot write "):
            data.prepare(source, tok, out=tmp_path / "out", overwrite=True)
        with pytest.raises(msltx.FileError, match="cannot write "):
            data.prepare(source, tok, out=tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "out"]
    assert (tmp_path / "out" / "meta.json").read_text() == meta


def test_ctrl_c_stops_within_a_second_and_leaves_nothing(tok: Tokenizer, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text(corpus(20000))
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait(60)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    sent = 0.0

    def progress(*_: object) -> None:
        nonlocal sent
        sent = time.monotonic()
        begun.set()
        time.sleep(0.3)

    with pytest.raises(KeyboardInterrupt):
        data.prepare([source] * 1, tok, out=tmp_path / "out", progress=progress)
    thread.join()
    assert time.monotonic() - sent < 5
    assert list(tmp_path.iterdir()) == [source]


def test_adding_files_moves_no_document(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text(corpus(300))
    one = data.prepare(tmp_path, tok, out=tmp_path / "one")
    (tmp_path / "a.txt").write_text(corpus(200, 1000))
    two = data.prepare(tmp_path, tok, out=tmp_path / "two")
    for split in ("train", "val"):
        before, after = (
            set(tok.decode(dataset.tokens(split)).split("[EOS]")) for dataset in (one, two)
        )
        assert before < after
