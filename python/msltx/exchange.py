"""Named arrays to and from safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from msltx import _core

__all__ = ["read_safetensors", "write_safetensors"]


def read_safetensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Parameters
    ----------
    path : path-like
        Its header is checked against its size before anything is read.

    Returns
    -------
    arrays : dict of str to ndarray
        Read-only views of the mapped file, in file order; float32, bfloat16 (of ml_dtypes),
        float16, int32, int8 or uint8.
    metadata : dict of str to str

    Raises
    ------
    FileError
        For a file that is missing, damaged or foreign, or holds another dtype.
    """
    return _core.read_safetensors(os.fspath(path))


def write_safetensors(
    path: str | os.PathLike[str],
    arrays: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Replaced in one step once everything is on the disk.
    arrays : mapping of str to ndarray
        Of the dtypes that `read_safetensors` returns, up to 4 dimensions. Arrays that are not
        contiguous are copied.
    metadata : mapping of str to str, optional

    Raises
    ------
    InvalidValueError
        For another dtype or more dimensions.
    FileError
        When the file cannot be written.
    """
    contiguous = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    _core.write_safetensors(os.fspath(path), contiguous, dict(metadata or {}))
