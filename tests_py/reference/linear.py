"""Linear maps with an optional bias and a fused GELU. The weight lies (out, in), row-major."""

from __future__ import annotations

import numpy as np

from .activation import gelu_backward, gelu_forward
from .result import Anything, Array, Result, float64, rows

APPROXIMATE = {"gelu_tanh": "tanh", "gelu": "none"}  # activation -> gelu_forward's attribute


def _check(activation: str) -> None:
    if activation != "none" and activation not in APPROXIMATE:
        raise ValueError(f"activation is {activation!r}; it must be none, gelu_tanh or gelu")


def linear_forward(
    x: Anything, weight: Anything, bias: Anything | None = None, *, activation: str = "none"
) -> Result | tuple[Result, Result]:
    """pre = x weight^T + bias, out = activation(pre); pre comes back only with an activation.

    x [N, C], weight [O, C], bias [O] -> out [N, O], pre [N, O].
    """
    _check(activation)
    x, weight = float64(x), float64(weight)
    bias = np.zeros(len(weight)) if bias is None else float64(bias)
    pre = x @ weight.T + bias
    size = np.abs(x) @ np.abs(weight.T) + np.abs(bias)
    if activation == "none":
        return Result(pre, size)
    out = gelu_forward(pre, approximate=APPROXIMATE[activation])
    slope = gelu_backward(np.ones_like(pre), pre, approximate=APPROXIMATE[activation]).value
    assert out.magnitude is not None
    return Result(out.value, out.magnitude + np.abs(slope) * size), Result(pre, size)


def linear_backward_data(
    d_out: Anything, weight: Anything, pre: Anything | None = None, *, activation: str = "none"
) -> Result | tuple[Result, Result]:
    """d_pre = d_out activation'(pre), d_x = d_pre weight; d_pre comes back only with an activation.

    d_out and pre [N, O], weight [O, C] -> d_x [N, C], d_pre [N, O].
    """
    _check(activation)
    d_pre, weight = float64(d_out), float64(weight)
    size = np.abs(d_pre)
    if activation != "none":
        assert pre is not None
        through = gelu_backward(d_out, pre, approximate=APPROXIMATE[activation])
        assert through.magnitude is not None
        d_pre, size = through.value, through.magnitude
    d_x = Result(d_pre @ weight, size @ np.abs(weight))
    return d_x if activation == "none" else (d_x, Result(d_pre, size))


def linear_backward_weights(d_pre: Anything, x: Anything) -> tuple[Result, Result]:
    """d_weight = d_pre^T x, d_bias = sum of d_pre over rows; -> d_weight [O, C], d_bias [O]."""
    return _weights(float64(d_pre), np.abs(float64(d_pre)), float64(x))


def _weights(d_pre: Array, size: Array, x: Array) -> tuple[Result, Result]:
    d_pre, size, x = rows(d_pre), rows(size), rows(x)
    return Result(d_pre.T @ x, size.T @ np.abs(x)), Result(d_pre.sum(0), size.sum(0))


def linear_backward(
    d_out: Anything,
    x: Anything,
    weight: Anything,
    pre: Anything | None = None,
    *,
    activation: str = "none",
) -> tuple[Result, Result, Result]:
    """Give d_x [N, C], d_weight [O, C], d_bias [O]: both of the above, one after the other."""
    data = linear_backward_data(d_out, weight, pre, activation=activation)
    if isinstance(data, Result):
        d_x, d_pre = data, Result(float64(d_out), np.abs(float64(d_out)))
    else:
        d_x, d_pre = data
    assert d_pre.magnitude is not None
    return d_x, *_weights(d_pre.value, d_pre.magnitude, float64(x))
