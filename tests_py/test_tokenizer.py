"""The tokenizer from Python."""

from __future__ import annotations

import base64
import json
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from msltx import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
# Text that is always there: this repository's own.
OWN = [ROOT / "LICENSE", *sorted((ROOT / "cpp" / "msltx" / "text").glob("*.cpp"))]
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
ODD_TEXT = "Héllo  wörld,\tit's 中文 ٣٤ 😀\r\n\n  we'll [EOS] see\u3000\u00a0x"


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(OWN, vocab_size=600)


def test_round_trip(tok: Tokenizer) -> None:
    assert tok.vocab_size == len(tok) == 600
    ids = tok.encode(ODD_TEXT)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert tok.decode(ids) == ODD_TEXT
    assert tok.decode(ids.tolist()) == ODD_TEXT
    assert tok.decode(ids.astype(np.uint16)) == ODD_TEXT
    assert tok.decode(ids, skip_special_tokens=True) == ODD_TEXT.replace("[EOS]", "")
    assert tok.decode([]) == ""
    assert tok.encode("").shape == (0,)
    assert b"".join(tok.token_bytes(i) for i in ids) == ODD_TEXT.encode()


def test_roles_and_look_ups(tok: Tokenizer) -> None:
    assert (tok.pad_id, tok.unk_id, tok.bos_id, tok.eos_id) == (0, 1, 2, 3)
    assert tok.special_tokens == dict(zip(SPECIAL, range(4), strict=True))
    assert tok.encode("a", add_special_tokens=True).tolist() == [2, *tok.encode("a").tolist(), 3]
    assert tok.token_to_id("[EOS]") == 3
    assert tok.token_to_id("no such token") is None
    assert tok.id_to_token(3) == "[EOS]"
    assert tok.is_special(3)
    assert not tok.is_special(4)
    assert repr(tok) == "<msltx.Tokenizer: bpe, 600 tokens>"


def test_batches(tok: Tokenizer) -> None:
    texts = ["", "one", ODD_TEXT * 500, "two words"]
    batch = tok.encode_batch(iter(texts))
    assert [ids.tolist() for ids in batch] == [tok.encode(text).tolist() for text in texts]
    assert tok.decode_batch(batch) == texts


def test_files_have_the_ids_of_their_text(tok: Tokenizer, tmp_path: Path) -> None:
    text = "The cat\r\nsat \u2014 on it.\n" * 20_000
    file = tmp_path / "te xt\u00e9.txt"
    file.write_bytes(text.encode())
    assert np.array_equal(tok.encode_file(file), tok.encode(text))
    assert np.array_equal(tok.encode_file(str(file), True), tok.encode(text, True))
    file.write_bytes(b"")
    assert tok.encode_file(file).tolist() == []
    file.write_bytes(b"abc\xff")
    with pytest.raises(msltx.FileError, match=r"has invalid UTF-8 at byte 3 \(0xff\)"):
        tok.encode_file(file)
    with pytest.raises(msltx.FileError, match="missing"):
        tok.encode_file(tmp_path / "missing")
    with pytest.raises(msltx.FileError, match="directory"):
        tok.encode_file(tmp_path)
    made_up = Path("/proc/version")  # of size 0, as the system says
    if made_up.exists():
        assert np.array_equal(tok.encode_file(made_up), tok.encode(made_up.read_text()))


def test_encode_file_of_a_pipe_waits_for_its_writer(tok: Tokenizer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "some text and more of it " * 10_000

    def write() -> None:
        time.sleep(0.3)
        pipe.write_text(text)

    writer = threading.Thread(target=write)
    writer.start()
    ids = tok.encode_file(pipe)
    writer.join()
    assert np.array_equal(ids, tok.encode(text))


def test_a_pipe_without_a_writer_can_be_given_up(tok: Tokenizer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        tok.encode_file(pipe)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_file_larger_than_memory_is_named(tok: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "sparse.txt"
    file.touch()
    os.truncate(file, 1 << 36)
    opened = sorted(Path("/proc/self/fd").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 35, limits[1]))
    try:
        with pytest.raises(msltx.MemoryLimitError, match=r"sparse\.txt: .* its 68719476736 bytes"):
            tok.encode_file(file)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert sorted(Path("/proc/self/fd").iterdir()) == opened


def test_save_load_pickle(tok: Tokenizer, tmp_path: Path) -> None:
    assert tok.save(tmp_path) == tmp_path / "tokenizer.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tokenizer.json"]
    for other in (
        Tokenizer.load(tmp_path),
        Tokenizer.load(str(tmp_path / "tokenizer.json")),
        Tokenizer.from_json(tok.to_json()),
        pickle.loads(pickle.dumps(tok)),
    ):
        assert other.to_json() == tok.to_json()
        assert np.array_equal(other.encode(ODD_TEXT), tok.encode(ODD_TEXT))


def test_train_from_texts_reads_a_generator_once() -> None:
    lines = (ROOT / "LICENSE").read_text(encoding="utf-8").splitlines(keepends=True)
    taken = []

    def texts() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    made = Tokenizer.train(texts=texts(), vocab_size=400)
    assert taken == lines
    assert made.to_json() == Tokenizer.train(ROOT / "LICENSE", vocab_size=400).to_json()


def test_progress_and_its_exceptions() -> None:
    seen: list[tuple[str, int, int]] = []
    Tokenizer.train(OWN, vocab_size=700, progress=lambda *args: seen.append(args))
    assert {stage for stage, _, _ in seen} == {"read", "merge"}
    size = sum(path.stat().st_size for path in OWN)
    assert ("read", size, size) in seen

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        Tokenizer.train(OWN, vocab_size=700, progress=stop)


def test_the_same_at_any_number_of_threads() -> None:
    before = msltx.get_num_threads()
    made = set()
    try:
        for threads in (1, 2, 3, 8):
            msltx.set_num_threads(threads)
            tok = Tokenizer.train(OWN, vocab_size=900)
            made.add((tok.to_json(), tok.encode(ODD_TEXT * 9000).tobytes()))
    finally:
        msltx.set_num_threads(before)
    assert len(made) == 1


def test_concurrent_callers(tok: Tokenizer) -> None:
    expected = tok.encode(ODD_TEXT * 200).tolist()
    wrong: list[Any] = []

    def call() -> None:
        for _ in range(20):
            ids = tok.encode(ODD_TEXT * 200).tolist()
            if ids != expected:
                wrong.append(ids)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_stream_decoder_never_shows_half_a_character() -> None:
    tok = Tokenizer.train(ROOT / "LICENSE", vocab_size=260)
    text = "né 中文 😀"
    for decoder in (tok.stream_decoder(), msltx.StreamDecoder(tok)):
        parts = [decoder.push(int(i)) for i in tok.encode(text)]
        assert "\ufffd" not in "".join(parts)
        assert "".join(parts) + decoder.finish() == text
    decoder = tok.stream_decoder()
    assert decoder.push(int(tok.encode("中")[0])) == ""
    assert decoder.finish() == "\ufffd"


def test_wrong_arguments(tok: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="text is a bytes; a str is expected"):
        tok.encode(b"abc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lone surrogate"):
        tok.encode("a\ud800b")
    with pytest.raises(ValueError, match="json holds a lone surrogate"):
        Tokenizer.from_json(tok.to_json() + "\ud800")
    with pytest.raises(TypeError, match="json is a bytes; a str is expected"):
        Tokenizer.from_json(b"{}")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="token id 600 is outside the vocabulary of 600 tokens"):
        tok.decode([600])
    with pytest.raises(ValueError, match="token id -1 is outside"):
        tok.decode(np.array([-1]))
    with pytest.raises(ValueError, match="ids has dtype float64; integers are expected"):
        tok.decode([1.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="ids has 2 dimensions; one is expected"):
        tok.decode(np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match=f"ids holds {2**40}, which is no token id"):
        tok.decode([2**40])
    with pytest.raises(TypeError, match="files or texts"):
        Tokenizer.train()
    with pytest.raises(TypeError, match="one str"):
        Tokenizer.train(texts="a text")
    with pytest.raises(TypeError, match=r"Tokenizer\.train"):
        Tokenizer()
    with pytest.raises(ValueError, match="model is bp; it takes bpe, bytes"):
        Tokenizer.train(ROOT / "LICENSE", model="bp")
    with pytest.raises(ValueError, match=r"vocab_size is 10; it takes 260 .* to 1073741824"):
        Tokenizer.train(ROOT / "LICENSE", vocab_size=10)
    with pytest.raises(ValueError, match="invalid_utf8 is drop; it takes refuse, replace or skip"):
        Tokenizer.train(ROOT / "LICENSE", invalid_utf8="drop")
    with pytest.raises(ValueError, match="no text to train"):
        Tokenizer.train(texts=[])
    with pytest.raises(msltx.FileError, match="No such file"):
        Tokenizer.train(tmp_path / "missing.txt")
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"caf\xe9 au lait\n")
    with pytest.raises(msltx.FileError, match=r"bad\.txt has invalid UTF-8 at byte 3 \(0xe9\)"):
        Tokenizer.train(bad)
    assert Tokenizer.train(bad, invalid_utf8="replace").vocab_size >= 260
    for content, where in [
        (b"caf\xe9 au lait\n", "line 1"),
        (b'{"a":\n 1,\n "b": x}\n', "line 3"),
        (b'{\n"a": 1\n', "line 2"),
        (b"", "line 1"),
        (b"[1e999]", "it holds a number that is too large"),
    ]:
        bad.write_bytes(content)
        with pytest.raises(msltx.FileError, match=r"bad\.txt is not a JSON file") as caught:
            Tokenizer.load(bad)
        assert str(caught.value).endswith((f"file ({where})", f"file: {where}"))


def test_bytes_take_a_token_for_every_byte() -> None:
    tok = msltx.Tokenizer.train(texts=["low lower"], model="bytes")
    assert tok.vocab_size == 260
    assert len(tok.encode("é x")) == 4
    assert tok.decode(tok.encode("é x")) == "é x"


def test_training_splits_as_asked(tmp_path: Path) -> None:
    texts = ["1234567 1234567 don't DON'T"] * 5
    gpt2 = msltx.Tokenizer.train(texts=texts, vocab_size=280)
    llama3 = msltx.Tokenizer.train(texts=texts, vocab_size=280, split="llama3")
    assert max(len(gpt2.token_bytes(i)) for i in range(260, gpt2.vocab_size)) > 4
    digits = [llama3.token_bytes(i) for i in range(260, llama3.vocab_size)]
    assert all(len(t) <= 3 for t in digits if t[:1].isdigit())
    again = msltx.Tokenizer.load(llama3.save(tmp_path / "tokenizer.json"))
    assert again.encode("12345").tolist() == llama3.encode("12345").tolist()
    with pytest.raises(ValueError, match="split is words"):
        msltx.Tokenizer.train(texts=texts, split="words")


def test_training_limits_the_length_of_tokens() -> None:
    tok = msltx.Tokenizer.train(texts=["abcdefgh " * 9], vocab_size=300, max_token_length=4)
    assert max(len(tok.token_bytes(i)) for i in range(260, tok.vocab_size)) == 3


def test_training_on_a_sample_draws_from_all_files(tmp_path: Path) -> None:
    lines = [f"word{i:04d}\n" for i in range(2000)]
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    files[0].write_text("".join(lines[:1000]))
    files[1].write_text("".join(line.upper() for line in lines[1000:]))

    def trained(**options: Any) -> str:
        return msltx.Tokenizer.train(files, vocab_size=400, **options).to_json()

    whole = trained()
    tenth = trained(sample=0.1)
    assert trained(sample=1.0) == whole
    assert trained(sample=0.1) == tenth != whole
    assert trained(sample=0.1, sample_seed=2) != tenth
    size = sum(f.stat().st_size for f in files)
    assert trained(sample=size // 10) == tenth
    assert trained(sample=size * 2) == whole
    assert "word" in tenth
    assert "WORD" in tenth
    for sample, message in ((0.0, "share of 0"), (1.5, "share of 1.5"), (-5, "sample is -5")):
        with pytest.raises(ValueError, match=message):
            trained(sample=sample)
    with pytest.raises(ValueError, match="give a share"):
        msltx.Tokenizer.train(texts=["a"], sample=100)


def test_roles_come_from_the_files_beside_it(tmp_path: Path) -> None:
    tok = Tokenizer.train(
        texts=["low lower lowest"], special_tokens=["<p>", "<u>", "<b>", "<e>"], vocab_size=262
    )
    assert [tok.pad_id, tok.unk_id, tok.bos_id, tok.eos_id] == [None] * 4
    path = tok.save(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<b>", "pad_token": null}')
    (tmp_path / "special_tokens_map.json").write_text(
        '{"eos_token": {"content": "<e>", "lstrip": false}, "bos_token": "<u>"}'
    )
    told = Tokenizer.load(path)
    assert [told.pad_id, told.unk_id, told.bos_id, told.eos_id] == [None, None, 2, 3]
    asked = Tokenizer.load(tmp_path, pad_token="<p>", eos_token="<u>")
    assert [asked.pad_id, asked.unk_id, asked.bos_id, asked.eos_id] == [0, None, 2, 1]
    kept = Tokenizer.from_json(asked.to_json())
    assert [kept.pad_id, kept.unk_id, kept.bos_id, kept.eos_id] == [0, None, 2, 1]
    with pytest.raises(msltx.FileError, match="pad_token is <x>, which is not in the vocabulary"):
        Tokenizer.load(path, pad_token="<x>")
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(msltx.FileError, match=r"tokenizer_config\.json is not a JSON object"):
        Tokenizer.load(path)


def test_training_is_recorded(tmp_path: Path) -> None:
    texts = ["low lower lowest " * 20] * 50
    tok = Tokenizer.train(
        texts=texts, vocab_size=270, sample=0.25, sample_seed=7, strip_accents=True
    )
    assert tok.training == {
        "model": "bpe",
        "vocab_size": 270,
        "min_frequency": 2,
        "cleaning": ["strip_accents"],
        "sample": {"share": 0.25, "seed": 7},
    }
    assert Tokenizer.load(tok.save(tmp_path / "t.json")).training == tok.training


def test_merges_that_begin_like_a_comment_or_hold_a_space_are_kept() -> None:
    tok = Tokenizer.train(
        texts=["#versions #version #versional "] * 50, split="cl100k", vocab_size=330
    )
    assert any(token.startswith("#versions") for token in tok.vocabulary())
    again = Tokenizer.from_json(tok.to_json())
    assert again.encode("#versions").tolist() == tok.encode("#versions").tolist()

    content = json.loads(tok.to_json())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {"x y": len(vocabulary), "x yz": len(vocabulary) + 1}
    content["model"]["merges"].append(["x y", "z"])
    odd = Tokenizer.from_json(json.dumps(content))
    assert Tokenizer.from_json(odd.to_json()).vocabulary() == vocabulary


def test_many_added_tokens_cost_little() -> None:
    # Each step over a "<" once tried all 30,000: 20 seconds and more.
    content: dict[str, Any] = json.loads(Tokenizer.train(texts=["a"], model="bytes").to_json())
    first = len(content["model"]["vocab"])
    content["added_tokens"] += [
        {"id": first + i, "content": f"<|audio_{i}|>", "special": True, "normalized": False}
        for i in range(30_000)
    ]
    tok = Tokenizer.from_json(json.dumps(content))
    begin = time.perf_counter()
    ids = tok.encode("a < b <|audio_29999|>" * 100_000)
    assert time.perf_counter() - begin < 5
    assert int(np.count_nonzero(ids == first + 29_999)) == 100_000


def test_paddings_that_are_no_lengths_are_refused(tok: Tokenizer) -> None:
    batch = tok.encode_batch_fully(["a", "b"], padding=np.int64(9))
    assert batch.ids.shape == (2, 9)
    for padding in (True, -1, 2**40, 1.5):
        with pytest.raises(ValueError, match="padding is"):
            tok.encode_batch_fully(["a"], padding=padding)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pad_to_multiple_of is 9223372036854775807"):
        tok.encode_batch_fully(["a"], padding="longest", pad_to_multiple_of=2**63 - 1)
    with pytest.raises(ValueError, match="max_length is 9223372036854775808"):
        tok.encode_batch_fully(["a"], max_length=2**63)


def test_tiktoken_files_are_neither_written_nor_blown_up(tok: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "own.tiktoken"
    with pytest.raises(ValueError, match="tiktoken files are read only"):
        tok.save(file)
    assert not file.exists()
    lines = [f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(256)]
    file.write_text("".join(lines))
    assert Tokenizer.load(file, split="gpt2", special_tokens={"<s>": 300}).vocab_size == 301
    for wrong, said in (({"<s>": 60_000_000}, "has id 60000000"), ({"": 300}, "is empty")):
        with pytest.raises(ValueError, match=said):
            Tokenizer.load(file, split="gpt2", special_tokens=wrong)


def test_ids_beyond_64_bits_are_named_as_they_are(tok: Tokenizer) -> None:
    with pytest.raises(ValueError, match="ids holds 18446744073709551611, which is no token id"):
        tok.decode(np.array([2**64 - 5], np.uint64))
