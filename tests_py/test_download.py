"""Downloads, from a server on this machine that breaks off, changes its files, or is not there."""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

import msltx
from msltx import data

ROOT = Path(__file__).resolve().parent.parent
TEXT = "".join(f"Story {i} was told, and {i * i} times again.\n\n" for i in range(4000)).encode()
SHA256 = hashlib.sha256(TEXT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    content: ClassVar[bytes] = TEXT
    etag: ClassVar[str] = '"one"'
    break_after: ClassVar[list[int]] = []  # bytes sent by the next requests before they break off
    requests: ClassVar[list[str | None]] = []  # their ranges
    linked: ClassVar[str] = ""

    def do_GET(self) -> None:
        cls = type(self)
        if self.path.startswith("/moved"):
            self.send_response(302)
            if cls.linked:
                self.send_header("X-Linked-ETag", f'"{cls.linked}"')
            self.send_header("Location", "/stories.txt")
            self.end_headers()
            return
        if self.path != "/stories.txt":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        cls.requests.append(wanted)
        begin = 0
        if wanted and self.headers.get("If-Range") == cls.etag:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = cls.content[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", cls.etag)
        self.end_headers()
        if cls.break_after:
            body = body[: cls.break_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Handler.content, Handler.etag, Handler.linked = TEXT, '"one"', ""
    Handler.break_after, Handler.requests = [], []
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def nobody() -> str:
    """Give an address where no server is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/stories.txt"


def test_a_download_is_checked_and_kept(server: str, tmp_path: Path) -> None:
    told = []
    path = data.download(
        f"{server}/stories.txt#sha256={SHA256}",
        tmp_path / "new",
        progress=lambda *p: told.append(p),
    )
    assert path == tmp_path / "new" / "stories.txt"
    assert path.read_bytes() == TEXT
    assert told[-1] == ("download", len(TEXT), len(TEXT))
    assert data.download(f"{server}/stories.txt", tmp_path / "new") == path
    assert len(Handler.requests) == 1
    assert [p.name for p in path.parent.iterdir()] == ["stories.txt"]


def test_it_goes_on_where_the_connection_broke(server: str, tmp_path: Path) -> None:
    Handler.break_after = [50_000, 30_000]
    path = data.download(f"{server}/stories.txt", tmp_path, sha256=SHA256)
    assert path.read_bytes() == TEXT
    assert Handler.requests == [None, "bytes=50000-", "bytes=80000-"]


@pytest.mark.slow
def test_a_file_that_has_changed_is_fetched_anew(server: str, tmp_path: Path) -> None:
    Handler.break_after = [50_000] + [0] * 20
    with pytest.raises(msltx.FileError, match=r"what has come is kept, and the same command goes"):
        data.download(f"{server}/stories.txt", tmp_path)
    assert (tmp_path / "stories.txt.part").stat().st_size == 50_000
    assert not (tmp_path / "stories.txt").exists()
    Handler.break_after, Handler.etag = [], '"two"'
    Handler.content = TEXT.upper()
    path = data.download(f"{server}/stories.txt", tmp_path)
    assert path.read_bytes() == TEXT.upper()
    assert [p.name for p in tmp_path.iterdir()] == ["stories.txt"]


def test_another_checksum_is_thrown_away(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        msltx.FileError, match=rf"with SHA-256 {SHA256}, not 0{{64}}; it was thrown"
    ):
        data.download(f"{server}/stories.txt", tmp_path, sha256="0" * 64)
    # The checksum that the server tells on the way counts where none is asked for.
    Handler.linked = "1" * 64
    with pytest.raises(msltx.FileError, match=r"not 1{64}"):
        data.download(f"{server}/moved/stories.txt", tmp_path)
    assert list(tmp_path.iterdir()) == []
    Handler.linked = SHA256
    assert data.download(f"{server}/moved/stories.txt", tmp_path).read_bytes() == TEXT


def test_mistakes(server: str, nobody: str, tmp_path: Path) -> None:
    with pytest.raises(msltx.FileError, match=r"other\.txt: the server says 404 Not Found$"):
        data.download(f"{server}/other.txt", tmp_path)
    with pytest.raises(msltx.FileError, match=r"^cannot download .* is there a network\?$"):
        data.download(nobody, tmp_path)
    for wrong in ("ftp://a/b.txt", f"{server}/", "stories.txt", "http://a/.."):
        with pytest.raises(ValueError, match="it takes the http address of a file"):
            data.download(wrong, tmp_path)
    with pytest.raises(ValueError, match="sha256 is abc; it takes 64"):
        data.download(f"{server}/stories.txt", tmp_path, sha256="abc")
    (tmp_path / "file").write_text("")
    with pytest.raises(msltx.FileError, match="cannot write"):
        data.download(f"{server}/stories.txt", tmp_path / "file" / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def msltx_command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "msltx", *map(str, arguments)],
        cwd=cwd, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def test_from_an_address_to_shards(server: str, nobody: str, tmp_path: Path) -> None:
    run = msltx_command("data", "prepare", f"{server}/stories.txt", "--vocab-size", 300,
                        "--out", "data/stories", cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stderr
    made = data.open(tmp_path / "data" / "stories")
    assert made.documents("train") + made.documents("val") == 4000
    (fetched,) = (tmp_path / "data" / "downloads").rglob("*.txt")
    assert fetched.read_bytes() == TEXT
    assert fetched.parent.name == server.removeprefix("http://")
    run = msltx_command("data", "prepare", nobody, "--vocab-size", 300, "--out", "x", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("msltx: cannot download ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_known_name(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from msltx.data._download import DATASETS, NamedDataset, fetch_sources

    monkeypatch.setitem(
        DATASETS, "stories", NamedDataset((f"{server}/stories.txt#sha256={SHA256}",), "Story")
    )
    monkeypatch.chdir(tmp_path)
    files, separator = fetch_sources(["stories", "other.txt"])
    assert [Path(f) for f in files] == [
        Path("data/downloads/stories/stories.txt"),
        Path("other.txt"),
    ]
    assert separator == "Story"
    Path("stories").write_text("mine")
    assert fetch_sources(["stories"]) == (["stories"], None)


def test_the_script_says_how_it_is_used() -> None:
    script = ROOT / "script" / "prepare_data"
    run = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "DATASET=tinystories VOCAB_SIZE=32000 script/prepare_data" in run.stdout
    environment = {k: v for k, v in os.environ.items() if k != "DATASET"}
    run = subprocess.run([script], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 2
    assert "no source is given" in run.stderr
