"""Linear maps with an optional bias and a fused activation. Weights lie (out, in), row-major."""

from __future__ import annotations

import numpy as np

from .activation import (
    gelu_backward,
    gelu_forward,
    relu_backward,
    relu_forward,
    silu_backward,
    silu_forward,
)
from .result import Anything, Result, float64, partial_sums, rows


def _activated(activation: str, pre: Anything) -> Result:
    match activation:
        case "gelu_tanh":
            return gelu_forward(pre, approximate="tanh")
        case "gelu":
            return gelu_forward(pre, approximate="none")
        case "relu":
            return relu_forward(pre)
        case "silu":
            return silu_forward(pre)
    raise ValueError(f"activation is {activation!r}; it must be gelu_tanh, gelu, relu or silu")


def _activated_backward(activation: str, d_out: Anything, pre: Anything) -> Result:
    match activation:
        case "gelu_tanh":
            return gelu_backward(d_out, pre, approximate="tanh")
        case "gelu":
            return gelu_backward(d_out, pre, approximate="none")
        case "relu":
            return relu_backward(d_out, pre)
        case "silu":
            return silu_backward(d_out, pre)
    raise ValueError(f"activation is {activation!r}; it must be gelu_tanh, gelu, relu or silu")


def linear_forward(
    x: Anything, weight: Anything, bias: Anything | None = None, *, activation: str = "none"
) -> Result | tuple[Result, Result]:
    """pre = x weight^T + bias, out = activation(pre); pre comes back only with an activation.

    x [N, C], weight [O, C], bias [O] -> out [N, O], pre [N, O].
    """
    x, weight = float64(x), float64(weight)
    bias = np.zeros(len(weight)) if bias is None else float64(bias)
    pre = x @ weight.T + bias
    size = np.abs(x) @ np.abs(weight.T) + np.abs(bias)
    if activation == "none":
        return Result(pre, size)
    out = _activated(activation, pre)
    slope = _activated_backward(activation, np.ones_like(pre), pre).value
    assert out.magnitude is not None
    return Result(out.value, out.magnitude + np.abs(slope) * size), Result(pre, size)


def linear_backward_data(
    d_out: Anything,
    weight: Anything,
    pre: Anything | None = None,
    *,
    activation: str = "none",
    partial_rows: int = 0,
) -> tuple[Result, ...]:
    """d_pre = d_out activation'(pre), d_x = d_pre weight, and sums of d_pre over groups of rows.

    d_out and pre [N, O], weight [O, C] -> d_x [N, C], d_pre [N, O] only with an activation,
    d_bias_partials [P, O].
    """
    d_out, weight = float64(d_out), float64(weight)
    d_pre = Result(d_out, np.abs(d_out))
    if activation != "none":
        assert pre is not None
        d_pre = _activated_backward(activation, d_out, pre)
    assert d_pre.magnitude is not None
    d_x = Result(d_pre.value @ weight, d_pre.magnitude @ np.abs(weight))
    sums = Result(
        partial_sums(rows(d_pre.value), partial_rows),
        partial_sums(rows(d_pre.magnitude), partial_rows),
    )
    return (d_x, sums) if activation == "none" else (d_x, d_pre, sums)


def linear_backward_weights(
    x: Anything, d_pre: Anything, d_bias_partials: Anything | None = None
) -> Result | tuple[Result, Result]:
    """d_weight = d_pre^T x, d_bias = sum of the partial sums, where they are given.

    x [N, C], d_pre [N, O], d_bias_partials [P, O] -> d_weight [O, C], d_bias [O].
    """
    x, d_pre = rows(float64(x)), rows(float64(d_pre))
    d_weight = Result(d_pre.T @ x, np.abs(d_pre).T @ np.abs(x))
    if d_bias_partials is None:
        return d_weight
    sums = float64(d_bias_partials)
    return d_weight, Result(sums.sum(0), np.abs(sums).sum(0))


def linear_backward(
    d_out: Anything,
    x: Anything,
    weight: Anything,
    pre: Anything | None = None,
    *,
    activation: str = "none",
) -> tuple[Result, Result, Result]:
    """Give d_x [N, C], d_weight [O, C], d_bias [O]: both of the above, one after the other."""
    d_x, *through, sums = linear_backward_data(d_out, weight, pre, activation=activation)
    d_pre = through[0] if through else Result(float64(d_out), np.abs(float64(d_out)))
    assert d_pre.magnitude is not None
    assert sums.magnitude is not None
    x = rows(float64(x))
    d_weight = Result(rows(d_pre.value).T @ x, rows(d_pre.magnitude).T @ np.abs(x))
    return d_x, d_weight, Result(sums.value[0], sums.magnitude[0])
