"""GELU in its tanh form and with the error function (Hendrycks and Gimpel 2016), SiLU, ReLU,
sigmoid, and gates made of them (Shazeer 2020)."""

from __future__ import annotations

import math

import numpy as np

from .result import Anything, Array, Result, float64

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715  # makes the tanh form agree with the error function to about 3e-4

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gate(x: Array, approximate: str) -> tuple[Array, Array]:
    """Give the gate g with gelu(x) = x g(x), and its derivative."""
    if approximate == "tanh":
        t = np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x**3))
        slope = 0.5 * (1 - t**2) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * x**2)
        return 0.5 * (1 + t), slope
    if approximate == "none":
        gate = 0.5 * (1 + _erf(x / math.sqrt(2)))
        return gate, np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    raise ValueError(f"approximate is {approximate!r}; it must be 'tanh' or 'none'")


def _slope_size(x: Array, approximate: str) -> Array:
    """Give the slope of the gate with 1 - t^2, a difference of near equals, taken as 1 + t^2."""
    if approximate == "tanh":
        t = np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x**3))
        return np.asarray(0.5 * (1 + t**2) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * x**2))
    return _gate(x, approximate)[1]


def gelu_forward(x: Anything, *, approximate: str = "tanh") -> Result:
    """out = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), or with "none" x Phi(x)."""
    x = float64(x)
    gate, _ = _gate(x, approximate)
    # 1 + tanh loses digits where tanh is near -1: its size is 1 + |tanh|.
    return Result(x * gate, np.abs(x) * 0.5 * (1 + np.abs(2 * gate - 1)))


def gelu_backward(d_out: Anything, x: Anything, *, approximate: str = "tanh") -> Result:
    """d_x = d_out (g + x g') with gelu(x) = x g(x)."""
    d_out, x = float64(d_out), float64(x)
    gate, slope = _gate(x, approximate)
    gate_size = 0.5 * (1 + np.abs(2 * gate - 1))
    size = np.abs(d_out) * (gate_size + np.abs(x) * _slope_size(x, approximate))
    return Result(d_out * (gate + x * slope), size)


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def sigmoid_forward(x: Anything) -> Result:
    """out = 1 / (1 + exp(-x))."""
    out = _sigmoid(float64(x))
    return Result(out, out)


def sigmoid_backward(d_out: Anything, x: Anything) -> Result:
    """d_x = d_out s (1 - s), s = sigmoid(x)."""
    d_out, x = float64(d_out), float64(x)
    d_x = d_out * _sigmoid(x) * _sigmoid(-x)
    return Result(d_x, np.abs(d_x))


def silu_forward(x: Anything) -> Result:
    """out = x sigmoid(x)."""
    x = float64(x)
    out = x * _sigmoid(x)
    return Result(out, np.abs(out))


def silu_backward(d_out: Anything, x: Anything) -> Result:
    """d_x = d_out s (1 + x (1 - s)), s = sigmoid(x)."""
    d_out, x = float64(d_out), float64(x)
    s, rest = _sigmoid(x), _sigmoid(-x)
    return Result(d_out * s * (1 + x * rest), np.abs(d_out) * s * (1 + np.abs(x) * rest))


def relu_forward(x: Anything) -> Result:
    """out = max(x, 0)."""
    out = np.maximum(float64(x), 0)
    return Result(out, out)


def relu_backward(d_out: Anything, x: Anything) -> Result:
    """d_x = d_out where x > 0, else 0."""
    d_x = np.where(float64(x) > 0, float64(d_out), 0)
    return Result(d_x, np.abs(d_x))


def _gated(activated: Result, up: Anything) -> Result:
    assert activated.magnitude is not None
    up = float64(up)
    return Result(activated.value * up, activated.magnitude * np.abs(up))


def swiglu_forward(gate: Anything, up: Anything) -> Result:
    """out = silu(gate) up; all [N, F]."""
    return _gated(silu_forward(gate), up)


def swiglu_backward(d_out: Anything, gate: Anything, up: Anything) -> tuple[Result, Result]:
    """d_gate = d_out up silu'(gate), d_up = d_out silu(gate)."""
    return _gated(silu_backward(d_out, gate), up), _gated(silu_forward(gate), d_out)


def geglu_forward(gate: Anything, up: Anything, *, approximate: str = "tanh") -> Result:
    """out = gelu(gate) up; all [N, F]."""
    return _gated(gelu_forward(gate, approximate=approximate), up)


def geglu_backward(
    d_out: Anything, gate: Anything, up: Anything, *, approximate: str = "tanh"
) -> tuple[Result, Result]:
    """d_gate = d_out up gelu'(gate), d_up = d_out gelu(gate)."""
    d_gate = gelu_backward(d_out, gate, approximate=approximate)
    return _gated(d_gate, up), _gated(gelu_forward(gate, approximate=approximate), d_out)
