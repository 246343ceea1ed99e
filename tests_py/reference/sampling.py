"""From logits to a token: temperature, top-k, top-p, the highest, a random one.

A masked logit is -inf. Ties go to the lowest index everywhere.
"""

from __future__ import annotations

import numpy as np

from .philox import RandomStream, philox, uniform_double
from .result import Anything, Array, Integers, Result, exact, float64
from .softmax import softmax

# How near to a limit a cumulative probability of float32 may be on either side: 16 roundings.
UNDECIDED = 1e-6


def temperature_scale(logits: Anything, *, temperature: float) -> Result:
    """out = logits / temperature; temperature > 0."""
    out = float64(logits) / temperature
    return Result(out, np.where(np.isfinite(out), np.abs(out), 0))


def _order(logits: Array) -> Anything:
    """Give the indices from the highest logit to the lowest, ties by index."""
    return np.argsort(-logits, axis=-1, kind="stable")


def _keep(logits: Array, order: Anything, counts: Anything) -> Array:
    """Mask all but the first counts[n] entries of each row's order."""
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), -1)
    return np.where(rank < counts[..., None], logits, -np.inf)


def topk_mask(logits: Anything, *, k: int) -> Result:
    """Keep the k highest logits of each row, the rest become -inf; logits [N, V]."""
    logits = float64(logits)
    return exact(_keep(logits, _order(logits), np.full(logits.shape[:-1], k)))


def topp_mask(logits: Anything, *, p: float) -> Result:
    """Keep the smallest set of highest logits whose probability is at least p, at least one.

    p = 1 keeps everything: in floating point the sum may reach 1 before the last.
    """
    logits = float64(logits)
    if p >= 1:
        return exact(logits)
    order = _order(logits)
    cumulative = np.cumsum(np.take_along_axis(softmax(logits), order, -1), axis=-1)
    counts = 1 + (cumulative[..., :-1] < p).sum(-1)
    undecided = (np.abs(cumulative - p) < UNDECIDED).any(-1)
    return Result(_keep(logits, order, counts), None, np.asarray(undecided))


def argmax_sample(logits: Anything) -> Result:
    """Give the lowest index of the highest logit; logits [N, V] -> token [N]."""
    return exact(float64(logits).argmax(-1))


def categorical_sample(
    logits: Anything, sequences: Integers | None = None, *, seed: int, step: int
) -> Result:
    """Draw a token from softmax(logits) with one Philox number per sequence and step.

    logits [N, V], sequences [N] (by default 0..N-1) -> token [N]: the lowest index whose
    cumulative probability exceeds the number.
    """
    logits = float64(logits)
    if sequences is None:
        sequences = np.arange(logits.shape[0])
    words = philox(seed, RandomStream.SAMPLING, step, sequences, index=0)
    uniform = uniform_double(words[..., 0], words[..., 1])[..., None]
    cumulative = np.cumsum(softmax(logits), axis=-1)
    undecided = (np.abs(cumulative - uniform) < UNDECIDED).any(-1)
    return Result((cumulative > uniform).argmax(-1), None, np.asarray(undecided))
