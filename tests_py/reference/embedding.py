"""Token and position embeddings."""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Integers, Result, exact, float64, rows


def embedding_forward(tokens: Integers, weight: Anything, *, scale: float = 1.0) -> Result:
    """out[n] = scale weight[tokens[n]]; tokens [N], weight [V, C] -> out [N, C]."""
    out = scale * float64(weight)[tokens]
    return exact(out) if scale == 1 else Result(out, np.abs(out))


def embedding_backward(
    tokens: Integers, d_out: Anything, *, vocab_size: int, scale: float = 1.0
) -> Result:
    """d_weight[v] = sum of scale d_out[n] over tokens[n] = v; d_out [N, C] -> d_weight [V, C]."""
    d_out = scale * float64(d_out)

    def scatter(rows_of: Array) -> Array:
        d_weight = np.zeros((vocab_size, d_out.shape[-1]))
        np.add.at(d_weight, tokens.reshape(-1), rows(rows_of))
        return d_weight

    return Result(scatter(d_out), scatter(np.abs(d_out)))


def positional_embedding_add_forward(
    x: Anything, positions: Anything, offsets: Integers | None = None, *, offset: int = 0
) -> Result:
    """out[b, t] = x[b, t] + positions[o + t], o = offsets[b] or else offset.

    x [B, T, C], positions [S, C], offsets [B] -> out [B, T, C].
    """
    x = float64(x)
    batch, length, _ = x.shape
    first = np.full(batch, offset) if offsets is None else offsets
    chosen = float64(positions)[first[:, None] + np.arange(length)]
    return Result(x + chosen, np.abs(x) + np.abs(chosen))


def positional_embedding_add_backward(
    d_out: Anything, *, context_length: int, offset: int = 0
) -> Result:
    """d_positions[offset + t] = sum over b of d_out[b, t]; d_positions [S, C]; d_x is d_out."""
    d_out = float64(d_out)
    _, length, width = d_out.shape
    d_positions, magnitude = np.zeros((2, context_length, width))
    d_positions[offset : offset + length] = d_out.sum(0)
    magnitude[offset : offset + length] = np.abs(d_out).sum(0)
    return Result(d_positions, magnitude)


def sinusoidal_positions(context_length: int, embedding_dim: int) -> Array:
    """Give the fixed table [T, C] of Vaswani et al. 2017: even columns sin, odd columns cos."""
    column = np.arange(embedding_dim)
    angle = np.arange(context_length)[:, None] / 10_000.0 ** (2 * (column // 2) / embedding_dim)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))
