"""Attention: its parts, the fused form, and the form that reads a cache of keys and values.

A scale of 0 means 1 / sqrt(hs). Query head h reads key/value head h // (nh / nkv). Causal means
that the query at position t sees the keys 0..t; with S keys and T queries the last query stands
at the last key: query t at place t + S - T. A window w lets it see the keys after place - w, and
where not causal those before place + w; document_starts [B, T] hides the keys before the first of
the query's document. A score is cap tanh(x / cap) of x = scale q k (softcap), plus bias
[nh, T, S], minus alibi_slopes [nh] times the distance between the places of query and key.
Dropout multiplies the probabilities that meet v by 0 or 1 / (1 - dropout), drawn by Philox.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .philox import RandomStream, philox4x32
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


def dropout_factors(
    shape: tuple[int, int, int, int],
    dropout: float,
    seed: int,
    step: int,
    first_sequence: int,
    sequences: Integers | None,
) -> Array:
    """Give the factors [B, nh, T, S] of the probabilities: 0 or 1 / (1 - dropout).

    Two words of the query's draw are the key of a generator that gives key 64 j + 16 w + i the
    word w of its counter 16 j + i.
    """
    batch, heads, length, keys = shape
    factors = np.ones(shape)
    if dropout == 0:
        return factors
    streams = first_sequence + np.arange(batch) if sequences is None else np.asarray(sequences)
    query = np.arange(heads * length)
    key = np.arange(keys)
    counters = np.zeros((keys, 4), dtype=np.uint64)
    counters[:, 0] = key // 64 * 16 + key % 16
    for b, stream in enumerate(streams):
        draw = np.stack(
            [query, *(np.full_like(query, n) for n in (stream, step, RandomStream.DROPOUT))], -1
        )
        seeds = philox4x32(draw, (seed % 2**32, seed // 2**32 % 2**32))
        drawn = philox4x32(counters[None], (seeds[:, :1], seeds[:, 1:2]))
        words = drawn[:, key, key // 16 % 4] >> np.uint64(8)
        kept = words.astype(np.float64) * 2.0**-24 >= np.float32(dropout)
        factors[b] = kept.reshape(factors[b].shape) / (1 - float(np.float32(dropout)))
    return factors


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
    q: Anything,
    k: Anything,
    bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
) -> Result:
    """out = softcap(scale q k^T) + what is added, -inf where masked.

    q [B, nh, T, hs], k [B, nkv, S, hs] -> out [B, nh, T, S].
    """
    q = float64(q)
    k = _repeat_heads(k, q.shape[1])
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    return _full_scores(q, k, *options)[0]


def attention_scores_backward(
    d_out: Anything,
    q: Anything,
    k: Anything,
    document_starts: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
) -> tuple[Result, Result]:
    """Give d_q = d_S k, d_k = d_S^T q, d_S = scale d_out softcap', masked entries left out."""
    q = float64(q)
    heads, k = k.shape[1], _repeat_heads(k, q.shape[1])
    options = (None, None, document_starts, scale, causal, window, softcap)
    scores, slope = _full_scores(q, k, *options)
    size = _scale(scale, q) * np.where(np.isfinite(scores.value), np.abs(float64(d_out)), 0)
    d_scores = size * np.sign(float64(d_out)) * slope
    return (
        Result(d_scores @ k, size @ np.abs(k)),
        Result(_sum_heads(_swap(d_scores) @ q, heads), _sum_heads(_swap(size) @ np.abs(q), heads)),
    )


def attention_scores_backward_bias(
    d_out: Anything,
    document_starts: Integers | None = None,
    *,
    causal: bool = True,
    window: int = 0,
) -> Result:
    """Give d_bias [nh, T, S] = d_out summed over the batch, masked entries left out."""
    T, S = d_out.shape[2:]
    masked = _masked(_places(T, S), S, causal, window, document_starts)
    seen = np.where(masked, 0, float64(d_out))
    return Result(np.asarray(seen.sum(0)), np.asarray(np.abs(seen).sum(0)))


def attention_mix_forward(
    probabilities: Anything,
    v: Anything,
    sequences: Integers | None = None,
    *,
    dropout: float = 0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> Result:
    """out = dropped(probabilities) v; [B, nh, T, S] and [B, nkv, S, hs] -> [B, nh, T, hs]."""
    probabilities = float64(probabilities)
    factors = dropout_factors(probabilities.shape, dropout, seed, step, first_sequence, sequences)
    weights = probabilities * factors
    v = _repeat_heads(v, probabilities.shape[1])
    return Result(weights @ v, np.abs(weights) @ np.abs(v))


def attention_mix_backward(
    d_out: Anything,
    probabilities: Anything,
    v: Anything,
    sequences: Integers | None = None,
    *,
    dropout: float = 0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> tuple[Result, Result]:
    """Give d_probabilities = dropped(d_out v^T) and d_v = dropped(probabilities)^T d_out."""
    d_out, probabilities = float64(d_out), float64(probabilities)
    factors = dropout_factors(probabilities.shape, dropout, seed, step, first_sequence, sequences)
    weights = _swap(probabilities * factors)
    heads, v = v.shape[1], _repeat_heads(v, d_out.shape[1])
    size = np.abs(d_out)
    return (
        Result(factors * (d_out @ _swap(v)), factors * (size @ _swap(np.abs(v)))),
        Result(_sum_heads(weights @ d_out, heads), _sum_heads(np.abs(weights) @ size, heads)),
    )


def _attend(scores: Result, v: Array, factors: Array | float = 1.0) -> tuple[Result, Result]:
    """Give out = (factors softmax(scores)) v and lse = log(sum(exp(scores)))."""
    assert scores.magnitude is not None
    probs = softmax(scores.value)
    lse = logsumexp(scores.value)
    finite_lse = np.abs(np.where(np.isfinite(lse), lse, 0))
    lse_size = finite_lse + (probs * scores.magnitude).sum(-1)
    weights = factors * probs
    return Result(weights @ v, weights @ np.abs(v)), Result(lse, lse_size)


def flash_attention_forward(
    q: Anything,
    k: Anything,
    v: Anything,
    bias: Anything | None = None,
    alibi_slopes: Anything | None = None,
    document_starts: Integers | None = None,
    sequences: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
    dropout: float = 0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> tuple[Result, Result]:
    """out = softmax(scores) v and lse = log(sum(exp(scores))) of every query.

    q [B, nh, T, hs], k and v [B, nkv, S, hs] -> out [B, nh, T, hs], lse [B, nh, T].
    """
    q = float64(q)
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    scores, _ = _full_scores(q, k, *options)
    draw = (dropout, seed, step, first_sequence, sequences)
    return _attend(scores, v, dropout_factors(scores.value.shape, *draw))


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
    sequences: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
    dropout: float = 0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> tuple[Result, Result, Result]:
    """Give d_q, d_k, d_v with P = exp(scores - lse), d_S = P (d_out v^T - sum of d_out out)."""
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    draw = (dropout, seed, step, first_sequence, sequences)
    probs, scores, size, slope = _score_gradients(d_out, out, lse, q, k, v, draw, *options)
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
    sequences: Integers | None = None,
    *,
    scale: float = 0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0,
    dropout: float = 0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
) -> Result:
    """Give d_bias [nh, T, S]: d_S of flash_attention_backward, summed over the batch."""
    options = (bias, alibi_slopes, document_starts, scale, causal, window, softcap)
    draw = (dropout, seed, step, first_sequence, sequences)
    _, scores, size, _ = _score_gradients(d_out, out, lse, q, k, v, draw, *options)
    return Result(np.asarray(scores.sum(0)), np.asarray(size.sum(0)))


def _score_gradients(
    d_out: Anything,
    out: Anything,
    lse: Anything,
    q: Anything,
    k: Anything,
    v: Anything,
    draw: tuple[Any, ...],
    *options: Any,
) -> tuple[Array, Array, Array, Array]:
    """Give dropped probabilities, gradients of scores, magnitudes, derivatives of the cap."""
    q, d_out, out = float64(q), float64(d_out), float64(out)
    lse = float64(lse)[..., None]
    lse = np.where(np.isfinite(lse), lse, 0)  # -inf, all masked: exp(scores) is 0 without it
    k, v = _repeat_heads(k, q.shape[1]), _repeat_heads(v, q.shape[1])
    scores, slope = _full_scores(q, k, *options)
    probs = np.exp(scores.value - lse)
    factors = dropout_factors(probs.shape, *draw)
    d_scores = probs * (factors * (d_out @ _swap(v)) - (d_out * out).sum(-1, keepdims=True))
    reach = factors * (np.abs(d_out) @ _swap(np.abs(v)))
    reach = reach + np.abs(d_out * out).sum(-1, keepdims=True)
    return factors * probs, d_scores, probs * reach, slope


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
