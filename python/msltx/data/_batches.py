"""Batches addressed by (seed, step), of one dataset or of several in fixed shares."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._core import FileError, InvalidValueError
from msltx.data._dataset import Batch, Dataset
from msltx.tokenizer import Tokenizer

__all__ = ["Batches", "BucketedBatches", "Mixture", "PaddingReport"]

Ids = npt.NDArray[np.int32]


def _checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**64:
        raise InvalidValueError(f"seed is {seed}; it takes 0 to 2^64 - 1")
    return seed


class Mixture:
    """Several datasets that are trained on in fixed shares, where one dataset could stand.

    Of the first n sequences of a run, each dataset has its share of n to within one per dataset,
    for every n: no luck is involved, and any step is made at once.

    Parameters
    ----------
    datasets : sequence of Dataset or path
        Prepared with one tokenizer.
    weights : sequence of float, optional
        Shares of the sequences; they need not sum to 1. Default: by training tokens.

    Raises
    ------
    ValueError
        Where a weight is not above 0, or there is not one for each dataset.
    FileError
        Where the tokenizers differ.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset | str | os.PathLike[str]],
        weights: Sequence[float] | None = None,
    ) -> None:
        self.datasets = [d if isinstance(d, Dataset) else Dataset(d) for d in datasets]
        if not self.datasets:
            raise InvalidValueError("datasets is empty; a mixture takes at least one")
        if weights is None:
            weights = [float(d.train_tokens) for d in self.datasets]
        self.weights = [float(weight) for weight in weights]
        if len(self.weights) != len(self.datasets):
            raise InvalidValueError(
                f"there are {len(self.weights)} weights for {len(self.datasets)} datasets; "
                "each takes one"
            )
        for weight in self.weights:
            if not 0 < weight < float("inf"):
                raise InvalidValueError(f"a weight is {weight:g}; it takes a number above 0")
        first = self.datasets[0]
        for other in self.datasets[1:]:
            if other.tokenizer.to_json() != first.tokenizer.to_json():
                raise FileError(
                    f"{other.path} was prepared with another tokenizer than {first.path}"
                )

    @property
    def paths(self) -> list[Path]:
        """The folders."""
        return [d.path for d in self.datasets]

    @property
    def path(self) -> Path:
        """The first folder."""
        return self.datasets[0].path

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all."""
        return self.datasets[0].tokenizer

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer; every id is below it."""
        return self.datasets[0].vocab_size

    @property
    def eos_id(self) -> int | None:
        """The token after each document, if there is one."""
        return self.datasets[0].eos_id

    @property
    def train_tokens(self) -> int:
        """Tokens of all training splits together."""
        return sum(d.train_tokens for d in self.datasets)

    @property
    def val_tokens(self) -> int:
        """Tokens of all validation splits together."""
        return sum(d.val_tokens for d in self.datasets)

    def documents(self, split: str = "train") -> int:
        """Count the documents of a split in all datasets."""
        return sum(d.documents(split) for d in self.datasets)

    def bytes_per_token(self, split: str = "val") -> float | None:
        """Bytes of text that a token stands for on average; None where one dataset lacks it."""
        tokens = size = 0.0
        for dataset in self.datasets:
            of_split = dataset._engine.tokens(split)
            ratio = dataset.bytes_per_token(split)
            if of_split and ratio is None:
                return None
            tokens += of_split
            size += of_split * (ratio or 0.0)
        return size / tokens if tokens else None

    def batch(
        self, step: int, batch_size: int, length: int, seed: int = 0, split: str = "train"
    ) -> Batch:
        """Give the batch of a step, as Dataset.batch does."""
        made = Batches(self, batch_size, length, seed=seed, split=split)
        tokens, targets = made.batch(step)
        return tokens, targets

    def windows(self, batch_size: int, length: int, split: str = "val") -> Iterator[Batch]:
        """Give the windows of a split, each token once, the datasets taking turns by weight.

        Yields
        ------
        tokens, targets : ndarray of int32, shape (B, T)
        """
        given = [0.0] * len(self.datasets)
        going = {i: d.windows(batch_size, length, split) for i, d in enumerate(self.datasets)}
        while going:
            # The one that is furthest behind its share.
            i = min(going, key=lambda k: (given[k] / self.weights[k], k))
            made = next(going[i], None)
            if made is None:
                del going[i]
                continue
            given[i] += 1.0
            yield made

    def verify(self) -> None:
        """Compare every dataset with its checksums; FileError where they differ."""
        for dataset in self.datasets:
            dataset.verify()

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{str(d.path)!r}: {weight / sum(self.weights):.3g}"
            for d, weight in zip(self.datasets, self.weights, strict=True)
        )
        return f"<msltx.data.Mixture {{{shares}}}>"


class Batches:
    """The training batches of a run, each a function of (seed, step).

    Parameters
    ----------
    data : Dataset or Mixture
    batch_size, length : int
        B sequences of T tokens.
    seed : int
        Of the shuffle, 0 or more.
    split : {"train", "val"}
    rows : {"windows", "packed", "padded"}
        What a sequence is. windows: the text in its order, cut every T tokens, places shuffled
        anew for every epoch. packed: the documents in a shuffled order, one after the other, cut
        every T tokens. padded: a document each, cut after T + 1 tokens or padded.
    inside_documents : bool
        Also give which document of the row each token is of, for attention that stays inside
        documents; targets in another document are then -1.

    Raises
    ------
    ValueError
        A size below 1, or a split of fewer than two tokens.
    """

    def __init__(
        self,
        data: Dataset | Mixture,
        batch_size: int,
        length: int,
        *,
        seed: int = 0,
        split: str = "train",
        rows: str = "windows",
        inside_documents: bool = False,
    ) -> None:
        datasets = data.datasets if isinstance(data, Mixture) else [data]
        self._engine = _core.Batches(
            datasets=[d._engine for d in datasets],
            weights=data.weights if isinstance(data, Mixture) else [1.0],
            split=split,
            batch_size=batch_size,
            length=length,
            seed=_checked_seed(seed),
            rows=rows,
            inside_documents=inside_documents,
            pad_id=datasets[0]._pad_id,
        )

    @property
    def per_epoch(self) -> int:
        """Sequences of an epoch; of a mixture, of all datasets together."""
        return self._engine.per_epoch

    def batch(self, step: int) -> tuple[Ids, ...]:
        """Give the batch of a step, from 0 on.

        Returns
        -------
        tokens, targets : ndarray of int32, shape (B, T)
            targets[b, t] is the token after tokens[b, t]; -1, which a loss ignores, where there is
            none.
        documents : ndarray of int32, shape (B, T), where inside_documents is set
            Number of the token's document within its row, from 0 on; padding counts as one more.
        """
        return self._engine.batch(step)


@dataclasses.dataclass(frozen=True)
class PaddingReport:
    """How much of an epoch's bucketed batches is padding."""

    buckets: list[tuple[int, int, int]]
    """Length of the rows, documents and batches of each bucket."""
    left_out: int
    """Documents of fewer than two tokens."""
    truncated: int
    """Documents of more than T + 1 tokens."""
    targets: int
    """Tokens that are predicted."""
    places: int
    """Tokens of all batches, padding included."""
    places_unsorted: int
    """The same with T places in every row."""

    @property
    def padding(self) -> float:
        """Share of the places that is padding."""
        return 1 - self.targets / self.places

    @property
    def padding_unsorted(self) -> float:
        """The same without buckets."""
        return 1 - self.targets / self.places_unsorted


class BucketedBatches:
    """Whole documents, one a row, in batches of documents of like length.

    Parameters
    ----------
    data : Dataset
    batch_size, length : int
        B documents; at most T tokens of each.
    multiple : int
        Rows have a multiple of so many places, at most T.
    seed : int
        Of the shuffles: which documents go together, and the order of the batches.
    split : {"train", "val"}

    Raises
    ------
    ValueError
        A size below 1, or no document of two tokens.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        length: int,
        *,
        multiple: int = 32,
        seed: int = 0,
        split: str = "train",
    ) -> None:
        self._engine = _core.BucketedBatches(
            data._engine,
            split=split,
            batch_size=batch_size,
            length=length,
            multiple=multiple,
            seed=_checked_seed(seed),
            pad_id=data._pad_id,
        )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self._engine.per_epoch

    def batch(self, step: int) -> Batch:
        """Give the batch of a step: tokens and targets of shape (B, length of its bucket)."""
        return self._engine.batch(step)

    def report(self) -> PaddingReport:
        """Say how much of an epoch is padding."""
        found: dict[str, Any] = self._engine.report()
        return PaddingReport(**found)
