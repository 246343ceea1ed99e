"""Text to token shards; a dataset dealt out anew to train and val."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from msltx import _core
from msltx.data._dataset import Dataset
from msltx.data._sources import (
    Sources,
    engine_sources,
    read_options,
    source_names,
    text_files,
)
from msltx.tokenizer import ProgressFunction, Tokenizer

__all__ = ["prepare", "split"]

SHARD_TOKENS = 2**27


def prepare(
    sources: Sources | None,
    tokenizer: Tokenizer,
    *,
    out: str | os.PathLike[str],
    texts: Iterable[str] | None = None,
    val_fraction: float = 0.1,
    documents: str = "blank_line",
    separator: str | None = None,
    field: str = "text",
    remove_control: bool = False,
    normalize_unicode: str = "none",
    strip_accents: bool = False,
    lowercase: bool = False,
    remove_punctuation: bool = False,
    normalize_whitespace: bool = False,
    invalid_utf8: str = "refuse",
    shard_tokens: int = SHARD_TOKENS,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
) -> Dataset:
    """Turn text into a dataset: train and val shards, tokenizer.json, meta.json.

    Text is streamed in constant memory, encoded by all threads, and the folder appears whole or
    not at all. Each document goes to one split by the hash of its text, so that adding files later
    never moves a document across. A document of more than 64 KiB counts as several there. After
    each document stands the tokenizer's [EOS], where it has one. Cleaning steps are applied in the
    order of the arguments below and recorded in meta.json.

    Parameters
    ----------
    sources : path or iterable of paths, or None
        Files, folders, patterns: see text_files. Files compressed by gzip or zstd are recognized
        by their first bytes, JSON lines and Parquet by their names; ``-`` is standard input.
    tokenizer : Tokenizer
    out : path
        The folder to write.
    texts : iterable of str, optional
        Documents instead of files, with sources=None; a generator is read once.
    val_fraction : float
        Share of the documents that goes to the validation split, 0 to less than 1.
    documents : {"blank_line", "line", "file", "text", "record"}
        What ends a document: a blank line, every line end, only the end of the file, or the
        `separator`; "record" reads every file as JSON lines, one document a line.
    separator : str, optional
        The text that stands between documents ("<|endoftext|>"), wherever in a line; line ends
        around it go.
    field : str
        Of JSON lines and Parquet files: the field that has the text.
    remove_control : bool
        Drop control characters (general category Cc) that are no white space.
    normalize_unicode : {"none", "nfc", "nfd", "nfkc", "nfkd"}
        Bring text to a Unicode normalization form.
    strip_accents : bool
        Drop nonspacing marks of decomposed characters; what is left is composed again.
    lowercase : bool
        Turn text to lowercase, character by character.
    remove_punctuation : bool
        Drop punctuation (general categories P*); symbols such as $ and + stay.
    normalize_whitespace : bool
        CRLF and CR become LF, every other run of white space one space, and spaces at both ends
        of a line go.
    invalid_utf8 : {"refuse", "replace", "skip"}
        Bytes that are not UTF-8: an error with file and offset, U+FFFD in their place, or the
        document (of a long one, the part of 64 KiB) left out. meta.json has the counts.
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
    if (sources is None) == (texts is None):
        raise TypeError("prepare takes sources or texts=, one of them")
    reading = read_options(documents, separator, field, invalid_utf8)
    cleaning = _core.Cleaning(
        remove_control=remove_control,
        normalize_unicode=normalize_unicode,
        strip_accents=strip_accents,
        lowercase=lowercase,
        remove_punctuation=remove_punctuation,
        normalize_whitespace=normalize_whitespace,
    )
    names: list[tuple[str, int]] = []
    if texts is not None:
        if isinstance(texts, str):
            raise TypeError("texts is one str; an iterable of them is expected, as [text]")
        given: list[object] = [iter(texts)]
    else:
        assert sources is not None
        files = text_files(sources)
        if not files:
            raise _core.InvalidValueError("there are no files to prepare")
        names = source_names(files)
        given = [*engine_sources(files, field)]
    _core.prepare_data(
        given,
        names,
        tokenizer._engine,
        os.fspath(out),
        reading=reading,
        val_fraction=val_fraction,
        cleaning=cleaning,
        shard_tokens=shard_tokens,
        overwrite=overwrite,
        progress=progress,
    )
    dataset = Dataset(out)
    if val_fraction > 0 and dataset.val_tokens == 0:
        count = dataset.documents("train")
        documents = "the only document" if count == 1 else f"all {count:,} documents"
        warnings.warn(
            f"{documents} fell into the training split; there will be no validation loss",
            stacklevel=2,
        )
    return dataset


def split(
    dataset: Dataset | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    val_fraction: float = 0.1,
    shard_tokens: int = SHARD_TOKENS,
    overwrite: bool = False,
    progress: ProgressFunction | None = None,
) -> Dataset:
    """Deal a dataset's documents out anew to train and val, without encoding them again.

    Each document goes to one split by the hash of its token ids: always the same way, whatever
    else is in the dataset and however it was split before. A larger share keeps the validation
    documents of a smaller one. Token files of llm.c and nanoGPT become a dataset this way.

    Parameters
    ----------
    dataset : Dataset or path
    out : path
        The folder to write; the dataset's own, with `overwrite`.
    val_fraction : float
        Share of the documents that goes to the validation split, 0 to less than 1.
    shard_tokens : int
        A shard that has this many tokens is full.
    overwrite : bool
        Replace the dataset that stands at `out`.
    progress : callable, optional
        Called with ("split", tokens done, tokens in all) a few times a second.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        An option out of range, or no document left for training.
    FileError
        A dataset that cannot be read, or an `out` that is in the way.
    """
    given = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    _core.split_data(
        given._engine,
        given.tokenizer.to_json(),
        os.fspath(Path(out)),
        val_fraction=val_fraction,
        shard_tokens=shard_tokens,
        overwrite=overwrite,
        progress=progress,
    )
    return Dataset(out)
