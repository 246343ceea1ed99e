"""Fresh random inputs for every definition: float32, int32 and attributes, by parameter name.

Each function takes a generator and a case: sizes under their axis letters, and options.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from .result import Anything, Integers
from .rope import rope_table

Arguments: TypeAlias = dict[str, Any]
Rng: TypeAlias = np.random.Generator
Shape: TypeAlias = tuple[int, ...]

IGNORED_SHARE = 0.2  # of the targets, so that counted and ignored rows alternate


def normal(rng: Rng, *shape: int, scale: float = 1.0) -> Anything:
    """Draw standard normal float32 numbers."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)


def attribute(value: float) -> float:
    """Round an attribute to float32, as the engine keeps it: both sides then use one number."""
    return float(np.float32(value))


def _optional(array: Anything, wanted: bool) -> Anything | None:
    return array if wanted else None


def embedding(rng: Rng, N: Shape, V: int, C: int, scale: float = 1.0) -> Arguments:
    tokens = rng.integers(V, size=N, dtype=np.int32)
    return {"tokens": tokens, "weight": normal(rng, V, C), "scale": scale}


def positions(rng: Rng, B: int, T: int, S: int, C: int, offset: int = 0) -> Arguments:
    return {"x": normal(rng, B, T, C), "positions": normal(rng, S, C), "offset": offset}


def layernorm(rng: Rng, N: Shape, C: int, beta: bool = True, eps: float = 1e-5) -> Arguments:
    return {
        "x": normal(rng, *N, C, scale=2) + normal(rng, *N, 1),
        "gamma": 1 + normal(rng, C, scale=0.3),
        "beta": _optional(normal(rng, C), beta),
        "eps": attribute(eps),
    }


def residual(rng: Rng, N: Shape, C: int) -> Arguments:
    return {"x": normal(rng, *N, C), "residual": normal(rng, *N, C)}


def residual_layernorm(rng: Rng, N: Shape, C: int) -> Arguments:
    return {**layernorm(rng, N, C), "residual": normal(rng, *N, C)}


def linear(
    rng: Rng,
    N: Shape,
    C: int,
    O: int,  # noqa: E741
    bias: bool = True,
    activation: str = "none",
) -> Arguments:
    return {
        "x": normal(rng, *N, C),
        "weight": normal(rng, O, C, scale=1 / math.sqrt(C)),
        "bias": _optional(normal(rng, O), bias),
        "activation": activation,
    }


def linear_weights(
    rng: Rng,
    N: Shape,
    C: int,
    O: int,  # noqa: E741
    bias: bool = True,
    activation: str = "none",
) -> Arguments:
    """Three partial sums of the bias: what they are sums of does not matter here."""
    return {
        "x": normal(rng, *N, C),
        "d_pre": normal(rng, *N, O),
        "d_bias_partials": _optional(normal(rng, 3, O), bias),
    }


def norm_weights(rng: Rng, N: Shape, C: int) -> Arguments:
    sums = math.prod(N)
    return {
        "d_gamma_partials": normal(rng, sums, C),
        "d_beta_partials": _optional(normal(rng, sums, C), sums != 1),
    }


def gelu(rng: Rng, N: Shape, C: int, approximate: str = "tanh") -> Arguments:
    return {"x": normal(rng, *N, C, scale=3), "approximate": approximate}


def cast(rng: Rng, N: Shape, C: int, dtype: str) -> Arguments:
    return {"x": normal(rng, *N, C, scale=3), "dtype": dtype}


def rmsnorm(rng: Rng, N: Shape, C: int, eps: float = 1e-5, plus_one: bool = False) -> Arguments:
    return {
        "x": normal(rng, *N, C, scale=2) + normal(rng, *N, 1),
        "gamma": (0 if plus_one else 1) + normal(rng, C, scale=0.3),
        "eps": attribute(eps),
        "plus_one": plus_one,
    }


def residual_rmsnorm(rng: Rng, N: Shape, C: int, **options: Any) -> Arguments:
    return {**rmsnorm(rng, N, C, **options), "residual": normal(rng, *N, C)}


def rmsnorm_weights(rng: Rng, N: Shape, C: int) -> Arguments:
    return {"d_gamma_partials": normal(rng, math.prod(N), C)}


def activation(rng: Rng, N: Shape, C: int) -> Arguments:
    return {"x": normal(rng, *N, C, scale=3)}


def gate(rng: Rng, N: Shape, C: int, **options: Any) -> Arguments:
    return {"gate": normal(rng, *N, C, scale=3), "up": normal(rng, *N, C), **options}


def softmax(rng: Rng, N: Shape, C: int, masked: bool = False) -> Arguments:
    x = normal(rng, *N, C, scale=3)
    if masked:
        x[rng.random(x.shape) < 0.3] = -np.inf
        x[0] = -np.inf
    return {"x": x}


def split_heads(rng: Rng, B: int, T: int, nh: int, hs: int) -> Arguments:
    return {"x": normal(rng, B, T, nh * hs), "num_heads": nh}


def merge_heads(rng: Rng, B: int, T: int, nh: int, hs: int) -> Arguments:
    return {"x": normal(rng, B, nh, T, hs)}


def _dropout(rng: Rng, B: int, dropout: float, sequences: bool) -> Arguments:
    chosen = rng.integers(10**6, size=B, dtype=np.int32)
    if dropout == 0:
        return {}
    return {
        "sequences": _optional(chosen, sequences),
        "dropout": attribute(dropout),
        "seed": int(rng.integers(2**60)),
        "step": int(rng.integers(2**30)),
        "first_sequence": int(rng.integers(1000)),
    }


def flash_attention(
    rng: Rng,
    B: int,
    nh: int,
    nkv: int,
    T: int,
    S: int,
    hs: int,
    causal: bool = True,
    scale: float = 0,
    window: int = 0,
    softcap: float = 0,
    bias: bool = False,
    alibi: bool = False,
    documents: bool = False,
    dropout: float = 0,
    sequences: bool = False,
) -> Arguments:
    places = np.arange(T) + S - T
    begins = (rng.random((B, T)) < 0.2) & (places > 0)
    starts = np.maximum.accumulate(np.where(begins, places, 0), axis=1).astype(np.int32)
    return {
        "q": normal(rng, B, nh, T, hs),
        "k": normal(rng, B, nkv, S, hs),
        "v": normal(rng, B, nkv, S, hs),
        "bias": _optional(normal(rng, nh, T, S), bias),
        "alibi_slopes": _optional(np.abs(normal(rng, nh, scale=0.1)), alibi),
        "document_starts": _optional(starts, documents),
        "scale": attribute(scale),
        "causal": causal,
        "window": window,
        "softcap": attribute(softcap),
        **_dropout(rng, B, dropout, sequences),
    }


def rope(
    rng: Rng,
    B: int,
    nh: int,
    T: int,
    S: int,
    hs: int,
    layout: str = "interleaved",
    offset: int = 0,
    offsets: bool = False,
) -> Arguments:
    return {
        "x": normal(rng, B, nh, T, hs),
        "table": rope_table(S, hs).astype(np.float32),
        "offsets": _optional(rng.integers(S - T + 1, size=B, dtype=np.int32), offsets),
        "layout": layout,
        "offset": offset,
    }


def attention_scores(rng: Rng, **case: Any) -> Arguments:
    arguments = flash_attention(rng, **case)
    del arguments["v"]
    return arguments


def relative_bias(
    rng: Rng,
    R: int,
    nh: int,
    T: int,
    S: int,
    max_distance: int = 128,
    bidirectional: bool = False,
) -> Arguments:
    return {
        "weight": normal(rng, R, nh),
        "num_queries": T,
        "num_keys": S,
        "max_distance": max_distance,
        "bidirectional": bidirectional,
    }


def relative_scores(rng: Rng, nh: int, S: int, hs: int, **case: Any) -> Arguments:
    given = flash_attention(rng, nh=nh, S=S, hs=hs, **case)
    return {
        **{name: given[name] for name in ("q", "k", "document_starts", "scale", "window")},
        "r": normal(rng, nh, S, hs),
        "content_bias": normal(rng, nh, hs),
        "position_bias": normal(rng, nh, hs),
    }


def attention_mix(
    rng: Rng,
    B: int,
    nh: int,
    nkv: int,
    T: int,
    S: int,
    hs: int,
    dropout: float = 0,
    sequences: bool = False,
) -> Arguments:
    p = rng.random((B, nh, T, S), dtype=np.float32)
    return {
        "probabilities": p / p.sum(-1, keepdims=True),
        "v": normal(rng, B, nkv, S, hs),
        **_dropout(rng, B, dropout, sequences),
    }


def _targets(rng: Rng, N: int, V: int, ignore_index: int, all_ignored: bool) -> Integers:
    targets = rng.integers(V, size=N, dtype=np.int32)
    ignored = np.ones(N, dtype=bool) if all_ignored else rng.random(N) < IGNORED_SHARE
    targets[ignored] = ignore_index
    return targets


def cross_entropy(
    rng: Rng,
    N: int,
    V: int,
    C: int = 0,
    ignore_index: int = -1,
    normalizer: float = 0,
    all_ignored: bool = False,
) -> Arguments:
    return {
        "logits": normal(rng, N, V, scale=3),
        "targets": _targets(rng, N, V, ignore_index, all_ignored),
        "ignore_index": ignore_index,
        "normalizer": attribute(normalizer),
    }


def linear_cross_entropy(
    rng: Rng,
    N: int,
    C: int,
    V: int,
    bias: bool = False,
    ignore_index: int = -1,
    scale: float = 1.0,
    all_ignored: bool = False,
    logit_softcap: float = 0.0,
) -> Arguments:
    return {
        "hidden": normal(rng, N, C),
        "weight": normal(rng, V, C, scale=2 / math.sqrt(C)),
        "targets": _targets(rng, N, V, ignore_index, all_ignored),
        "bias": _optional(normal(rng, V), bias),
        "ignore_index": ignore_index,
        "scale": attribute(scale),
        "logit_softcap": attribute(logit_softcap),
    }


def _caches(rng: Rng, B: int, nkv: int, S: int, hs: int) -> Arguments:
    return {"k_cache": normal(rng, B, nkv, S, hs), "v_cache": normal(rng, B, nkv, S, hs)}


def attention_inference(
    rng: Rng,
    B: int,
    nh: int,
    nkv: int,
    T: int,
    S: int,
    hs: int,
    window: int = 0,
    softcap: float = 0,
    bias: bool = False,
    alibi: bool = False,
) -> Arguments:
    """Sequences of different lengths; what lies beyond them in the cache is NaN."""
    lengths = rng.integers(T, S + 1, size=B, dtype=np.int32)
    caches = _caches(rng, B, nkv, S, hs)
    for sequence, length in enumerate(lengths):
        for cache in caches.values():
            cache[sequence, :, length:] = np.nan
    return {
        "q": normal(rng, B, nh, T, hs),
        **caches,
        "lengths": lengths,
        "relative_bias": _optional(normal(rng, nh, S), bias),
        "alibi_slopes": _optional(np.abs(normal(rng, nh, scale=0.1)), alibi),
        "window": window,
        "softcap": attribute(softcap),
    }


def kv_cache_append(rng: Rng, B: int, nh: int, nkv: int, T: int, S: int, hs: int) -> Arguments:
    return {
        **_caches(rng, B, nkv, S, hs),
        "k": normal(rng, B, nkv, T, hs),
        "v": normal(rng, B, nkv, T, hs),
        "positions": rng.integers(S - T + 1, size=B, dtype=np.int32),
    }


def kv_cache_gather(rng: Rng, B: int, nh: int, nkv: int, T: int, S: int, hs: int) -> Arguments:
    chosen = rng.integers(B, size=B + 2, dtype=np.int32)  # beams are dropped and doubled
    return {**_caches(rng, B, nkv, S, hs), "rows": chosen}


def logits(rng: Rng, N: int, V: int, ties: bool = False) -> Arguments:
    values = normal(rng, N, V, scale=2)
    return {"logits": np.round(values) if ties else values}


def temperature(rng: Rng, temperature: float, **case: Any) -> Arguments:
    return {**logits(rng, **case), "temperature": attribute(temperature)}


def topk(rng: Rng, k: int, **case: Any) -> Arguments:
    return {**logits(rng, **case), "k": min(k, case["V"])}


def topp(rng: Rng, p: float, **case: Any) -> Arguments:
    return {**logits(rng, **case), "p": attribute(p)}


def categorical(rng: Rng, sequences: bool, **case: Any) -> Arguments:
    chosen = rng.integers(10**6, size=case["N"], dtype=np.int32)
    return {
        **logits(rng, **case),
        "sequences": _optional(chosen, sequences),
        "seed": int(rng.integers(2**60)),
        "step": int(rng.integers(2**30)),
    }


def flat(rng: Rng, size: int) -> Arguments:
    return {"x": normal(rng, size)}


def _scalar(value: float | None) -> Anything | None:
    return None if value is None else np.asarray(value, dtype=np.float32)


def clip(
    rng: Rng,
    size: int,
    norm: float,
    loss: float | None = None,
    max_norm: float = 1,
    skip_always: bool = False,
) -> Arguments:
    return {
        "x": normal(rng, size),
        "norm": _scalar(norm),
        "loss": _scalar(loss),
        "max_norm": attribute(max_norm),
        "skip_always": skip_always,
    }


def adamw(
    rng: Rng, size: int, step: int, grad_scale: float | None = None, skip: int | None = None
) -> Arguments:
    return {
        "param": normal(rng, size),
        "m": normal(rng, size, scale=0.1),
        "v": normal(rng, size, scale=0.1) ** 2,
        "grad": normal(rng, size),
        "grad_scale": _scalar(grad_scale),
        "skip": _scalar(skip),
        "lr": attribute(1e-2),
        "beta1": 0.9,  # the engine keeps these two in float64
        "beta2": 0.999,
        "eps": attribute(1e-8),
        "weight_decay": attribute(0.1),
        "step": step,
    }


def sgd(
    rng: Rng,
    size: int,
    m: bool = True,
    grad_scale: float | None = None,
    skip: int | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Arguments:
    return {
        "param": normal(rng, size),
        "grad": normal(rng, size),
        "m": _optional(normal(rng, size), m),
        "grad_scale": _scalar(grad_scale),
        "skip": _scalar(skip),
        "lr": attribute(1e-2),
        "momentum": attribute(momentum),
        "nesterov": nesterov,
        "weight_decay": attribute(weight_decay),
    }


def softcap(rng: Rng, N: int, V: int, cap: float, scale: float = 1.0) -> Arguments:
    return {"logits": normal(rng, N, V, scale=scale), "cap": attribute(cap)}


def softcap_backward(rng: Rng, N: int, V: int, cap: float, scale: float = 1.0) -> Arguments:
    capped = cap * np.tanh(normal(rng, N, V, scale=scale) / cap)
    return {
        "d_out": normal(rng, N, V),
        "out": capped.astype(np.float32),
        "cap": attribute(cap),
    }


def repetition(rng: Rng, N: int, V: int, M: int, penalty: float) -> Arguments:
    tokens = rng.integers(-1, V, size=(N, M), dtype=np.int32)
    return {
        "logits": normal(rng, N, V, scale=3),
        "tokens": tokens,
        "penalty": attribute(penalty),
    }


def dropout(
    rng: Rng, B: int, T: int, C: int, p: float, sequences: bool = False, **options: Any
) -> Arguments:
    chosen = rng.integers(10**6, size=B, dtype=np.int32)
    return {
        "x": normal(rng, B, T, C),
        "sequences": _optional(chosen, sequences),
        "p": attribute(p),
        "seed": int(rng.integers(-(2**60), 2**60)),
        "step": int(rng.integers(2**30)),
        **options,
    }


def matrix(rng: Rng, M: int, C: int) -> Arguments:
    return {"x": normal(rng, M, C)}
