"""Text to token shards, and shards to batches.

``prepare`` writes a dataset, a folder; ``open`` opens one; ``split`` deals its documents out anew.
``inspect`` says what a cleaning would change. docs/formats.md describes the files.
"""

from __future__ import annotations

import os

from msltx.data._batches import Batches, BucketedBatches, Mixture, PaddingReport
from msltx.data._dataset import Dataset
from msltx.data._download import DATASETS, download
from msltx.data._inspect import TextReport, inspect
from msltx.data._prepare import prepare, split
from msltx.data._sources import documents, has_records, text_files
from msltx.tokenizer import Tokenizer

__all__ = [
    "DATASETS",
    "Batches",
    "BucketedBatches",
    "Dataset",
    "Mixture",
    "PaddingReport",
    "TextReport",
    "documents",
    "download",
    "has_records",
    "inspect",
    "open",
    "prepare",
    "split",
    "text_files",
]


def open(path: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> Dataset:
    """Open a dataset that prepare() wrote, or token files of llm.c or nanoGPT.

    Parameters
    ----------
    path : path
        A dataset's folder; or a .bin file, or a folder of them whose names say train or val.
    tokenizer : Tokenizer, optional
        What the files of others were encoded with.

    Raises
    ------
    FileError
        Where the folder is no whole dataset, or was written by a newer version.
    """
    return Dataset(path, tokenizer)
