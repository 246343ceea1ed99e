"""Where text comes from and what is done to it: kinds of files, documents, cleaning, splitting."""

from __future__ import annotations

import bz2
import gzip
import json
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import msltx
from msltx import Tokenizer, data

DOCUMENTS = [f"Document {i} begins here,\nwith number {i * i}." for i in range(300)]
TEXT = "\n\n".join(DOCUMENTS)


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(texts=DOCUMENTS, vocab_size=300)


def texts_of(dataset: data.Dataset, split: str = "train") -> list[str]:
    return dataset.tokenizer.decode(dataset.tokens(split)).split("[EOS]")[:-1]


def zstd(path: Path, content: str) -> None:
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("there is no zstd program")
    run = subprocess.run([program, "-q", "-c"], input=content.encode(), capture_output=True)
    path.write_bytes(run.stdout)


def test_every_kind_of_file_gives_the_same(tok: Tokenizer, tmp_path: Path) -> None:
    records = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(DOCUMENTS))
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    zstd(tmp_path / "a.txt.zst", TEXT)
    (tmp_path / "a.jsonl").write_text(records)
    zstd(tmp_path / "a.jsonl.zst", records)
    for name in ("a.txt", "a.txt.gz", "a.txt.zst", "a.jsonl", "a.jsonl.zst"):
        made = data.prepare(tmp_path / name, tok, out=tmp_path / "out", overwrite=True)
        assert sorted(texts_of(made) + texts_of(made, "val")) == sorted(DOCUMENTS), name
        size = (tmp_path / name).stat().st_size
        assert made.meta["sources"] == [{"name": name, "bytes": size}]
        assert list(data.documents(tmp_path / name)) == DOCUMENTS
    made = data.prepare(None, tok, texts=iter(DOCUMENTS), out=tmp_path / "out", overwrite=True)
    assert sorted(texts_of(made) + texts_of(made, "val")) == sorted(DOCUMENTS)
    assert made.meta["sources"] == []
    assert {p.name for p in data.text_files(tmp_path)} == {
        "a.txt", "a.txt.gz", "a.txt.zst", "a.jsonl", "a.jsonl.zst",
    }  # fmt: skip
    # Tokenizers are trained on compressed text, too.
    assert (
        Tokenizer.train(tmp_path / "a.txt.gz", vocab_size=300).to_json()
        == Tokenizer.train(tmp_path / "a.txt", vocab_size=300).to_json()
    )


def test_parquet(tok: Tokenizer, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": range(301), "story": [*DOCUMENTS, None]})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path)
    (tmp_path / "b.txt").write_text("the end")
    made = data.prepare(tmp_path, tok, out=tmp_path / "out", field="story", val_fraction=0)
    assert texts_of(made) == [*DOCUMENTS, "the end"]
    with pytest.raises(msltx.FileError, match=r"has no column text; there are: id, story$"):
        data.prepare(path, tok, out=tmp_path / "no")
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(msltx.FileError, match=r"^cannot read .*a\.parquet: "):
        list(data.documents(path))
    assert not (tmp_path / "no").exists()


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(msltx.FileError, match=r"takes pyarrow to read: pip install 'msltx\[parq"):
        list(data.documents(tmp_path / "a.parquet"))


def test_documents_by_a_given_text(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nstory\n<|endoftext|>\nanother\n<|endoftext|>\n")
    made = data.prepare(
        tmp_path / "a.txt", tok, out=tmp_path / "out", separator="<|endoftext|>", val_fraction=0
    )
    assert texts_of(made) == ["one\n\nstory", "another"]
    assert (made.meta["documents"], made.meta["separator"]) == ("text", "<|endoftext|>")


def test_texts_from_python(tok: Tokenizer, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def broken() -> Iterator[str]:
        yield "good"
        raise KeyError("from the generator")

    with pytest.raises(KeyError, match="from the generator"):
        data.prepare(None, tok, texts=broken(), out=out)
    with pytest.raises(TypeError, match="document 2 is a int; a str is expected"):
        data.prepare(None, tok, texts=["a", 5], out=out)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="sources or texts="):
        data.prepare(None, tok, out=out)
    lone = ["good", "b\ud800d", "fine"]
    with pytest.raises(ValueError, match="document 2 holds a lone surrogate"):
        data.prepare(None, tok, texts=lone, out=out)
    assert list(tmp_path.iterdir()) == []
    made = data.prepare(None, tok, texts=lone, out=out, invalid_utf8="skip", val_fraction=0)
    assert texts_of(made) == ["good", "fine"]
    assert made.meta["invalid_utf8"] == {"rule": "skip", "replaced": 0, "skipped": 1}
    made = data.prepare(
        None, tok, texts=lone, out=out, invalid_utf8="replace", val_fraction=0, overwrite=True
    )
    assert texts_of(made) == ["good", "b\ufffd\ufffd\ufffdd", "fine"]


# What each step is to do, in Python's own words; unicodedata is of another Unicode version than the
# engine's tables, so characters are old ones.
CLEANINGS = {
    "remove_control": lambda s: "".join(
        c
        for c in s
        if unicodedata.category(c) != "Cc" or (c.isspace() and c not in "\x1c\x1d\x1e\x1f")
    ),
    "nfkc": lambda s: unicodedata.normalize("NFKC", s),
    "nfd": lambda s: unicodedata.normalize("NFD", s),
    "strip_accents": lambda s: unicodedata.normalize(
        "NFC",
        "".join(c for c in unicodedata.normalize("NFD", s) if unicodedata.category(c) != "Mn"),
    ),
    "remove_punctuation": lambda s: "".join(c for c in s if unicodedata.category(c)[0] != "P"),
}


@pytest.mark.parametrize("name", list(CLEANINGS))
def test_cleaning_does_what_its_name_says(name: str) -> None:
    option = {"normalize_unicode": name} if name.startswith("nf") else {name: True}
    cleaning = msltx._core.Cleaning(**option)  # type: ignore[arg-type]
    rng = np.random.default_rng(7)
    old = [
        chr(c)
        for c in range(0x30000)
        if not 0xD800 <= c < 0xE000
        and unicodedata.ucd_3_2_0.category(chr(c)) != "Cn"
        # Put right after Unicode 3.2.
        and unicodedata.category(chr(c)) == unicodedata.ucd_3_2_0.category(chr(c))
    ]
    for _ in range(200):
        common = rng.integers(0, 0x250, 20)
        text = "".join(map(chr, common)) + "".join(old[i] for i in rng.integers(0, len(old), 40))
        assert cleaning.clean(text) == CLEANINGS[name](text)


@pytest.mark.slow
def test_the_unicode_consortiums_normalization_test() -> None:
    packed = Path("/usr/share/unicode/NormalizationTest.txt.bz2")
    if not packed.exists():
        pytest.skip("NormalizationTest.txt.bz2 is not here (Debian package unicode-data)")
    lines = bz2.decompress(packed.read_bytes()).decode().splitlines()
    version = msltx._core.Cleaning.unicode_version()
    if version not in lines[0]:
        pytest.skip(f"{lines[0]} is of another Unicode version than utf8proc, {version}")
    columns: list[list[str]] = [[] for _ in range(5)]
    named = set()
    part = ""
    for line in lines:
        if line.startswith("@"):
            part = line.split()[0]
        if not line or line[0] in "#@":
            continue
        texts = ["".join(chr(int(c, 16)) for c in f.split()) for f in line.split(";")[:5]]
        for column, text in zip(columns, texts, strict=True):
            column.append(text)
        if part == "@Part1":
            named.add(texts[0])
    assert len(columns[0]) > 18000
    # A line feed is a wall: nothing is composed across it.
    c1, c2, c3, c4, c5 = ("\n".join(column) for column in columns)
    for form, expected in {
        "nfc": (c2, c2, c2, c4, c4),
        "nfd": (c3, c3, c3, c5, c5),
        "nfkc": (c4,) * 5,
        "nfkd": (c5,) * 5,
    }.items():
        cleaning = msltx._core.Cleaning(normalize_unicode=form)
        for text, wanted in zip((c1, c2, c3, c4, c5), expected, strict=True):
            assert cleaning.clean(text) == wanted, form
        # Every other character is its own form.
        rest = "\n".join(
            chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c) not in named
        )
        assert cleaning.clean(rest) == rest, form


def test_inspect_says_what_a_cleaning_would_change(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Café, plain\nlower\n\nTwo  ﬁ\n\nplain", encoding="utf-8")
    report = data.inspect(path, normalize_unicode="nfkc", lowercase=True, normalize_whitespace=True)
    assert (report.documents, report.characters) == (3, 27 - 4 + 5)
    assert report.bytes == len("Café, plain\nlowerTwo  ﬁplain".encode())
    assert report.groups["punctuation"] == 1
    assert report.counts["é"] == 1
    assert sum(report.counts.values()) == sum(report.categories.values()) == report.characters
    form, lower, space = report.steps
    assert [s.name for s in report.steps] == [
        "normalize_unicode", "lowercase", "normalize_whitespace",
    ]  # fmt: skip
    assert (form.documents, form.lines, form.removed, form.added) == (1, 1, 1, 2)
    assert form.examples == [("Two  ﬁ", "Two  fi")]
    assert (lower.documents, lower.lines, lower.removed, lower.added) == (2, 2, 2, 2)
    assert lower.examples[0] == ("Café, plain", "café, plain")
    assert (space.lines, space.removed, space.added) == (1, 1, 0)
    # Long lines are shown where they differ; many documents give the same at any thread count.
    path.write_text("".join(f"{'x' * 500} É {i}\n" for i in range(5000)), encoding="utf-8")
    before = msltx.get_num_threads()
    reports = []
    for threads in (1, 3):
        msltx.set_num_threads(threads)
        reports.append(data.inspect(path, lowercase=True, documents="line"))
    msltx.set_num_threads(before)
    assert reports[0] == reports[1]
    assert len(reports[0].steps[0].examples) == 5
    assert all("É" in a and "é" in b for a, b in reports[0].steps[0].examples)
    assert data.inspect(path, documents="line", sample_bytes=5000).documents == 10
    with pytest.raises(ValueError, match="examples is -1; it takes at least 0"):
        data.inspect(path, examples=-1)


def test_split_again_without_encoding(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    made = data.prepare(tmp_path / "a.txt", tok, out=tmp_path / "one", val_fraction=0)
    parts = data.split(made, out=tmp_path / "two", val_fraction=0.2)
    assert sorted(texts_of(parts) + texts_of(parts, "val")) == sorted(DOCUMENTS)
    assert 30 < parts.documents("val") < 90
    assert parts.bytes_per_token("val") == pytest.approx(
        sum(map(len, texts_of(parts, "val"))) / parts.val_tokens
    )
    again = data.split(tmp_path / "two", out=tmp_path / "two", val_fraction=0.2, overwrite=True)
    assert sorted(texts_of(again, "val")) == sorted(texts_of(parts, "val"))
    with pytest.raises(msltx.FileError, match="two exists already"):
        data.split(made, out=tmp_path / "two")


def test_token_files_of_llm_c_and_nanogpt(tok: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    made = data.prepare(tmp_path / "a.txt", tok, out=tmp_path / "ours")
    nano, llmc = tmp_path / "nano", tmp_path / "llmc"
    nano.mkdir()
    llmc.mkdir()
    header = np.zeros(256, np.int32)
    for split in ("train", "val"):
        ids = made.tokens(split).astype(np.uint16)
        ids.tofile(nano / f"{split}.bin")
        header[:3] = 20240520, 1, ids.size
        (llmc / f"books_{split}_000001.bin").write_bytes(header.tobytes() + ids.tobytes())
    (llmc / "other.bin").write_bytes(b"x")
    for folder in (nano, llmc):
        theirs = data.open(folder, tok)
        assert theirs.vocab_size == tok.vocab_size
        for split in ("train", "val"):
            assert np.array_equal(theirs.tokens(split), made.tokens(split))
            assert theirs.documents(split) == made.documents(split)
        assert theirs.bytes_per_token() is None
        for one, other in zip(theirs.batch(3, 4, 16), made.batch(3, 4, 16), strict=True):
            assert np.array_equal(one, other)
        ours = data.split(theirs, out=tmp_path / "new", val_fraction=0.3, overwrite=True)
        assert sorted(texts_of(ours) + texts_of(ours, "val")) == sorted(DOCUMENTS)
    alone = data.open(nano / "train.bin", tok)
    assert (alone.train_tokens, alone.val_tokens) == (made.train_tokens, 0)
    with pytest.raises(msltx.FileError, match=r"is no dataset: it has no meta\.json"):
        data.open(nano)
    other = Tokenizer.train(texts=["abc abc"], vocab_size=261)
    with pytest.raises(msltx.FileError, match="with another tokenizer than the one given"):
        data.open(made.path, other)


def _prepare_from_a_pipe(megabytes: int, tok: Path, out: Path) -> int:
    """Prepare so much generated text from standard input; give the most memory it took, in MB."""
    program = (
        "import sys\n"
        "from msltx.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    print('peak', next(line.split()[1] for line in lines if 'VmHWM' in line))\n"
    )
    command = [sys.executable, "-c", program, "data", "prepare", "-", "--tokenizer", str(tok)]
    with subprocess.Popen(
        [*command, "--out", str(out), "--documents", "line", "--overwrite"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        block = b"".join(
            b"Document %d and more of the same kind of words\n" % i for i in range(20000)
        )
        for _ in range(megabytes * 1_000_000 // len(block)):
            process.stdin.write(block)
        process.stdin.close()
        printed = process.stdout.read().decode()
    assert process.returncode == 0
    return int(printed.split("peak ")[1]) // 1024


@pytest.mark.campaign
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent's peak is counted, too")
def test_memory_does_not_grow_with_the_text(tok: Tokenizer, tmp_path: Path) -> None:
    tok.save(tmp_path / "tok.json")
    small = _prepare_from_a_pipe(200, tmp_path / "tok.json", tmp_path / "out")
    large = _prepare_from_a_pipe(4000, tmp_path / "tok.json", tmp_path / "out")
    print(f"peak memory: {small} MB for 200 MB of text, {large} MB for 4 GB")
    assert large < 300
    assert large - small < 20


def test_old_datasets_are_read_as_ever() -> None:
    old = Path(__file__).resolve().parent.parent / "tests_cpp" / "data" / "old"
    first, second = (data.open(old / f"dataset_v{version}") for version in (1, 2))
    for split in ("train", "val"):
        assert np.array_equal(first.tokens(split), second.tokens(split))
        assert first.bytes_per_token(split) == second.bytes_per_token(split)
    first.verify()
    second.verify()
    assert [step["step"] for step in second.meta["cleaning"]] == [
        "normalize_unicode", "normalize_whitespace",
    ]  # fmt: skip
