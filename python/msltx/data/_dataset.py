"""A prepared dataset and its batches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._core import FileError, InvalidValueError
from msltx.tokenizer import Tokenizer

__all__ = ["Batch", "Dataset"]

Batch = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


class Dataset:
    """A prepared folder: two long rows of token ids, mapped into memory.

    Parameters
    ----------
    path : path
        The folder that prepare() wrote; or, with a tokenizer, token files of llm.c or nanoGPT: a
        .bin, or a folder of them whose names say train or val.
    tokenizer : Tokenizer, optional
        What such files were encoded with. For a folder that prepare() wrote, it must be the one it
        was prepared with.

    Raises
    ------
    FileError
        Where the folder is no whole dataset, was written by a newer version, or was prepared with
        another tokenizer.
    """

    def __init__(self, path: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        self._tokenizer: Tokenizer | None = None
        if tokenizer is None or (Path(path) / "meta.json").exists():
            self._engine = _core.Dataset(os.fspath(path))
            if tokenizer is not None and tokenizer.to_json() != self.tokenizer.to_json():
                raise FileError(f"{path} was prepared with another tokenizer than the one given")
        else:
            self._engine = _core.Dataset.foreign(os.fspath(path), tokenizer._engine)
            self._tokenizer = tokenizer

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
        """Bytes of original text that a token stands for on average; None where it is not known."""
        tokens = self._engine.tokens(split)
        size = self._engine.bytes(split)
        return size / tokens if tokens and size else None

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
