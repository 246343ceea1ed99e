"""Gradients by central differences in float64, the judge of every backward definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .result import Array

# Cube root of the float64 epsilon: truncation (h^2) and rounding (epsilon / h) are then alike.
STEP = float(np.cbrt(np.finfo(np.float64).eps))

# Both errors are about 4e-11 of the function's scale; third derivatives of the functions at hand
# and sums over outputs take up to two more digits.
TOLERANCE = 1e-8

# They are of the whole function's scale: an element is known to TOLERANCE of itself only where it
# is at least this share of the largest.
RESOLUTION = 1e-2


def gradient(function: Callable[[Array], float], x: Array) -> Array:
    """Differentiate a scalar function by every element of x, two evaluations each."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        nudged = x.copy()
        nudged[index] = x[index] + STEP
        above = function(nudged)
        nudged[index] = x[index] - STEP
        result[index] = (above - function(nudged)) / (2 * STEP)
    return result


def derivative_along(
    function: Callable[[Array], float], x: Array, direction: Array, step: float = STEP
) -> float:
    """Differentiate along one direction: with a random one, two evaluations test all of x."""
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)
