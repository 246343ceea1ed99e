"""Softmax over the last axis. A row with nothing to attend to, all -inf, gives zeros."""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Result, float64


def softmax(x: Array) -> Array:
    """Give exp(x - max) / sum(exp(x - max)) without magnitudes, for use in other definitions."""
    highest = x.max(-1, keepdims=True)
    exponentials = np.exp(x - np.where(np.isfinite(highest), highest, 0))
    total = exponentials.sum(-1, keepdims=True)
    return np.asarray(exponentials / np.where(total > 0, total, 1))


def logsumexp(x: Array) -> Array:
    """Give log(sum(exp(x))) over the last axis; -inf for a row of -inf."""
    highest = x.max(-1)
    shift = np.where(np.isfinite(highest), highest, 0)
    total = np.exp(x - shift[..., None]).sum(-1)
    return np.where(total > 0, np.log(np.where(total > 0, total, 1)) + shift, -np.inf)


def softmax_forward(x: Anything) -> Result:
    """x [N, C] -> out [N, C]; each row of out sums to 1, or to 0 where x is all -inf."""
    x = float64(x)
    out = softmax(x)
    return Result(out, out)


def softmax_backward(d_out: Anything, out: Anything) -> Result:
    """d_x = out (d_out - sum of d_out out); d_out, out [N, C] -> d_x [N, C]."""
    d_out, out = float64(d_out), float64(out)

    def formula(d_out: Array, sign: int) -> Array:
        return np.asarray(out * (d_out + sign * (d_out * out).sum(-1, keepdims=True)))

    return Result(formula(d_out, -1), formula(np.abs(d_out), +1))
