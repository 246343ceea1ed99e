"""Rounding to bfloat16: every upper half of a float32, below, at and above the tie."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from msltx import backends, kernels

BACKENDS = [backend.name for backend in backends()]
UPPER = np.arange(1 << 16, dtype=np.uint32)


def is_nan(words: np.ndarray) -> np.ndarray:
    return (words & 0x7FFFFFFF) > 0x7F800000


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lower", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_cast_rounds_to_nearest_even(lower: int, backend: str) -> None:
    words = (UPPER << 16) | lower
    narrow = kernels.cast(words.view(np.float32), dtype="bfloat16", backend=backend)
    assert narrow.dtype == ml_dtypes.bfloat16
    up = {True: UPPER + 1, False: UPPER}[lower > 0x8000]
    nearest = UPPER + (UPPER & 1) if lower == 0x8000 else up
    expected = np.where(is_nan(words), UPPER | 0x40, nearest)  # a quiet NaN
    np.testing.assert_array_equal(narrow.view(np.uint16), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cast_widens_exactly(backend: str) -> None:
    narrow = UPPER.astype(np.uint16).view(ml_dtypes.bfloat16)
    wide = kernels.cast(narrow, dtype="float32", backend=backend)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), UPPER << 16)


def test_cast_takes_an_output_of_its_type_only() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="out= for out is float32; expected bfloat16"):
        kernels.cast(x, dtype="bfloat16", out=np.empty((2, 3), np.float32))
    with pytest.raises(ValueError, match="dtype is 'float16'; expected one of"):
        kernels.cast(x, dtype="float16")
