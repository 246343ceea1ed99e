"""Rotary position embedding (Su et al. 2021), and the angles of its scaled forms.

The table of angles is written here after the papers and the model cards, independently of the
engine: linear (Chen et al. 2023), NTK-aware ("dynamic"), YaRN (Peng et al. 2023), Llama 3.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .result import Anything, Array, Integers, Result, float64


def _pairs(x: Array, layout: str) -> tuple[Array, Array]:
    """Give the first and the second numbers of the pairs of [..., hs], views of x."""
    if layout == "interleaved":
        return x[..., 0::2], x[..., 1::2]
    if layout == "half_split":
        half = x.shape[-1] // 2
        return x[..., :half], x[..., half:]
    raise ValueError(f"layout is {layout!r}; it must be interleaved or half_split")


def _rotate(
    x: Anything, table: Anything, offsets: Integers | None, layout: str, offset: int, turn: float
) -> Result:
    x, table = float64(x), float64(table)
    first = np.full(len(x), offset) if offsets is None else np.asarray(offsets)
    places = first[:, None] + np.arange(x.shape[2])  # [B, T]
    angles = table[places][:, None]  # [B, 1, T, hs]
    cos, sin = angles[..., 0::2], turn * angles[..., 1::2]
    out, size = np.empty_like(x), np.empty_like(x)
    (a, b), (out_a, out_b), (size_a, size_b) = (_pairs(v, layout) for v in (x, out, size))
    out_a[...], out_b[...] = a * cos - b * sin, a * sin + b * cos
    size_a[...] = np.abs(a * cos) + np.abs(b * sin)
    size_b[...] = np.abs(a * sin) + np.abs(b * cos)
    return Result(out, size)


def rope_forward(
    x: Anything,
    table: Anything,
    offsets: Integers | None = None,
    *,
    layout: str = "interleaved",
    offset: int = 0,
) -> Result:
    """Turn each pair (a, b) by the angle whose cos and sin are in the table.

    x [B, nh, T, hs], table [S, hs]: cos, sin of each pair in turn; row offset_b + t -> out.
    """
    return _rotate(x, table, offsets, layout, offset, 1)


def rope_backward(
    d_out: Anything,
    table: Anything,
    offsets: Integers | None = None,
    *,
    layout: str = "interleaved",
    offset: int = 0,
) -> Result:
    """Turn each pair of d_out [B, nh, T, hs] back -> d_x."""
    return _rotate(d_out, table, offsets, layout, offset, -1)


def rope_table(
    positions: int,
    head_dim: int,
    *,
    theta: float = 10_000.0,
    context_length: int = 0,
    scaling: dict[str, Any] | None = None,
) -> Array:
    """Give cos and sin of each pair in turn, [positions, head_dim]."""
    kind = scaling["kind"] if scaling else "none"
    pair = np.arange(0, head_dim, 2) / head_dim
    turns = theta**-pair  # radians per position
    amplitude = 1.0
    if scaling:
        factor, trained = scaling["factor"], scaling["original_context_length"]
    if kind == "linear":
        turns = turns / factor
    if kind == "dynamic" and context_length > trained:
        # The slowest pair is interpolated, the fastest stays: NTK-aware with a growing factor.
        stretch = factor * context_length / trained - (factor - 1)
        turns = (theta * stretch ** (head_dim / (head_dim - 2))) ** -pair
    if kind == "llama3":
        low, high = scaling["low_frequency_factor"], scaling["high_frequency_factor"]
        wavelength = 2 * math.pi / turns
        smooth = np.clip((trained / wavelength - low) / (high - low), 0, 1)
        turns = smooth * turns + (1 - smooth) * turns / factor
    if kind == "yarn":
        fast, slow = scaling.get("beta_fast", 32), scaling.get("beta_slow", 1)

        def index(rotations: float) -> float:
            wavelength = trained / rotations
            return head_dim * math.log(wavelength / (2 * math.pi)) / (2 * math.log(theta))

        first = max(math.floor(index(fast)), 0)
        last = min(math.ceil(index(slow)), head_dim - 1)
        ramp = np.clip((np.arange(head_dim // 2) - first) / max(last - first, 0.001), 0, 1)
        turns = turns * (1 - ramp) + turns / factor * ramp
        amplitude = scaling.get("attention_factor") or 0.1 * math.log(factor) + 1
    angles = np.arange(positions)[:, None] * turns
    table = np.empty((positions, head_dim))
    table[:, 0::2], table[:, 1::2] = amplitude * np.cos(angles), amplitude * np.sin(angles)
    return table
