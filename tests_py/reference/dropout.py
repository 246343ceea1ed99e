"""Dropout by counter: the mask follows from (seed, step, sequence, place) and is never stored."""

from __future__ import annotations

import numpy as np

from .philox import RandomStream, philox4x32
from .result import Anything, Integers, Result, exact, float64


def _kept(
    shape: tuple[int, ...],
    sequences: Integers | None,
    p: float,
    seed: int,
    step: int,
    first_sequence: int,
) -> Anything:
    """Tell which elements of [B, T, C] stay: word i mod 4 of the sequence's counter i / 4."""
    batch, *rest = shape
    if sequences is None:
        sequences = first_sequence + np.arange(batch)
    places = np.arange(int(np.prod(rest)))
    counter = np.empty((batch, len(places), 4), dtype=np.uint64)
    counter[..., 0] = places // 4
    counter[..., 1] = np.asarray(sequences)[:, None]
    counter[..., 2] = step
    counter[..., 3] = int(RandomStream.DROPOUT)
    words = philox4x32(counter, (seed % 2**32, seed % 2**64 // 2**32))
    chosen = np.take_along_axis(words, np.broadcast_to(places % 4, words.shape[:2])[..., None], -1)
    uniform = (chosen >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return (uniform >= p).reshape(shape)


def dropout_forward(
    x: Anything,
    sequences: Integers | None = None,
    *,
    p: float,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> Result:
    """out = x / (1 - p) where a number in [0, 1) is at least p, else 0.

    x [B, T, C], sequences [B] (first_sequence, first_sequence + 1 ... where absent) -> out.
    """
    x = float64(x)
    if p == 0:
        return exact(x)
    kept = _kept(x.shape, sequences, p, seed, step, first_sequence)
    out = np.where(kept, x / (1 - p), 0)
    return Result(out, np.abs(out))


def dropout_backward(
    d_out: Anything,
    sequences: Integers | None = None,
    *,
    p: float,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> Result:
    """d_x = d_out / (1 - p) where kept, else 0: linear in x, so the same map of d_out."""
    return dropout_forward(
        d_out, sequences, p=p, seed=seed, step=step, first_sequence=first_sequence
    )
