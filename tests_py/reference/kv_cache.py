"""The cache of keys and values of finished positions."""

from __future__ import annotations

import numpy as np

from .result import Anything, Integers, Result, exact, float64


def kv_cache_append(
    k_cache: Anything, v_cache: Anything, k: Anything, v: Anything, positions: Integers
) -> tuple[Result, Result]:
    """cache[b, :, positions[b] + t] = new[b, :, t]; the rest stays.

    Caches [B, nkv, S, hs], k and v [B, nkv, T, hs], positions [B] -> k_cache, v_cache.
    """

    def append(cache: Anything, new: Anything) -> Result:
        cache = float64(cache)
        for sequence, position in enumerate(positions):
            cache[sequence, :, position : position + new.shape[2]] = new[sequence]
        return exact(cache)

    return append(k_cache, k), append(v_cache, v)


def kv_cache_gather(k_cache: Anything, v_cache: Anything, rows: Integers) -> tuple[Result, Result]:
    """Give new caches [M, nkv, S, hs] made of the sequences rows [M] of the old ones."""
    return exact(float64(np.asarray(k_cache)[rows])), exact(float64(np.asarray(v_cache)[rows]))
