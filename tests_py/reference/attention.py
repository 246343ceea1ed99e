"""Attention: its parts, the fused form, and the form that reads a cache of keys and values.

A scale of 0 means 1 / sqrt(hs). Query head h reads key/value head h // (nh / nkv). Causal means
that the query at position t sees the keys 0..t; with S keys and T queries the last query stands
at the last key: query t at place t + S - T. A window w lets it see the keys after place - w, and
where not causal those before place + w; document_starts [B, T] hides the keys before the first of
the query's document. A score is cap tanh(x / cap) of x = scale q k (softcap), plus bias
[nh, T, S], minus alibi_slopes [nh] times the distance between the places of query and key.
"""

from __future__ import annotations

import math
from typing import Any

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


def _masked(
    places: Anything,
    num_keys: int,
    causal: bool,
    window: int = 0,
    document_starts: Integers | None = None,
) -> Anything:
    """Give the mask [..., T, S], True where a query at places [..., T] must not see a key."""
    place, key = np.asarray(places)[..., None], np.arange(num_keys)
    masked = causal & (key > place)
    if window:
        masked = masked | (key <= place - window) | (key >= place + window)
    if document_starts is not None:
        masked = masked | (key < np.asarray(document_starts)[..., None])[:, None]
    return masked


def _places(num_queries: int, num_keys: int) -> Anything:
    return np.arange(num_queries) + num_keys - num_queries


def _softcap(x: Array, softcap: float) -> tuple[Array, Array]:
    """Give cap tanh(x / cap) and its derivative."""
    if softcap == 0:
        return x, np.ones_like(x)
    tanh = np.tanh(x / softcap)
    return softcap * tanh, 1 - tanh**2


def _score(
    q: Array,
    k: Array,
    scale: float,
    softcap: float,
    added: Array | float,
    masked: Anything,
) -> tuple[Result, Array]:
    """Give softcap(scale q k) + added, -inf where masked, and the derivative of the soft cap."""
    x, slope = _softcap(scale * (q @ _swap(k)), softcap)
    size = scale * (np.abs(q) @ _swap(np.abs(k))) + np.where(np.isfinite(added), np.abs(added), 0)
    return Result(np.where(masked, -np.inf, x + added), np.where(masked, 0, size)), slope


def _added(
    places: Anything, num_keys: int, bias: Anything | None, alibi_slopes: Anything | None
) -> Array | float:
    """Give what bias and ALiBi add to the scores of queries at places [T]."""
    added: Array | float = 0.0
    if bias is not None:
        added = added + float64(bias)
    if alibi_slopes is not None:
        distance = np.abs(np.asarray(places)[:, None] - np.arange(num_keys))
        added = added - float64(alibi_slopes)[:, None, None] * distance
    return added


def _scale(scale: float, q: Array) -> float:
    return scale or 1 / math.sqrt(q.shape[-1])


def _swap(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


def _full_scores(
    q: Array,
    k: Array,
    bias: Anything | None,
    alibi_slopes: Anything | None,
    document_starts: Integers | None,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
) -> tuple[Result, Array]:
    """Scores of q [B, nh, T, hs] and k [B, nh, S, hs] with every option."""
    num_keys = k.shape[2]
    places = _places(q.shape[2], num_keys)
    masked = _masked(places, num_keys, causal, window, document_starts)
    added = _added(places, num_keys, bias, alibi_slopes)
    return _score(q, k, _scale(scale, q), softcap, added, masked)


def attention_scores_forward(
    q: Anything, k: Anything, *, scale: float = 0, causal: bool = True
) -> Result:
    """out = scale q k^T, -inf where masked.

    q [B, nh, T, hs], k [B, nkv, S, hs] -> out [B, nh, T, S].
    """
    q = float64(q)
    k = _repeat_heads(k, q.shape[1])
    return _full_scores(q, k, None, None, None, scale, causal, 0, 0)[0]


def attention_scores_backward(
    d_out: Anything, q: Anything, k: Anything, *, scale: float = 0, causal: bool = True
) -> tuple[Result, Result]:
    """d_q = scale d_out k, d_k = scale d_out^T q, masked entries left out."""
    q = float64(q)
    heads, k = k.shape[1], _repeat_heads(k, q.shape[1])
    masked = _masked(_places(q.shape[2], k.shape[2]), k.shape[2], causal)
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
    q: Anything,
    k: Anything,
    v: Anything,
    bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
) -> tuple[Result, Result]:
    """out = softmax(scores) v and lse = log(sum(exp(scores))) of every query.

    q [B, nh, T, hs], k and v [B, nkv, S, hs] -> out [B, nh, T, hs], lse [B, nh, T].
    """
    q = float64(q)
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    return _attend(_full_scores(q, k, *options)[0], v)


def flash_attention_backward(
    d_out: Anything,
    out: Anything,
    lse: Anything,
    q: Anything,
    k: Anything,
    v: Anything,
    bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
) -> tuple[Result, Result, Result]:
    """Give d_q, d_k, d_v with P = exp(scores - lse), d_S = P (d_out v^T - sum of d_out out)."""
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    probs, scores, size, slope = _score_gradients(d_out, out, lse, q, k, v, *options)
    q, d_out = float64(q), float64(d_out)
    heads, k = k.shape[1], _repeat_heads(k, q.shape[1])
    scale = _scale(scale, q)
    d_products, size = scale * scores * slope, scale * size
    return (
        Result(d_products @ k, size @ np.abs(k)),
        Result(
            _sum_heads(_swap(d_products) @ q, heads), _sum_heads(_swap(size) @ np.abs(q), heads)
        ),
        Result(
            _sum_heads(_swap(probs) @ d_out, heads),
            _sum_heads(_swap(probs) @ np.abs(d_out), heads),
        ),
    )


def flash_attention_backward_bias(
    d_out: Anything,
    out: Anything,
    lse: Anything,
    q: Anything,
    k: Anything,
    v: Anything,
    bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
) -> Result:
    """Give d_bias [nh, T, S]: d_S of flash_attention_backward, summed over the batch."""
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    _, scores, size, _ = _score_gradients(d_out, out, lse, q, k, v, *options)
    return Result(np.asarray(scores.sum(0)), np.asarray(size.sum(0)))


def _score_gradients(
    d_out: Anything,
    out: Anything,
    lse: Anything,
    q: Anything,
    k: Anything,
    v: Anything,
    *options: Any,
) -> tuple[Array, Array, Array, Array]:
    """Give probabilities, gradients of scores, their magnitudes, derivatives of the cap."""
    q, d_out, out = float64(q), float64(d_out), float64(out)
    lse = float64(lse)[..., None]
    lse = np.where(np.isfinite(lse), lse, 0)  # -inf, all masked: exp(scores) is 0 without it
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])
    scores, slope = _full_scores(q, k, *options)
    probs = np.exp(scores.value - lse)
    d_scores = probs * (d_out @ _swap(v) - (d_out * out).sum(-1, keepdims=True))
    reach = np.abs(d_out) @ _swap(np.abs(v)) + np.abs(d_out * out).sum(-1, keepdims=True)
    return probs, d_scores, probs * reach, slope


def attention_inference(
    q: Anything,
    k_cache: Anything,
    v_cache: Anything,
    lengths: Integers,
    relative_bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    *,
    scale: float = 0,
    window: int = 0,
    softcap: float = 0,
) -> Result:
    """Attend to a cache: the query t of sequence b stands at lengths[b] - T + t and sees 0..that.

    q [B, nh, T, hs], caches [B, nkv, S, hs], lengths [B] (T included) -> out [B, nh, T, hs].
    relative_bias [nh, S] holds what is added at distance d at S - 1 - d.
    """
    q = float64(q)
    num_slots = k_cache.shape[2]
    outs = []
    for b, length in enumerate(np.asarray(lengths)):
        filled = (np.arange(num_slots) < length)[:, None]  # what lies beyond may be anything
        k, v = (
            _repeat_heads(np.where(filled, float64(cache[b : b + 1]), 0), q.shape[1])
            for cache in (k_cache, v_cache)
        )
        places = length - q.shape[2] + np.arange(q.shape[2])
        masked = _masked(places, num_slots, True, window)
        bias = None
        if relative_bias is not None:
            entry = num_slots - 1 - (places[:, None] - np.arange(num_slots))
            bias = float64(relative_bias)[:, np.clip(entry, 0, num_slots - 1)]
        added = _added(places, num_slots, bias, alibi_slopes)
        scores, _ = _score(q[b : b + 1], k, _scale(scale, q), softcap, added, masked)
        outs.append(_attend(scores, v)[0])
    sizes = [out.magnitude for out in outs if out.magnitude is not None]
    return Result(np.concatenate([out.value for out in outs]), np.concatenate(sizes))
