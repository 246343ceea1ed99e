"""Where text comes from: files, folders, patterns, standard input; documents one by one."""

from __future__ import annotations

import glob
import importlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msltx import _core
from msltx._core import FileError

__all__ = ["documents", "engine_sources", "has_records", "read_options", "text_files"]

Sources = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

#: What a folder's text files end with; .gz and .zst may follow all but the last.
TEXT_SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson", ".parquet")
_PACKED = (".gz", ".zst")
_PARQUET = ".parquet"
STANDARD_INPUT = "-"


def _is_text(path: Path) -> bool:
    suffix = path.suffix
    if suffix in _PACKED:
        return Path(path.stem).suffix in TEXT_SUFFIXES[:-1]
    return suffix in TEXT_SUFFIXES


def text_files(sources: Sources) -> list[Path]:
    """List the text files that paths, folders and patterns stand for.

    Parameters
    ----------
    sources : path or iterable of paths
        A file; a folder, for the .txt, .md, .jsonl, .ndjson and .parquet files in it and below,
        also with .gz or .zst after it; a pattern such as ``books/*.txt`` (``**`` for any depth);
        or ``-``, standard input.

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
            found = sorted(p for p in path.rglob("*") if _is_text(p) and p.is_file())
            if not found:
                kinds = f"{', '.join(TEXT_SUFFIXES[:-1])} or {TEXT_SUFFIXES[-1]}"
                raise FileError(f"{path} has no file that ends with {kinds}")
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


def has_records(files: Iterable[Path]) -> bool:
    """Whether a file is one of records by its name: JSON lines or Parquet."""
    return any(
        suffix in (".jsonl", ".ndjson", _PARQUET)
        for file in files
        for suffix in [Path(file.stem).suffix if file.suffix in _PACKED else file.suffix]
    )


def read_options(
    documents: str, separator: str | None, field: str, invalid_utf8: str
) -> _core.ReadOptions:
    """Say how documents are read; a separator alone means documents="text"."""
    if separator is not None and documents == "blank_line":
        documents = "text"
    return _core.ReadOptions(
        documents=documents,
        separator=separator or "",
        field=field,
        invalid_utf8=invalid_utf8,
    )


def _parquet_texts(path: Path, field: str) -> Iterator[str]:
    """Give the texts of a column; rows without one are left out."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FileError(
            f"{path} is a Parquet file, which takes pyarrow to read: pip install 'msltx[parquet]'"
        ) from None
    pyarrow: Any = importlib.import_module("pyarrow")
    try:
        with parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise FileError(f"{path} has no column {field}; there are: {names}")
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                for text in batch.column(0).to_pylist():
                    if text is not None:
                        yield text
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def engine_sources(files: Sequence[Path], field: str) -> list[str | Iterator[str]]:
    """Give files as the engine takes them: names, and texts where Python reads them."""
    return [
        _parquet_texts(file, field) if file.suffix == _PARQUET else os.fspath(file)
        for file in files
    ]


def source_names(files: Sequence[Path]) -> list[tuple[str, int]]:
    """Give what meta.json says of files: name and bytes, 0 where they have no size."""
    names = []
    for file in files:
        size = file.stat().st_size if file.is_file() else 0
        names.append((os.fsencode(file.name).decode("utf-8", "replace"), size))
    return names


def documents(
    sources: Sources,
    *,
    documents: str = "blank_line",
    separator: str | None = None,
    field: str = "text",
    invalid_utf8: str = "refuse",
) -> Iterator[str]:
    """Read text document by document, in constant memory.

    Parameters
    ----------
    sources : path or iterable of paths
        Files, folders, patterns: see text_files. Compressed files are recognized by their first
        bytes.
    documents, separator, field, invalid_utf8
        As prepare() takes them.

    Yields
    ------
    str
        One document; a document of more than 64 KiB comes in parts, each on its own.

    Raises
    ------
    FileError
        A file that cannot be read, is not UTF-8, or has a line that is not the record it should
        be.
    """
    files = text_files(sources)
    options = read_options(documents, separator, field, invalid_utf8)
    return iter(_core.Documents(engine_sources(files, field), options))
