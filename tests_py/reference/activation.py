"""GELU, in its tanh form and with the error function (Hendrycks and Gimpel 2016)."""

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
