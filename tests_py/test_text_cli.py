"""The commands for text, run as a user runs them."""

from __future__ import annotations

import base64
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from msltx import Tokenizer, data

TEXT = "".join(f"The {i}th line of a text that is Told, and told again.\n\n" for i in range(400))


def msltx(*arguments: object, stdin: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "msltx", *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )


def failed(run: subprocess.CompletedProcess[bytes], code: int, message: str) -> bool:
    """Whether it ended with this code and one sentence, no traceback."""
    said = run.stderr.decode()
    assert run.returncode == code, said
    assert message in said
    assert "Traceback" not in said
    assert run.stdout == b""
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    Tokenizer.train(tmp_path / "a.txt", vocab_size=300).save(tmp_path / "tok.json")
    return tmp_path


@pytest.mark.slow
def test_tokenizer_train_encode_decode(folder: Path) -> None:
    out = folder / "made.json"
    run = msltx("tokenizer", "train", folder / "a.txt", "--vocab-size", 300, "--out", out)
    assert run.returncode == 0, run.stderr
    assert run.stdout.decode() == f"{out}: 300 tokens\n"
    assert run.stderr == b""  # no bars where there is no terminal
    tok = Tokenizer.load(out)
    assert tok.to_json() == Tokenizer.load(folder / "tok.json").to_json()

    text = "Told and [EOS] told — 中文\n"
    ids = " ".join(map(str, tok.encode(text)))
    assert msltx("tokenizer", "encode", out, text).stdout.decode() == ids + "\n"
    assert msltx("tokenizer", "encode", out, stdin=text).stdout.decode() == ids + "\n"
    whole = msltx("tokenizer", "encode", out, "a", "--add-special-tokens", "--tokens")
    assert whole.stdout.decode() == "[BOS] a [EOS]\n"
    assert msltx("tokenizer", "decode", out, *ids.split()).stdout.decode() == text
    assert msltx("tokenizer", "decode", out, stdin=ids.replace(" ", ",\n")).stdout.decode() == text
    plain = msltx("tokenizer", "decode", out, "--skip-special-tokens", stdin=ids)
    assert plain.stdout.decode() == text.replace("[EOS]", "")


def test_tokenizer_train_options(folder: Path) -> None:
    out = folder / "made.json"
    run = msltx(
        "tokenizer", "train", folder / "a.txt", "--out", out, "--lowercase", "--min-frequency", 50,
        "--special-token", "<|endoftext|>", "--normalize-whitespace", "--vocab-size", 5000,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "nothing more that occurs at least 50 times" in run.stderr.decode()
    tok = Tokenizer.load(out)
    assert tok.special_tokens == {"<|endoftext|>": 0}
    assert tok.decode(tok.encode("TOLD")) == "told"


def test_data_prepare(folder: Path) -> None:
    out = folder / "books"
    run = msltx("data", "prepare", folder / "a.txt", "--tokenizer", folder / "tok.json",
                "--out", out)  # fmt: skip
    assert run.returncode == 0, run.stderr
    dataset = data.open(out)
    assert run.stdout.decode() == (
        f"{out}: {dataset.train_tokens:,} training and {dataset.val_tokens:,} validation tokens "
        "(vocabulary 300)\n"
    )
    # A dataset is a place to take a tokenizer from; one may also be trained on the way.
    assert msltx("tokenizer", "encode", out, "a").returncode == 0
    again = msltx("data", "prepare", folder / "a.txt", "--vocab-size", 300, "--out", out,
                  "--overwrite", "--documents", "line", "--val-fraction", 0)  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert data.open(out).val_tokens == 0
    assert data.open(out).documents("train") == 400


@pytest.mark.slow
def test_data_inspect_and_split(folder: Path) -> None:
    text = folder / "b.jsonl"
    text.write_text('{"body": "Caf\\u00e9"}\n{"body": "Two"}\n', encoding="utf-8")
    run = msltx("data", "inspect", text, "--field", "body", "--strip-accents", "--lowercase")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.decode().splitlines()
    assert lines[0] == "2 documents, 7 characters, 8 bytes"
    assert lines[1].split() == ["letters", "7", "100.000", "%"]
    assert "U+00E9 é" in lines[3]
    assert lines[4] == "strip_accents: 1 lines of 1 documents; 1 characters go, 1 come"
    assert lines[5:7] == ["  - 'Café'", "  + 'Cafe'"]
    assert lines[7].startswith("lowercase: 2 lines of 2 documents;")

    one, two = folder / "one", folder / "two"
    run = msltx("data", "prepare", text, folder / "a.txt", "--field", "body", "--vocab-size", 300,
                "--out", one, "--strip-accents", "--separator", "\\n\\n")  # fmt: skip
    assert run.returncode == 0, run.stderr
    run = msltx("data", "split", one, "--out", two, "--val-fraction", 0.4)
    assert run.returncode == 0, run.stderr
    assert run.stdout.decode().startswith(f"{two}: ")
    assert data.open(two).val_tokens > 2 * data.open(one).val_tokens
    run = msltx("data", "inspect", two)
    assert "val" in run.stdout.decode()
    assert "cleaning: strip_accents\n" in run.stdout.decode()
    assert failed(
        msltx("data", "split", one, "--out", two, "--val-fraction", 2, "--overwrite"), 2,
        "--val-fraction is 2; it takes 0 to less than 1",
    )  # fmt: skip
    assert failed(msltx("data", "split", one, "--out", two), 1, "; --overwrite replaces it")


def test_standard_input_is_a_source(folder: Path) -> None:
    out = folder / "out"
    run = msltx("data", "prepare", "-", "--tokenizer", folder / "tok.json", "--out", out,
                stdin=TEXT)  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert data.open(out).documents("train") + data.open(out).documents("val") == 400
    run = msltx("data", "prepare", "-", "--vocab-size", 300, "--out", folder / "no", stdin=TEXT)
    assert failed(run, 2, "standard input can be read once only; give --tokenizer with it")


@pytest.mark.slow
def test_mistakes_are_one_sentence(folder: Path) -> None:
    tok, text, out = folder / "tok.json", folder / "a.txt", folder / "out"
    missing = folder / "missing.txt"
    bad = folder / "bad.txt"
    bad.write_bytes(b"caf\xe9\n")
    before = sorted(folder.iterdir())
    assert failed(msltx("tokenizer", "train"), 2, "msltx: missing argument")
    assert failed(
        msltx("tokenizer", "train", text, "--vocab-size", 5),
        2,
        "msltx: --vocab-size is 5; it takes 260",
    )
    assert failed(
        msltx("tokenizer", "train", text, "--model", "x"), 2, "msltx: --model is x; it takes bpe"
    )
    assert failed(
        msltx("tokenizer", "train", text, "--nonsense"),
        2,
        "msltx: no such option '--nonsense'\n"
        "usage: msltx tokenizer train [OPTIONS] FILE...\nhelp: ",
    )
    assert failed(msltx("tokenizer", "train", missing, "--out", out), 1, "No such file")
    assert failed(
        msltx("tokenizer", "train", bad, "--out", out), 1, "; --invalid-utf8 replace reads"
    )
    assert failed(msltx("tokenizer", "encode", missing, "a"), 1, "No such file")
    assert failed(
        msltx("tokenizer", "encode", text, "a"), 1, f"{text} is not a JSON file (line 1)\n"
    )
    assert failed(msltx("tokenizer", "encode", tok, stdin=b"\xff"), 1, "invalid UTF-8 at byte 0")
    assert failed(msltx("tokenizer", "decode", tok, "999"), 2, "outside the vocabulary of 300")
    assert failed(msltx("tokenizer", "decode", tok, "12x"), 2, "'12x' is no token id")
    assert failed(msltx("data", "prepare", text, "--out", out), 2, "--tokenizer or --vocab-size")
    assert failed(
        msltx("data", "prepare", bad, "--tokenizer", tok, "--out", out), 1, "invalid UTF-8"
    )
    assert failed(
        msltx("data", "prepare", text, "--tokenizer", tok, "--out", text), 1, "is in the way"
    )
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_nothing_is_replaced_unasked(folder: Path) -> None:
    text, tok = folder / "a.txt", folder / "tok.json"
    before = tok.read_bytes()
    train = ("tokenizer", "train", text, "--vocab-size", 270, "--out")
    assert failed(msltx(*train, tok), 1, f"msltx: {tok} exists already; --overwrite replaces it\n")
    assert tok.read_bytes() == before
    assert msltx(*train, tok, "--overwrite").returncode == 0
    assert Tokenizer.load(tok).vocab_size == 270
    assert msltx(*train, folder).returncode == 0
    assert failed(msltx(*train, folder), 1, f"{folder / 'tokenizer.json'} exists already")
    prepare = ("data", "prepare", text, "--tokenizer", tok, "--out", folder / "books")
    assert msltx(*prepare).returncode == 0
    assert failed(msltx(*prepare), 1, "books exists already; --overwrite replaces it\n")


@pytest.mark.slow
def test_wrong_ids_and_options_of_decode(folder: Path) -> None:
    decode = ("tokenizer", "decode", folder / "tok.json")
    assert failed(msltx(*decode, -1), 2, "msltx: token id -1 is outside the vocabulary of 300")
    assert failed(msltx(*decode, 70, "--skip-special"), 2, "no such option '--skip-special'")
    assert failed(msltx(*decode, "-x"), 2, "no such option '-x'")
    assert failed(msltx("tokenizer", "decode", "--skip-special", 70), 2, "no such option")
    assert msltx(*decode, 70, "--skip-special-tokens").returncode == 0


def test_files_given_twice_are_read_once(folder: Path) -> None:
    text, link = folder / "a.txt", folder / "b.txt"
    link.symlink_to(text)
    prepare = ("data", "prepare", "--tokenizer", folder / "tok.json", "--out")
    once = msltx(*prepare, folder / "once", text)
    twice = msltx(*prepare, folder / "twice", text, link)
    assert once.stderr == b""
    assert twice.stderr.decode() == f"{link} is given twice, and read once\n"
    assert data.open(folder / "once").train_tokens == data.open(folder / "twice").train_tokens


def test_help_is_whole(folder: Path) -> None:
    for group in ("tokenizer", "data"):
        assert "..." not in msltx(group, "--help").stdout.decode().partition("Commands:")[2]


@pytest.mark.slow
def test_wrong_numbers_places_and_streams(folder: Path) -> None:
    tok, text, out = folder / "tok.json", folder / "a.txt", folder / "out"
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    before = sorted(folder.iterdir())
    train = ("tokenizer", "train", text)
    prepare = ("data", "prepare", text, "--vocab-size", 300, "--out")
    assert failed(msltx(*train, "--vocab-size", 10**20), 2, "does not fit in 64 bits")
    assert failed(msltx(*train, "--min-frequency", -1), 2, "msltx: --min-frequency is -1; it takes")
    assert failed(msltx(*train, "--out", folder / "no" / "x.json"), 1, "there is no folder")
    assert failed(msltx(*train, "--out", pipe), 1, "it is no regular file")
    assert failed(msltx(*train, "--out", ""), 2, '--out is ""; it takes the name of a file')
    assert failed(
        msltx(*train, "--split", "(", "--out", out),
        2,
        "msltx: the expression ( has a ( without )\n",
    )
    assert failed(msltx("tokenizer", "decode", tok, "--", "-"), 2, "'-' is no token id")
    assert failed(msltx("tokenizer", "decode", tok, "9" * 5000), 2, "is no token id")
    assert failed(msltx(*prepare, out, "--val-fraction", 2), 2, "msltx: --val-fraction is 2")
    assert failed(
        msltx(*prepare, out, "--val-fraction", 0.99999, "--documents", "file"), 2,
        "msltx: --val-fraction is 0.99999, by which the only document fell into the validation ",
    )  # fmt: skip
    assert failed(msltx(*prepare, "."), 2, "it takes the name of a folder")
    assert failed(
        msltx("data", "prepare", "/dev/stdin", "--vocab-size", 300, "--out", out, stdin=TEXT),
        2,
        "can be read once only",
    )
    assert failed(msltx("generate", folder, "--prompt", "-", stdin=b"\xff"), 1, "no model folder")
    assert sorted(folder.iterdir()) == before
    assert pipe.is_fifo()


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams_are_no_traceback(folder: Path, closed: str) -> None:
    for name, command, code in (("x.json", "encode", 1), ("tok.json", "decode", 0)):
        arguments = [sys.executable, "-m", "msltx", "tokenizer", command, str(folder / name)]
        run = subprocess.run(
            f"{shlex.join(arguments)} {closed}",
            shell=True,
            input=b"70 71",
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert b"Traceback" not in run.stderr
        assert run.returncode == code


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has file names in UTF-8 only")
def test_file_names_need_not_be_utf8(folder: Path) -> None:
    text = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt"))
    text.write_text(TEXT, encoding="utf-8")
    missing = Path(os.fsdecode(os.fsencode(folder) + b"/th\xe9.txt"))
    out = folder / "out"
    run = msltx("data", "prepare", text, "--vocab-size", 300, "--out", out)
    assert run.returncode == 0, run.stderr
    assert data.open(out).meta["sources"][0]["name"] == "caf\ufffd.txt"
    assert failed(msltx("tokenizer", "train", missing), 1, "No such file")


def test_ctrl_c_is_130_and_leaves_nothing(folder: Path) -> None:
    large = folder / "large.txt"
    large.write_text(TEXT * 4000, encoding="utf-8")
    before = sorted(folder.iterdir())
    command = [
        "data",
        "prepare",
        large,
        "--tokenizer",
        folder / "tok.json",
        "--out",
        folder / "out",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "msltx", *map(str, command)],
        stderr=subprocess.PIPE,
        env={**os.environ, "MSLTX_NUM_THREADS": "1"},
    )
    while process.poll() is None and sorted(folder.iterdir()) == before:
        time.sleep(0.005)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.decode().strip() == "msltx: interrupted"
    assert time.monotonic() - sent < 5
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_inspect_convert_and_compare(tmp_path: Path) -> None:
    ranks = [bytes([i]) for i in range(256)] + [b"ab", b" ab"]
    file = tmp_path / "own.tiktoken"
    file.write_text("".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(ranks)))
    out = tmp_path / "tokenizer.json"
    made = msltx("tokenizer", "convert", str(file), str(out), "--split", "cl100k")
    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith(b"258 tokens\n")
    shown = msltx("tokenizer", "inspect", str(out), "ab ab")
    assert shown.stdout.decode().split() == ["256", "0-2", "ab", "257", "2-5", "\u0120ab"]
    text = tmp_path / "text.txt"
    text.write_text("ab ab c\n")
    table = msltx("tokenizer", "compare", str(out), str(out), "--text", str(text))
    assert table.returncode == 0, table.stderr
    assert table.stdout.count(b" 258 ") == 2
    assert b"50.0%" in table.stdout
    unknown = msltx("tokenizer", "convert", str(file), str(tmp_path / "b.json"))
    assert unknown.returncode == 2
    assert b"split is not given" in unknown.stderr
