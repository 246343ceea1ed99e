"""Kernels made of others: whole backwards from their two halves, and two older names.

An op with weights has a backward for data, which works row by row, and one for weights, which takes
all rows; `<X>_backward` calls both.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._derived_kernels import DERIVED

Float32 = npt.NDArray[np.float32]
Three = tuple[Float32, Float32, Float32]
ThreeOut = tuple[Float32 | None, Float32 | None, Float32 | None]
Two = tuple[Float32, Float32]
TwoOut = tuple[Float32 | None, Float32 | None]
Five = tuple[Float32, Float32, Float32, Float32, Float32]
FiveOut = tuple[Float32 | None, Float32 | None, Float32 | None, Float32 | None, Float32 | None]
Activation = Literal["none", "gelu_tanh", "gelu", "relu", "silu"]


def _given(name: str, out: Any, names: str) -> tuple[Any, ...]:
    """Check out= against the names of what comes back; all None without it."""
    count = names.count(",") + 1
    if out is None:
        return (None,) * count
    if not isinstance(out, (tuple, list)) or len(out) != count:
        found = f"{len(out)} arrays" if isinstance(out, (tuple, list)) else type(out).__name__
        raise _core.InvalidValueError(f"{name}: out= is {found}; expected {count} arrays: {names}")
    return tuple(out)


def _norm_backward(
    name: str, inputs: tuple[Any, ...], eps: float, accumulate: bool, out: Any, backend: str | None
) -> Three:
    d_x, d_gamma, d_beta = _given(name, out, "d_x, d_gamma, d_beta")
    d_x, *partials = DERIVED[f"{name}_data"](
        *inputs, eps=eps, out=(d_x, None, None), backend=backend
    )
    d_gamma, d_beta = DERIVED["layernorm_backward_weights"](
        *partials, accumulate=accumulate, out=(d_gamma, d_beta), backend=backend
    )
    return d_x, d_gamma, d_beta


def layernorm_backward(
    d_out: Float32,
    x: Float32,
    gamma: Float32,
    mean: Float32 | None = None,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-5,
    accumulate: bool = False,
    out: ThreeOut | None = None,
    backend: str | None = None,
) -> Three:
    """Gradients of layernorm_forward: its backward for data, then that for weights.

    Parameters
    ----------
    d_out : float32 (N, C)
    x : float32 (N, C)
    gamma : float32 (C)
    mean, rstd : float32 (N), optional
        Of the forward; computed anew where absent.
    eps : float, default 1e-05
        Added to the variance; at least 0.
    accumulate : bool, default False
        Add to d_gamma and d_beta in out= instead of writing them.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_x : float32 (N, C)
    d_gamma : float32 (C)
    d_beta : float32 (C)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    inputs = (d_out, x, gamma, mean, rstd)
    return _norm_backward("layernorm_backward", inputs, eps, accumulate, out, backend)


def residual_layernorm_backward(
    d_out: Float32,
    d_sum: Float32 | None,
    sum: Float32,
    gamma: Float32,
    mean: Float32 | None = None,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-5,
    accumulate: bool = False,
    out: ThreeOut | None = None,
    backend: str | None = None,
) -> Three:
    """Gradients of residual_layernorm_forward: its backward for data, then that for weights.

    Parameters
    ----------
    d_out : float32 (N, C)
    d_sum : float32 (N, C) or None
        Gradient of sum from elsewhere; zero where None.
    sum : float32 (N, C)
    gamma : float32 (C)
    mean, rstd : float32 (N), optional
        Of the forward; computed anew where absent.
    eps : float, default 1e-05
        Added to the variance; at least 0.
    accumulate : bool, default False
        Add to d_gamma and d_beta in out= instead of writing them.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_x : float32 (N, C)
        The gradient of x and of residual alike.
    d_gamma : float32 (C)
    d_beta : float32 (C)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    inputs = (d_out, d_sum, sum, gamma, mean, rstd)
    return _norm_backward("residual_layernorm_backward", inputs, eps, accumulate, out, backend)


def _rmsnorm_backward(
    name: str,
    inputs: tuple[Any, ...],
    eps: float,
    plus_one: bool,
    accumulate: bool,
    out: Any,
    backend: str | None,
) -> Two:
    d_x, d_gamma = _given(name, out, "d_x, d_gamma")
    d_x, partials = DERIVED[f"{name}_data"](
        *inputs, eps=eps, plus_one=plus_one, out=(d_x, None), backend=backend
    )
    d_gamma = DERIVED["rmsnorm_backward_weights"](
        partials, accumulate=accumulate, out=d_gamma, backend=backend
    )
    return d_x, d_gamma


def rmsnorm_backward(
    d_out: Float32,
    x: Float32,
    gamma: Float32,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
    accumulate: bool = False,
    out: TwoOut | None = None,
    backend: str | None = None,
) -> Two:
    """Gradients of rmsnorm_forward: its backward for data, then that for weights.

    Parameters
    ----------
    d_out : float32 (N, C)
    x : float32 (N, C)
    gamma : float32 (C)
    rstd : float32 (N), optional
        Of the forward; computed anew where absent.
    eps : float, default 1e-05
        Added to the mean square; at least 0.
    plus_one : bool, default False
        1 + gamma in the place of gamma.
    accumulate : bool, default False
        Add to d_gamma in out= instead of writing it.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_x : float32 (N, C)
    d_gamma : float32 (C)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    inputs = (d_out, x, gamma, rstd)
    return _rmsnorm_backward("rmsnorm_backward", inputs, eps, plus_one, accumulate, out, backend)


def residual_rmsnorm_backward(
    d_out: Float32,
    d_sum: Float32 | None,
    sum: Float32,
    gamma: Float32,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
    accumulate: bool = False,
    out: TwoOut | None = None,
    backend: str | None = None,
) -> Two:
    """Gradients of residual_rmsnorm_forward: its backward for data, then that for weights.

    Parameters
    ----------
    d_out : float32 (N, C)
    d_sum : float32 (N, C) or None
        Gradient of sum from elsewhere; zero where None.
    sum : float32 (N, C)
    gamma : float32 (C)
    rstd : float32 (N), optional
        Of the forward; computed anew where absent.
    eps : float, default 1e-05
        Added to the mean square; at least 0.
    plus_one : bool, default False
        1 + gamma in the place of gamma.
    accumulate : bool, default False
        Add to d_gamma in out= instead of writing it.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_x : float32 (N, C)
        The gradient of x and of residual alike.
    d_gamma : float32 (C)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    name, inputs = "residual_rmsnorm_backward", (d_out, d_sum, sum, gamma, rstd)
    return _rmsnorm_backward(name, inputs, eps, plus_one, accumulate, out, backend)


def linear_backward(
    d_out: Float32,
    x: Float32,
    weight: Float32,
    pre: Float32 | None = None,
    *,
    activation: Activation = "none",
    accumulate: bool = False,
    out: ThreeOut | None = None,
    backend: str | None = None,
) -> Three:
    """Gradients of linear_forward: its backward for data, then that for weights.

    Parameters
    ----------
    d_out : float32 (N, O)
    x : float32 (N, C)
    weight : float32 (O, C)
    pre : float32 (N, O), optional
        Of the forward; needed where activation is not 'none'.
    activation : {'none', 'gelu_tanh', 'gelu', 'relu', 'silu'}, default 'none'
        Gelu is the erf form.
    accumulate : bool, default False
        Add to d_weight and d_bias in out= instead of writing them.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_x : float32 (N, C)
    d_weight : float32 (O, C)
    d_bias : float32 (O)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    d_x, d_weight, d_bias = _given("linear_backward", out, "d_x, d_weight, d_bias")
    has_activation = activation not in ("none", None)
    d_x, *d_pre, partials = DERIVED["linear_backward_data"](
        d_out,
        weight,
        pre,
        activation=activation,
        out=(d_x, None, None) if has_activation else (d_x, None),
        backend=backend,
    )
    d_weight, d_bias = DERIVED["linear_backward_weights"](
        x,
        d_pre[0] if d_pre else d_out,
        partials,
        accumulate=accumulate,
        out=(d_weight, d_bias),
        backend=backend,
    )
    return d_x, d_weight, d_bias


def relative_attention_scores_backward(
    d_out: Float32,
    q: Float32,
    k: Float32,
    r: Float32,
    content_bias: Float32,
    position_bias: Float32,
    document_starts: Any | None = None,
    *,
    scale: float = 0.0,
    window: int = 0,
    accumulate: bool = False,
    out: FiveOut | None = None,
    backend: str | None = None,
) -> Five:
    """Gradients of relative_attention_scores_forward: its backward for data, then for weights.

    Parameters
    ----------
    d_out : float32 (B, nh, T, S)
    q : float32 (B, nh, T, hs)
    k : float32 (B, nkv, S, hs)
    r : float32 (nh, S, hs)
    content_bias, position_bias : float32 (nh, hs)
    document_starts : integers (B, T), optional
        Place of the first key of the query's document.
    scale : float, default 0.0
        Of the scores; 0: 1 / sqrt(hs).
    window : int, default 0
        Keys that a query sees, its own included; 0: all.
    accumulate : bool, default False
        Add to d_r and the gradients of the biases in out= instead of writing them.
    out : tuple of arrays, optional
        Where to write the outputs, in order; None in it stands for a new array.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    d_q : float32 (B, nh, T, hs)
    d_k : float32 (B, nkv, S, hs)
    d_r : float32 (nh, S, hs)
    d_content_bias, d_position_bias : float32 (nh, hs)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape, memory layout or value that is not taken.
    """
    name = "relative_attention_scores_backward"
    given = _given(name, out, "d_q, d_k, d_r, d_content_bias, d_position_bias")
    inputs = (d_out, q, k, r, content_bias, position_bias, document_starts)
    options = {"scale": scale, "window": window, "backend": backend}
    d_q, d_k = DERIVED[f"{name}_data"](*inputs, **options, out=given[:2])
    weights = DERIVED[f"{name}_weights"](*inputs, **options, accumulate=accumulate, out=given[2:])
    return d_q, d_k, *weights


def softmax_inplace(x: Float32, *, backend: str | None = None) -> Float32:
    """Write softmax_forward(x) over x.

    Parameters
    ----------
    x : float32 (N, C)
        Overwritten.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    x : float32 (N, C)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape or memory layout that is not taken.
    """
    result: Float32 = DERIVED["softmax_forward"](x, out=x, backend=backend)
    return result


def feed_forward_network(
    x: Float32,
    weight_in: Float32,
    bias_in: Float32 | None,
    weight_out: Float32,
    bias_out: Float32 | None = None,
    *,
    activation: Activation = "gelu_tanh",
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32:
    """Two linear maps with an activation between them.

    Parameters
    ----------
    x : float32 (N, C)
    weight_in : float32 (F, C)
    bias_in : float32 (F) or None
    weight_out : float32 (O, F)
    bias_out : float32 (O), optional
    activation : {'none', 'gelu_tanh', 'gelu', 'relu', 'silu'}, default 'gelu_tanh'
        Gelu is the erf form.
    out : array, optional
        Where to write the output.
    backend : str, optional
        MSLTX_BACKEND or the fastest by default.

    Returns
    -------
    out : float32 (N, O)

    Raises
    ------
    msltx.InvalidValueError
        For a dtype, shape or memory layout that is not taken.
    """
    linear = DERIVED["linear_forward"]
    hidden = linear(x, weight_in, bias_in, activation=activation, backend=backend)
    if activation != "none":
        hidden, _ = hidden
    result: Float32 = linear(hidden, weight_out, bias_out, out=out, backend=backend)
    return result


COMPOSED = {
    function.__name__: function
    for function in (
        layernorm_backward,
        residual_layernorm_backward,
        rmsnorm_backward,
        residual_rmsnorm_backward,
        linear_backward,
        relative_attention_scores_backward,
        softmax_inplace,
        feed_forward_network,
    )
}
