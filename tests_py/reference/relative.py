"""Relative positions: T5's bias by distance bucket, and the scores of Transformer-XL.

Query t of T stands at place t + S - T among S keys.
"""

from __future__ import annotations

import math

import numpy as np

from .attention import _masked, _places, _repeat_heads, _scale, _sum_heads, _swap
from .result import Anything, Array, Integers, Result, exact, float64


def relative_bucket(
    distance: Integers, num_buckets: int, max_distance: int, bidirectional: bool
) -> Integers:
    """Give T5's bucket for each key place - query place.

    Raffel et al.: "Exploring the limits of transfer learning with a unified text-to-text
    transformer", 2020.
    """
    base = np.zeros_like(distance)
    if bidirectional:
        num_buckets //= 2
        base = np.where(distance > 0, num_buckets, 0)
        distance = np.abs(distance)
    else:
        distance = np.maximum(-distance, 0)
    if num_buckets < 2:
        return base
    exact_buckets = num_buckets // 2
    if max_distance <= exact_buckets:
        large = np.full_like(distance, num_buckets - 1)
    else:
        ratio = np.log(np.maximum(distance, 1) / exact_buckets)
        ratio = ratio / math.log(max_distance / exact_buckets)
        above = (ratio * (num_buckets - exact_buckets)).astype(np.int64)
        large = np.minimum(exact_buckets + above, num_buckets - 1)
    return base + np.where(distance < exact_buckets, distance, large)


def _buckets(
    queries: int, keys: int, num_buckets: int, max_distance: int, bidirectional: bool
) -> Integers:
    distance = np.arange(keys) - _places(queries, keys)[:, None]
    return relative_bucket(distance, num_buckets, max_distance, bidirectional)


def relative_position_bias_forward(
    weight: Anything,
    *,
    num_queries: int,
    num_keys: int,
    max_distance: int = 128,
    bidirectional: bool = False,
) -> Result:
    """weight [R, nh] -> out [nh, T, S], the row of each distance's bucket."""
    weight = float64(weight)
    buckets = _buckets(num_queries, num_keys, len(weight), max_distance, bidirectional)
    return exact(np.ascontiguousarray(weight[buckets].transpose(2, 0, 1)))


def relative_position_bias_backward(
    d_out: Anything, *, num_buckets: int, max_distance: int = 128, bidirectional: bool = False
) -> Result:
    """d_out [nh, T, S] -> d_weight [R, nh]."""
    d_out = float64(d_out)
    buckets = _buckets(*d_out.shape[1:], num_buckets, max_distance, bidirectional)

    def add_up(x: Array) -> Array:
        return np.stack([x[:, buckets == r].sum(1) for r in range(num_buckets)])

    return Result(add_up(d_out), add_up(np.abs(d_out)))


def _relative_parts(
    q: Anything,
    k: Anything,
    r: Anything,
    document_starts: Integers | None,
    window: int,
) -> tuple[Array, Array, Array, Anything]:
    """Give q, k per query head, the encodings [nh, T, S, hs] of the distances, and the mask."""
    q = float64(q)
    k = _repeat_heads(k, q.shape[1])
    places = _places(q.shape[2], k.shape[2])
    distance = places[:, None] - np.arange(k.shape[2])
    encodings = float64(r)[:, np.clip(distance, 0, k.shape[2] - 1)]
    return q, k, encodings, _masked(places, k.shape[2], True, window, document_starts)


def relative_attention_scores_forward(
    q: Anything,
    k: Anything,
    r: Anything,
    content_bias: Anything,
    position_bias: Anything,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    window: int = 0,
) -> Result:
    """Give scale ((q + content_bias) k + (q + position_bias) r[distance]), -inf where masked.

    q [B, nh, T, hs], k [B, nkv, S, hs], r [nh, S, hs], biases [nh, hs] -> out [B, nh, T, S].
    Dai et al.: "Transformer-XL: attentive language models beyond a fixed-length context", 2019.
    """
    q, k, encodings, masked = _relative_parts(q, k, r, document_starts, window)
    u, v = (float64(bias)[:, None] for bias in (content_bias, position_bias))
    content = np.einsum("bhti,bhsi->bhts", q + u, k)
    position = np.einsum("bhti,htsi->bhts", q + v, encodings)
    size = np.einsum("bhti,bhsi->bhts", np.abs(q) + np.abs(u), np.abs(k))
    size = size + np.einsum("bhti,htsi->bhts", np.abs(q) + np.abs(v), np.abs(encodings))
    scale = _scale(scale, q)
    scores = np.where(masked, -np.inf, scale * (content + position))
    return Result(scores, np.where(masked, 0, scale * size))


def _relative_gradients(
    d_scores: Array, q: Array, k: Array, encodings: Array, u: Array, v: Array, num_kv_heads: int
) -> tuple[Array, ...]:
    """Give d_q, d_k, d_r, d_content_bias, d_position_bias from scaled gradients of the scores."""
    content = d_scores @ k
    position = np.einsum("bhts,htsi->bhti", d_scores, encodings)
    d_k = _sum_heads(_swap(d_scores) @ (q + u), num_kv_heads)
    T, S = d_scores.shape[2:]
    d_encodings = np.einsum("bhts,bhti->htsi", d_scores, q + v)
    distance = _places(T, S)[:, None] - np.arange(S)
    d_r = np.stack([d_encodings[:, distance == d].sum(1) for d in range(S)], axis=1)
    return content + position, d_k, d_r, content.sum((0, 2)), position.sum((0, 2))


def _relative_results(
    d_out: Anything,
    q: Anything,
    k: Anything,
    r: Anything,
    content_bias: Anything,
    position_bias: Anything,
    document_starts: Integers | None,
    scale: float,
    window: int,
) -> list[Result]:
    heads = k.shape[1]
    q, k, encodings, masked = _relative_parts(q, k, r, document_starts, window)
    u, v = (float64(bias)[:, None] for bias in (content_bias, position_bias))
    d_scores = _scale(scale, q) * np.where(masked, 0, float64(d_out))
    parts = (d_scores, q, k, encodings, u, v)
    values = _relative_gradients(*parts, heads)
    sizes = _relative_gradients(*(np.abs(part) for part in parts), heads)
    return [Result(value, size) for value, size in zip(values, sizes, strict=True)]


def relative_attention_scores_backward(
    d_out: Anything,
    q: Anything,
    k: Anything,
    r: Anything,
    content_bias: Anything,
    position_bias: Anything,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    window: int = 0,
) -> tuple[Result, ...]:
    """Give the gradients of both halves."""
    given = (d_out, q, k, r, content_bias, position_bias, document_starts, scale, window)
    return tuple(_relative_results(*given))


def relative_attention_scores_backward_data(
    d_out: Anything,
    q: Anything,
    k: Anything,
    r: Anything,
    content_bias: Anything,
    position_bias: Anything,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    window: int = 0,
) -> tuple[Result, Result]:
    """Give d_q and d_k."""
    given = (d_out, q, k, r, content_bias, position_bias, document_starts, scale, window)
    d_q, d_k, *_ = _relative_results(*given)
    return d_q, d_k


def relative_attention_scores_backward_weights(
    d_out: Anything,
    q: Anything,
    k: Anything,
    r: Anything,
    content_bias: Anything,
    position_bias: Anything,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    window: int = 0,
) -> tuple[Result, Result, Result]:
    """Give d_r [nh, S, hs], d_content_bias and d_position_bias [nh, hs], summed over the batch."""
    given = (d_out, q, k, r, content_bias, position_bias, document_starts, scale, window)
    _, _, *weights = _relative_results(*given)
    return weights[0], weights[1], weights[2]
