"""Soft cap (Gemma 2) and repetition penalty (Keskar et al. 2019) of logits."""

from __future__ import annotations

import numpy as np

from .result import Anything, Integers, Result, float64


def softcap_logits(logits: Anything, *, cap: float) -> Result:
    """out = cap tanh(logits / cap)."""
    out = cap * np.tanh(float64(logits) / cap)
    return Result(out, np.abs(out))


def softcap_logits_backward(d_out: Anything, out: Anything, *, cap: float) -> Result:
    """d_logits = d_out (1 - (out / cap)^2): the derivative of tanh by what came out."""
    d_out, squared = float64(d_out), (float64(out) / cap) ** 2
    return Result(d_out * (1 - squared), np.abs(d_out) * (1 + squared))


def repetition_penalty(
    logits: Anything, tokens: Integers, *, penalty: float, ignore_index: int = -1
) -> Result:
    """Divide the logits above 0 of each row's tokens by the penalty, multiply the others by it.

    logits [N, V], tokens [N, M], ignore_index in the place of none -> out. A token counts once.
    """
    out, tokens = float64(logits).copy(), np.asarray(tokens)
    for place in np.ndindex(out.shape[:-1]):
        row = out[place]
        for token in set(tokens[place].tolist()) - {ignore_index}:
            row[token] *= 1 / penalty if row[token] > 0 else penalty
    return Result(out, np.abs(out))
