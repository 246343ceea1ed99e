"""Small arrays that many tests of kernels are called with."""

from __future__ import annotations

from typing import Any

import numpy as np

from msltx import _core

OPS = {op["name"]: op for op in _core.ops()}
BACKENDS = [backend["name"] for backend in _core.backends()]
F32 = np.float32


def f32(*shape: int) -> Any:
    return np.random.default_rng(sum(shape) + 1).standard_normal(shape).astype(F32)


def spread(array: Any) -> Any:
    """The same values as a view with gaps of NaN between the rows."""
    wide = np.full((*array.shape[:-1], array.shape[-1] + 3), np.nan, array.dtype)
    view = wide[..., : array.shape[-1]]
    view[...] = array
    return view


X, GAMMA, BETA = f32(2, 3, 4), f32(4), f32(4)
WEIGHT = f32(5, 4)  # V or O = 5
IDS = np.array([[0, 4, 1], [2, 2, 3]], dtype=np.int32)
