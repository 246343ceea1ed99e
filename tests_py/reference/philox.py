"""Philox4x32-10 in NumPy: the counter-based generator of cpp/msltx/base/philox.h.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from .result import Array

Words = npt.NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio, sqrt(3) - 1: added to the key every round
_ROUNDS = 10


class RandomStream(IntEnum):
    """Which family of numbers is drawn: families never share a counter."""

    INITIALIZATION = 1
    BATCHES = 2
    SAMPLING = 3
    DROPOUT = 4


def philox4x32(counter: npt.ArrayLike, key: tuple[npt.ArrayLike, npt.ArrayLike]) -> Words:
    """Encrypt counters [..., 4] of 32-bit words into as many random words.

    The two words of the key are numbers, or arrays that broadcast against the counters' [...].
    """
    keys = [np.asarray(word, dtype=np.uint64) for word in key]
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    for turn in range(_ROUNDS):
        k0, k1 = ((k + np.uint64(turn * w)) & _LOW for k, w in zip(keys, _WEYL, strict=True))
        a, b = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (b >> _SHIFT) ^ c1 ^ k0, b & _LOW, (a >> _SHIFT) ^ c3 ^ k1, a & _LOW
    return np.stack([c0, c1, c2, c3], axis=-1)


def philox(
    seed: int, stream: RandomStream, step: int, sequence: npt.ArrayLike, index: int
) -> Words:
    """Draw four words [..., 4] for the index-th draw of each sequence [...] at a step."""
    sequence = np.asarray(sequence, dtype=np.uint64)
    parts = (np.full_like(sequence, index), sequence, np.full_like(sequence, step))
    counter = np.stack([*parts, np.full_like(sequence, stream)], axis=-1)
    return philox4x32(counter, (seed % 2**32, seed // 2**32))


def uniform_double(high: Words, low: Words) -> Array:
    """Uniform numbers in [0, 1) with 53 bits."""
    return ((high << _SHIFT | low) >> np.uint64(11)).astype(np.float64) * 2.0**-53
