"""Attention: its parts, the fused form, and the form that reads a cache of keys and values.

A scale of 0 means 1 / sqrt(hs). Query head h reads key/value head h // (nh / nkv). Causal means
that the query at position t sees the keys 0..t; with S keys and T queries the last query stands
at the last key.
"""

from __future__ import annotations

import math

import numpy as np

from .result import Anything, Array, Integers, Result, exact, float64
from .softmax import logsumexp, softmax


def split_heads_forward(x: Anything, *, num_heads: int) -> Result:
    """x [B, T, nh hs] -> out [B, nh, T, hs]."""
    batch, length, width = x.shape
    split = float64(x).reshape(batch, length, num_heads, width // num_heads)
    return exact(split.transpose(0, 2, 1, 3))


def split_heads_backward(d_out: Anything) -> Result:
    """d_out [B, nh, T, hs] -> d_x [B, T, nh hs]."""
    return merge_heads_forward(d_out)


def merge_heads_forward(x: Anything) -> Result:
    """x [B, nh, T, hs] -> out [B, T, nh hs]."""
    batch, heads, length, size = x.shape
    return exact(float64(x).transpose(0, 2, 1, 3).reshape(batch, length, heads * size))


def merge_heads_backward(d_out: Anything, *, num_heads: int) -> Result:
    """d_out [B, T, nh hs] -> d_x [B, nh, T, hs]."""
    return split_heads_forward(d_out, num_heads=num_heads)


def _repeat_heads(kv: Anything, num_heads: int) -> Array:
    """[B, nkv, S, hs] -> [B, nh, S, hs]: each key/value head once per query head that reads it."""
    kv = float64(kv)
    return np.repeat(kv, num_heads // kv.shape[1], axis=1)


def _sum_heads(d_repeated: Array, num_kv_heads: int) -> Array:
    """Undo _repeat_heads for gradients: add up the query heads of each key/value head."""
    batch, heads, length, size = d_repeated.shape
    grouped = d_repeated.reshape(batch, num_kv_heads, heads // num_kv_heads, length, size)
    return np.asarray(grouped.sum(2))


def _masked(num_queries: int, num_keys: int, causal: bool) -> Anything:
    """Give the mask [T, S], True where a query must not see a key: k > q + (S - T)."""
    query = np.arange(num_queries)[:, None] + num_keys - num_queries
    return causal & (np.arange(num_keys) > query)


def _scale(scale: float, q: Array) -> float:
    return scale or 1 / math.sqrt(q.shape[-1])


def _swap(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


def attention_scores_forward(
    q: Anything, k: Anything, *, scale: float = 0, causal: bool = True
) -> Result:
    """out = scale q k^T, -inf where masked.

    q [B, nh, T, hs], k [B, nkv, S, hs] -> out [B, nh, T, S].
    """
    q = float64(q)
    k = _repeat_heads(k, q.shape[1])
    scale = _scale(scale, q)
    masked = _masked(q.shape[2], k.shape[2], causal)
    scores = np.where(masked, -np.inf, scale * (q @ _swap(k)))
    return Result(scores, np.where(masked, 0, scale * (np.abs(q) @ _swap(np.abs(k)))))


def attention_scores_backward(
    d_out: Anything, q: Anything, k: Anything, *, scale: float = 0, causal: bool = True
) -> tuple[Result, Result]:
    """d_q = scale d_out k, d_k = scale d_out^T q, masked entries left out."""
    q = float64(q)
    heads, k = k.shape[1], _repeat_heads(k, q.shape[1])
    masked = _masked(q.shape[2], k.shape[2], causal)
    d_scores = _scale(scale, q) * np.where(masked, 0, float64(d_out))
    size = np.abs(d_scores)
    return (
        Result(d_scores @ k, size @ np.abs(k)),
        Result(_sum_heads(_swap(d_scores) @ q, heads), _sum_heads(_swap(size) @ np.abs(q), heads)),
    )


def attention_mix_forward(probabilities: Anything, v: Anything) -> Result:
    """out = probabilities v; [B, nh, T, S] and [B, nkv, S, hs] -> [B, nh, T, hs]."""
    probabilities = float64(probabilities)
    v = _repeat_heads(v, probabilities.shape[1])
    return Result(probabilities @ v, np.abs(probabilities) @ np.abs(v))


def attention_mix_backward(
    d_out: Anything, probabilities: Anything, v: Anything
) -> tuple[Result, Result]:
    """d_probabilities = d_out v^T [B, nh, T, S], d_v = probabilities^T d_out [B, nkv, S, hs]."""
    d_out, weights = float64(d_out), _swap(float64(probabilities))
    heads, v = v.shape[1], _repeat_heads(v, d_out.shape[1])
    size = np.abs(d_out)
    return (
        Result(d_out @ _swap(v), size @ _swap(np.abs(v))),
        Result(_sum_heads(weights @ d_out, heads), _sum_heads(np.abs(weights) @ size, heads)),
    )


def _attend(scores: Result, v: Array) -> tuple[Result, Result]:
    """Give out = softmax(scores) v and lse = log(sum(exp(scores)))."""
    assert scores.magnitude is not None
    probs = softmax(scores.value)
    lse = logsumexp(scores.value)
    finite_lse = np.abs(np.where(np.isfinite(lse), lse, 0))
    lse_size = finite_lse + (probs * scores.magnitude).sum(-1)
    return Result(probs @ v, probs @ np.abs(v)), Result(lse, lse_size)


def flash_attention_forward(
    q: Anything, k: Anything, v: Anything, *, scale: float = 0, causal: bool = True
) -> tuple[Result, Result]:
    """out = softmax(scale q k^T) v and lse = log(sum(exp(scale q k^T))) of every query.

    q [B, nh, T, hs], k and v [B, nkv, S, hs] -> out [B, nh, T, hs], lse [B, nh, T].
    """
    scores = attention_scores_forward(q, k, scale=scale, causal=causal)
    return _attend(scores, _repeat_heads(v, q.shape[1]))


def flash_attention_backward(
    d_out: Anything,
    out: Anything,
    lse: Anything,
    q: Anything,
    k: Anything,
    v: Anything,
    *,
    scale: float = 0,
    causal: bool = True,
) -> tuple[Result, Result, Result]:
    """Give d_q, d_k, d_v with P = exp(scores - lse), d_S = P (d_out v^T - sum of d_out out)."""
    q, d_out, out = float64(q), float64(d_out), float64(out)
    lse = float64(lse)[..., None]
    lse = np.where(np.isfinite(lse), lse, 0)  # -inf, all masked: exp(scores) is 0 without it
    heads = k.shape[1]
    scores = attention_scores_forward(q, k, scale=scale, causal=causal)
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])
    scale = _scale(scale, q)

    probs = np.exp(scores.value - lse)
    d_scores = probs * (d_out @ _swap(v) - (d_out * out).sum(-1, keepdims=True))
    d_q, d_k, d_v = scale * d_scores @ k, scale * _swap(d_scores) @ q, _swap(probs) @ d_out

    reach = np.abs(d_out) @ _swap(np.abs(v)) + np.abs(d_out * out).sum(-1, keepdims=True)
    scores_size = scale * probs * reach
    return (
        Result(d_q, scores_size @ np.abs(k)),
        Result(_sum_heads(d_k, heads), _sum_heads(_swap(scores_size) @ np.abs(q), heads)),
        Result(_sum_heads(d_v, heads), _sum_heads(_swap(probs) @ np.abs(d_out), heads)),
    )


def attention_inference(
    q: Anything,
    k_cache: Anything,
    v_cache: Anything,
    lengths: Integers,
    *,
    scale: float = 0,
) -> Result:
    """Attend to a cache: the query t of sequence b stands at lengths[b] - T + t and sees 0..that.

    q [B, nh, T, hs], caches [B, nkv, S, hs], lengths [B] (T included) -> out [B, nh, T, hs].
    """
    q = float64(q)
    slots = np.arange(k_cache.shape[2])
    filled = (slots < lengths[:, None])[:, None, :, None]  # what lies beyond may be anything
    k, v = (np.where(filled, float64(cache), 0) for cache in (k_cache, v_cache))
    scores = attention_scores_forward(q, k, scale=scale, causal=False)
    assert scores.magnitude is not None
    position = lengths[:, None] - q.shape[2] + np.arange(q.shape[2])  # [B, T]
    masked = (slots > position[..., None])[:, None]
    seen = Result(np.where(masked, -np.inf, scores.value), np.where(masked, 0, scores.magnitude))
    return _attend(seen, _repeat_heads(v, q.shape[1]))[0]
