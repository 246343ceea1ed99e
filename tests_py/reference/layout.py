"""The same numbers in another order or type."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from .result import Anything, Result, exact


def transpose(x: Anything) -> Result:
    """out[c, m] = x[m, c]; x [M, C] -> out [C, M]."""
    return exact(np.ascontiguousarray(x.T))


def cast(x: Anything, *, dtype: str) -> Result:
    """Out = x [N, C] as float32, or rounded to nearest even in the upper half of its bits."""
    wide = np.ascontiguousarray(x, np.float32)
    if dtype == "float32":
        return exact(wide)
    words = wide.view(np.uint32)
    upper = words >> 16
    rounded = (words + 0x7FFF + (upper & 1)) >> 16
    half = np.where(np.isnan(wide), upper | 0x40, rounded).astype(np.uint16)
    return exact(half.view(ml_dtypes.bfloat16))
