"""Files from the network: whole and checked, or not at all; an interrupted download goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msltx._core import FileError, InvalidValueError
from msltx.tokenizer import ProgressFunction

__all__ = ["DATASETS", "NamedDataset", "download", "fetch_sources", "is_url"]

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte
_TRIES = 5  # that bring nothing new, one after the other


@dataclasses.dataclass(frozen=True)
class NamedDataset:
    """Text that is known by a name."""

    urls: tuple[str, ...]
    """Each may end with #sha256=... of the file."""
    separator: str | None = None
    """What stands between its documents; None: blank lines."""


_STORIES = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main"
#: What `msltx data prepare NAME` and script/prepare_data know.
DATASETS = {
    "shakespeare": NamedDataset(
        urls=(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt"
            "#sha256=86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    # Its server tells the checksums.
    "tinystories": NamedDataset(
        urls=(
            f"{_STORIES}/TinyStoriesV2-GPT4-train.txt",
            f"{_STORIES}/TinyStoriesV2-GPT4-valid.txt",
        ),
        separator="<|endoftext|>",
    ),
}


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether a source is fetched, not opened."""
    return isinstance(source, str) and re.match(r"https?://", source) is not None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps what a redirection says of the file: Hugging Face tells the SHA-256 there."""

    def __init__(self) -> None:
        self.sha256 = ""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        self.sha256 = _sha256_in(headers) or self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _sha256_in(headers: Any) -> str:
    tag = (headers.get("X-Linked-ETag") or "").strip('"').lower()
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    inner = getattr(error, "reason", error)
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__


class _Download:
    """One file on its way: PATH.part holds what has come, PATH.part.json of which version."""

    def __init__(self, url: str, path: Path, progress: ProgressFunction | None) -> None:
        self.url, self.path, self.progress = url, path, progress
        self.part = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.json")
        self.sha256 = ""  # as the server tells it

    def _known_version(self) -> str:
        """Give the version that the part is of; empty where there is none to go on with."""
        try:
            note = json.loads(self.note.read_text("utf-8"))
            known = note["version"] if note["url"] == self.url and self.part.exists() else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return known if isinstance(known, str) else ""

    def fetch(self) -> None:
        """Take the file's bytes from where the part ends; OSError where the connection ends."""
        version = self._known_version()
        have = self.part.stat().st_size if version else 0
        # Bytes as the file has them: what a server packs on the way could not be gone on with.
        headers = {"Accept-Encoding": "identity", "User-Agent": "msltx"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        redirects = _Redirects()
        opener = urllib.request.build_opener(redirects)
        try:
            response = opener.open(
                urllib.request.Request(self.url, headers=headers), timeout=_TIMEOUT
            )
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # there is nothing after the part
                self.note.unlink(missing_ok=True)
                raise ConnectionError("the part does not fit the file") from None
            raise
        with response:
            goes_on = response.status == 206
            have = have if goes_on else 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else 0
            self.sha256 = _sha256_in(response.headers) or redirects.sha256
            version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            weak = version.startswith("W/")  # a weak tag does not promise equal bytes
            self.note.write_text(
                json.dumps({"url": self.url, "version": "" if weak else version}), "utf-8"
            )
            with self.part.open("ab" if goes_on else "wb") as file:
                while block := response.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    if self.progress is not None:
                        self.progress("download", have, total)
                file.flush()
                os.fsync(file.fileno())
            if total and have < total:
                raise ConnectionError(f"it ended after {have:,} of {total:,} bytes")

    def run(self, sha256: str) -> None:
        failures = 0
        while True:
            before = self.part.stat().st_size if self.part.exists() else 0
            try:
                self.fetch()
                break
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    raise FileError(f"cannot download {self.url}: {_reason(error)}") from None
                if getattr(error, "errno", None) == 28 or not self.part.parent.is_dir():
                    raise FileError(
                        f"cannot write {self.part}: no space left on the disk"
                    ) from None
                now = self.part.stat().st_size if self.part.exists() else 0
                failures = 0 if now > before else failures + 1
                if failures >= _TRIES or now == before == 0:
                    raise FileError(
                        f"cannot download {self.url}: {_reason(error)}; what has come is kept, "
                        "and the same command goes on with it"
                        if now
                        else f"cannot download {self.url}: {_reason(error)}; is there a network?"
                    ) from None
                time.sleep(0.2 * failures)
        wanted = sha256 or self.sha256
        digest = hashlib.sha256()
        with self.part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        if wanted and digest.hexdigest() != wanted:
            self.part.unlink()
            self.note.unlink(missing_ok=True)
            raise FileError(
                f"{self.url} gave a file with SHA-256 {digest.hexdigest()}, not {wanted}; "
                "it was thrown away"
            )
        self.part.replace(self.path)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    folder: str | os.PathLike[str] = "data/downloads",
    *,
    sha256: str = "",
    progress: ProgressFunction | None = None,
) -> Path:
    """Fetch a file, unless it is there already.

    The file appears under its name whole, with the checksum that was asked for or that its server
    tells (Hugging Face does), or not at all. An interrupted download goes on where it was, if the
    file is still the same there.

    Parameters
    ----------
    url : str
        http or https; ``#sha256=...`` at its end asks for a checksum, too.
    folder : path
        Where the file goes, under the last part of the address.
    sha256 : str
        Checksum in 64 hexadecimal digits.
    progress : callable, optional
        Called with ("download", bytes done, bytes in all or 0).

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        An address that names no file, or a checksum that is none.
    FileError
        Where the server cannot be reached or has no such file, the connection ends for good, the
        checksum is another one, or the file cannot be written.
    """
    plain, _, fragment = url.partition("#")
    sha256 = (sha256 or fragment.removeprefix("sha256=")).lower()
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InvalidValueError(f"sha256 is {sha256}; it takes 64 hexadecimal digits")
    name = urllib.parse.unquote(Path(urllib.parse.urlsplit(plain).path).name)
    if not is_url(plain) or name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidValueError(f"url is {url}; it takes the http address of a file")
    path = Path(folder) / name
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _Download(plain, path, progress).run(sha256)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot write {path}: {error.strerror}") from None
    return path


def _place(url: str, folder: str | os.PathLike[str]) -> Path:
    """Give the folder of an address's file: other addresses have others."""
    parts = urllib.parse.urlsplit(url)
    names = [parts.netloc.rpartition("@")[2], *parts.path.split("/")[:-1]]
    return Path(folder, *(name for name in names if name not in ("", ".", "..")))


def fetch_sources(
    sources: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str] = "data/downloads",
    progress: ProgressFunction | None = None,
) -> tuple[list[str | os.PathLike[str]], str | None]:
    """Fetch what is named by address or by name; give files, and a separator where one is known.

    Parameters
    ----------
    sources : iterable of paths
        Files, folders and patterns stay as they are; addresses and names of DATASETS become files
        in `folder`: NAME/FILE, or HOST/PATH/FILE, so that no two are taken for one another. A file
        or folder goes before a name.
    """
    found: list[str | os.PathLike[str]] = []
    separators = set()
    for source in sources:
        named = DATASETS.get(source) if isinstance(source, str) else None
        if named is not None and not Path(source).exists():
            place = Path(folder) / str(source)
            found += [download(url, place, progress=progress) for url in named.urls]
            separators.add(named.separator)
        elif is_url(source):
            found.append(download(str(source), _place(str(source), folder), progress=progress))
        else:
            found.append(source)
    return found, separators.pop() if len(separators) == 1 else None
