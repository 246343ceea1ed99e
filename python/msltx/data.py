"""Text files to token shards, and shards to batches.

``prepare`` writes a dataset, a folder; ``open`` opens one. docs/formats.md describes its files.
"""

from __future__ import annotations

import glob
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._core import FileError, InvalidValueError
from msltx.tokenizer import ProgressFunction, Tokenizer

__all__ = ["Dataset", "open", "prepare", "text_files"]

Batch = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]

#: What a folder's text files end with.
TEXT_SUFFIXES = (".txt", ".md")
SHARD_TOKENS = 2**27


def text_files(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Path]:
    """List the text files that paths, folders and patterns stand for.

    Parameters
    ----------
    sources : path or iterable of paths
        A file; a folder, for the .txt and .md files in it and below; or a pattern such as
        ``books/*.txt`` (``**`` for any depth).

    Returns
    -------
    list of Path
        In the order given, the files of a folder or a pattern sorted by name; each once. A warning
        names what was given again.

    Raises
    ------
    FileError
        Where something does not exist, or stands for no file.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    files: dict[str, Path] = {}
    again: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in TEXT_SUFFIXES and p.is_file())
            if not found:
                raise FileError(f"{path} has no file that ends with {' or '.join(TEXT_SUFFIXES)}")
        elif path.exists() or not glob.has_magic(str(path)):
            found = [path]
        else:
            # Path.glob takes no absolute pattern.
            named = glob.glob(str(path), recursive=True)  # noqa: PTH207
            found = sorted(p for p in map(Path, named) if p.is_file())
            if not found:
                raise FileError(f"no file is named like {path}")
        for file in found:
            if files.setdefault(os.path.realpath(file), file) is not file:
                again.append(file)
    if again:
        others = f" and {len(again) - 1:,} more are" if len(again) > 1 else " is"
        warnings.warn(f"{again[0]}{others} given twice, and read once", stacklevel=2)
    return list(files.values())


def prepare(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    tokenizer: Tokenizer,
    *,
    out: str | os.PathLike[str],
    val_fraction: float = 0.1,
    documents: str = "blank_line",
    normalize_whitespace: bool = False,
    lowercase: bool = False,
    invalid_utf8: str = "refuse",
    shard_tokens: int = SHARD_TOKENS,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
) -> Dataset:
    """Turn text files into a dataset: train and val shards, tokenizer.json, meta.json.

    Text is streamed in constant memory, encoded by all threads, and the folder appears whole or
    not at all. Each document goes to one split by the hash of its text, so that adding files later
    never moves a document across. A document of more than 64 KiB counts as several there. After
    each document stands the tokenizer's [EOS], where it has one.

    Parameters
    ----------
    sources : path or iterable of paths
        Files, folders, patterns: see text_files.
    tokenizer : Tokenizer
    out : path
        The folder to write.
    val_fraction : float
        Share of the documents that goes to the validation split, 0 to less than 1.
    documents : {"blank_line", "line", "file"}
        What ends a document: a blank line, every line end, or only the end of the file.
    normalize_whitespace : bool
        CRLF and CR become LF, every other run of white space one space, and spaces at both ends
        of a line go.
    lowercase : bool
        Turn text to lowercase, character by character.
    invalid_utf8 : {"refuse", "replace"}
        Bytes that are not UTF-8: an error with file and offset, or U+FFFD in their place.
    shard_tokens : int
        A shard that has this many tokens is full.
    overwrite : bool
        Replace the dataset that stands at `out`; a folder that holds anything else is refused.
    progress : callable, optional
        Called with ("encode", bytes done, bytes in all) a few times a second.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        An option out of range, or text that gives no training token.
    FileError
        A file that cannot be read or written, bytes that are not UTF-8, or an `out` in the way.
    """
    files = text_files(sources)
    _core.prepare_data(
        [str(file) for file in files],
        tokenizer._engine,
        os.fspath(out),
        val_fraction=val_fraction,
        documents=documents,
        normalize_whitespace=normalize_whitespace,
        lowercase=lowercase,
        invalid_utf8=invalid_utf8,
        shard_tokens=shard_tokens,
        overwrite=overwrite,
        progress=progress,
    )
    dataset = Dataset(out)
    if val_fraction > 0 and dataset.val_tokens == 0:
        warnings.warn(
            f"none of the {dataset.documents('train')} documents fell into the validation split; "
            "there will be no validation loss",
            stacklevel=2,
        )
    return dataset


class Dataset:
    """A prepared folder: two long rows of token ids, mapped into memory.

    Parameters
    ----------
    path : path
        The folder that prepare() wrote.

    Raises
    ------
    FileError
        Where the folder is no whole dataset, or was written by a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._engine = _core.Dataset(os.fspath(path))
        self._tokenizer: Tokenizer | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        return self._engine.path

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the text was encoded with."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(self.path)
        return self._tokenizer

    @property
    def meta(self) -> dict[str, Any]:
        """What meta.json says: sources, options, counts."""
        meta: dict[str, Any] = json.loads(self._engine.meta_json)
        return meta

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer; every id is below it."""
        return self._engine.vocab_size

    @property
    def eos_id(self) -> int | None:
        """The token after each document, if there is one."""
        return self._engine.eos_id

    @property
    def train_tokens(self) -> int:
        """Tokens of the training split."""
        return self._engine.tokens("train")

    @property
    def val_tokens(self) -> int:
        """Tokens of the validation split."""
        return self._engine.tokens("val")

    def documents(self, split: str = "train") -> int:
        """Count the documents of a split; a long one counts once per 64 KiB."""
        return self._engine.documents(split)

    def bytes_per_token(self, split: str = "val") -> float | None:
        """Bytes of original text that a token stands for on average; None for an empty split."""
        tokens = self._engine.tokens(split)
        return self._engine.bytes(split) / tokens if tokens else None

    def tokens(
        self, split: str = "train", first: int = 0, count: int | None = None
    ) -> npt.NDArray[np.int32]:
        """Read tokens of a split.

        Parameters
        ----------
        split : {"train", "val"}
        first : int
        count : int, optional
            Default: all from `first` on.

        Returns
        -------
        ndarray of int32, shape (count,)
        """
        if count is None:
            count = max(0, self._engine.tokens(split) - first)
        return self._engine.read(split, first, count)

    def batch(
        self, step: int, batch_size: int, length: int, seed: int = 0, split: str = "train"
    ) -> Batch:
        """Give the batch of a step: shuffled windows of the text.

        A function of its arguments alone. An epoch has each of its windows once; sequence b of
        step s is number ``s * batch_size + b`` of the run, so that smaller batches see the same
        sequences in the same order.

        Parameters
        ----------
        step : int
            From 0 on.
        batch_size, length : int
            B sequences of T tokens.
        seed : int
            Of the shuffle, 0 or more.
        split : {"train", "val"}

        Returns
        -------
        tokens, targets : ndarray of int32, shape (B, T)
            targets[b, t] is the token after tokens[b, t]; -1, which a loss ignores, where the
            text is shorter than T.
        """
        if not 0 <= seed < 2**64:
            raise InvalidValueError(f"seed is {seed}; it takes 0 to 2^64 - 1")
        return self._engine.batch(step, batch_size, length, seed, split, self._pad_id)

    def windows(self, batch_size: int, length: int, split: str = "val") -> Iterator[Batch]:
        """Give the windows of a split in order, batch by batch: each token is a target once.

        The last batch is filled up with rows whose targets are all -1. A split of fewer than two
        tokens gives nothing.

        Yields
        ------
        tokens, targets : ndarray of int32, shape (B, T)
        """
        if self._engine.tokens(split) < 2:
            return
        for index in range(self._engine.window_batches(batch_size, length, split)):
            yield self._engine.window_batch(index, batch_size, length, split, self._pad_id)

    def verify(self) -> None:
        """Read everything and compare it with the checksums; FileError where they differ."""
        self._engine.verify()

    @property
    def _pad_id(self) -> int:
        return self.tokenizer.pad_id or 0

    def __repr__(self) -> str:
        return (
            f"<msltx.data.Dataset {str(self.path)!r}: {self.train_tokens:,} training and "
            f"{self.val_tokens:,} validation tokens (vocabulary {self.vocab_size:,})>"
        )


def open(path: str | os.PathLike[str]) -> Dataset:
    """Open a dataset that prepare() wrote.

    Raises
    ------
    FileError
        Where the folder is no whole dataset, or was written by a newer version.
    """
    return Dataset(path)
