"""The table of definitions: which function, which outputs, which inputs to try it on.

The tests derive from it. A kernel without an entry here is not tested against NumPy, so a test
compares the two lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from . import inputs, tolerance
from .activation import (
    geglu_backward,
    geglu_forward,
    gelu_backward,
    gelu_forward,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    swiglu_backward,
    swiglu_forward,
)
from .attention import (
    attention_inference,
    attention_mix_backward,
    attention_mix_forward,
    attention_scores_backward,
    attention_scores_backward_bias,
    attention_scores_forward,
    flash_attention_backward,
    flash_attention_backward_bias,
    flash_attention_forward,
    merge_heads_backward,
    merge_heads_forward,
    split_heads_backward,
    split_heads_forward,
)
from .dropout import dropout_backward, dropout_forward
from .embedding import (
    embedding_backward,
    embedding_forward,
    positional_embedding_add_backward,
    positional_embedding_add_forward,
)
from .inputs import Arguments
from .kv_cache import kv_cache_append, kv_cache_gather
from .layout import cast, transpose
from .linear import (
    linear_backward,
    linear_backward_data,
    linear_backward_weights,
    linear_forward,
)
from .logits import repetition_penalty, softcap_logits, softcap_logits_backward
from .loss import (
    linear_cross_entropy_forward,
    linear_cross_entropy_forward_backward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from .normalization import (
    layernorm_backward,
    layernorm_backward_data,
    layernorm_backward_weights,
    layernorm_forward,
    residual_add_backward,
    residual_add_forward,
    residual_layernorm_backward,
    residual_layernorm_backward_data,
    residual_layernorm_forward,
)
from .optimizer import adam, adamw, clip, global_norm, sgd, zero
from .relative import (
    relative_attention_scores_backward,
    relative_attention_scores_backward_data,
    relative_attention_scores_backward_weights,
    relative_attention_scores_forward,
    relative_position_bias_backward,
    relative_position_bias_forward,
)
from .result import Anything, Definable, Result, as_tuple
from .rmsnorm import (
    residual_rmsnorm_backward,
    residual_rmsnorm_backward_data,
    residual_rmsnorm_forward,
    rmsnorm_backward,
    rmsnorm_backward_data,
    rmsnorm_backward_weights,
    rmsnorm_forward,
)
from .rope import rope_backward, rope_forward
from .sampling import argmax_sample, categorical_sample, temperature_scale, topk_mask, topp_mask
from .softmax import softmax_backward, softmax_forward

Case: TypeAlias = dict[str, Any]
Generate: TypeAlias = Callable[..., Arguments]


@dataclass(frozen=True)
class Definition:
    """A kernel's meaning.

    Attributes
    ----------
    function
        The definition; positional parameters are inputs, keyword-only ones attributes.
    outputs
        Names of what it may return, in order; some are there only with an option.
    generate
        generate(rng, **case) makes float32 and int32 inputs and attributes, by parameter name.
    cases
        Sizes and options that `generate` takes; the first is small enough for differences.
    differentiable
        Inputs that have a gradient.
    backward
        Name of the definition that gives it, or the names of those that share it.
    tol
        For float32.
    """

    function: Definable
    outputs: tuple[str, ...]
    generate: Generate
    cases: tuple[Case, ...]
    differentiable: tuple[str, ...] = ()
    backward: str | tuple[str, ...] | None = None
    tol: float = tolerance.FLOAT32


def split_arguments(function: Definable, arguments: Arguments) -> tuple[list[Any], Arguments]:
    """Give the positional inputs, those at the end that are None left out, and the attributes."""
    parameters = inspect.signature(function).parameters.values()
    positional = [
        arguments.get(p.name)
        for p in parameters
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    while positional and positional[-1] is None:
        positional.pop()
    keywords = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return positional, {name: a for name, a in arguments.items() if name in keywords}


def call(function: Definable, arguments: Arguments) -> tuple[Result, ...]:
    """Call a definition with arguments by name."""
    positional, attributes = split_arguments(function, arguments)
    return as_tuple(function(*positional, **attributes))


def backward_arguments(
    forward: Definition,
    backward: Definable,
    arguments: Arguments,
    cotangents: Mapping[str, Anything],
) -> Arguments:
    """Fill a backward's parameters by name, in float64.

    `d_<output>` is the cotangent of that output; anything else is an input, an output or an
    attribute of the forward.
    """
    results = call(forward.function, arguments)
    known = {
        **arguments,
        **sizes_of(arguments),
        **{name: result.value for name, result in zip(forward.outputs, results, strict=False)},
        **{f"d_{name}": cotangent for name, cotangent in cotangents.items()},
    }
    return {name: known[name] for name in inspect.signature(backward).parameters if name in known}


def forward_of(name: str) -> str:
    """Give the name of the forward that a backward, or a part of one, belongs to."""
    return name[: name.index("_backward")] + "_forward"


def sizes_of(arguments: Arguments) -> Arguments:
    """Give the attributes in which a backward is told a size that its inputs do not show."""
    sizes = {}
    if "tokens" in arguments:
        sizes["vocab_size"] = len(arguments["weight"])
    if "positions" in arguments:
        sizes["context_length"] = len(arguments["positions"])
    if "bidirectional" in arguments:
        sizes["num_buckets"] = len(arguments["weight"])
    if getattr(arguments.get("x"), "ndim", 0) == 4:  # [B, nh, T, hs] of merge_heads
        sizes["num_heads"] = arguments["x"].shape[1]
    return sizes


def _backward_of(
    forward: Definition,
    function: Definable,
    outputs: tuple[str, ...],
    options: tuple[Case, ...] = ({},),
) -> Definition:
    """Define a backward on the cases of its forward, the forward's outputs as it saves them.

    `options` are sets of attributes of the backward's own, to be tried on each case.
    """

    def generate(
        rng: np.random.Generator,
        without: tuple[str, ...] = (),
        partial_rows: int | None = None,
        **case: Any,
    ) -> Arguments:
        arguments = forward.generate(rng, **case)
        results = call(forward.function, arguments)
        cotangents = {
            name: rng.standard_normal(result.value.shape, dtype=np.float32)
            for name, result in zip(forward.outputs, results, strict=False)
        }
        filled = backward_arguments(forward, function, arguments, cotangents)
        if partial_rows is not None:
            filled["partial_rows"] = partial_rows
        return {
            name: a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == float else a
            for name, a in filled.items()
            if name not in without
        }

    saved = [n for n in ("mean", "rstd") if n in inspect.signature(function).parameters]
    recomputing = {**forward.cases[1], "without": tuple(saved)}
    cases = (*forward.cases, recomputing) if saved else forward.cases
    tried = tuple({**case, **option} for case in cases for option in options)
    return Definition(function, outputs, generate, tried, tol=forward.tol)


_ATTENTION_CASES: tuple[Case, ...] = (
    {"B": 2, "nh": 4, "nkv": 2, "T": 3, "S": 5, "hs": 3},
    {"B": 1, "nh": 1, "nkv": 1, "T": 1, "S": 1, "hs": 1},
    {"B": 2, "nh": 3, "nkv": 3, "T": 67, "S": 67, "hs": 17},
    {"B": 1, "nh": 2, "nkv": 1, "T": 129, "S": 129, "hs": 64},
    {"B": 1, "nh": 2, "nkv": 2, "T": 31, "S": 70, "hs": 32, "causal": False},
    {"B": 2, "nh": 2, "nkv": 2, "T": 9, "S": 9, "hs": 8, "scale": 0.3},
)
_ROW_CASES: tuple[Case, ...] = (
    {"N": (2, 3), "C": 5},
    {"N": (7,), "C": 31},
    {"N": (1,), "C": 1},
    {"N": (33,), "C": 129},
    {"N": (3, 5), "C": 1025},
)
_LINEAR_CASES: tuple[Case, ...] = (
    {"N": (2, 2), "C": 3, "O": 4, "activation": "gelu_tanh"},
    {"N": (1,), "C": 1, "O": 1},
    {"N": (5,), "C": 7, "O": 3, "bias": False},
    {"N": (3, 43), "C": 65, "O": 33, "activation": "gelu"},
    {"N": (129,), "C": 257, "O": 191, "activation": "gelu_tanh", "bias": False},
    {"N": (7,), "C": 1025, "O": 513},
    {"N": (2, 9), "C": 33, "O": 17, "activation": "relu"},
    {"N": (19,), "C": 17, "O": 67, "activation": "silu"},
)
_LOSS_CASES: tuple[Case, ...] = (
    {"N": 5, "C": 3, "V": 7},
    {"N": 1, "C": 1, "V": 1},
    {"N": 67, "C": 33, "V": 1031, "ignore_index": 0},
    {"N": 300, "C": 17, "V": 129},
    {"N": 3, "C": 5, "V": 11, "all_ignored": True},
)
_SAMPLING_CASES: tuple[Case, ...] = (
    {"N": 3, "V": 7},
    {"N": 1, "V": 1},
    {"N": 65, "V": 513},
    {"N": 2, "V": 5003},
    {"N": 4, "V": 100, "ties": True},
)
# The options of scores, apart and together, on sizes below and above a tile's.
_SCORE_OPTIONS: tuple[Case, ...] = (
    {"window": 1},
    {"window": 5, "causal": False},
    {"window": 70, "softcap": 2.0},
    {"softcap": 0.7},
    {"documents": True},
    {"alibi": True},
    {"bias": True},
    {"bias": True, "alibi": True, "documents": True, "window": 40, "softcap": 3.0, "scale": 0.4},
)
_FLASH_CASES: tuple[Case, ...] = (
    *_ATTENTION_CASES,
    *(
        {**case, **option}
        for case in (
            {"B": 2, "nh": 4, "nkv": 2, "T": 7, "S": 9, "hs": 8},
            {"B": 2, "nh": 2, "nkv": 1, "T": 131, "S": 131, "hs": 16},
        )
        for option in _SCORE_OPTIONS
    ),
    {"B": 1, "nh": 2, "nkv": 1, "T": 530, "S": 530, "hs": 8, "window": 100, "documents": True},
)
_DROPOUT_CASES: tuple[Case, ...] = (
    {"B": 2, "nh": 4, "nkv": 2, "T": 5, "S": 130, "hs": 3, "dropout": 0.4},
    {"B": 2, "nh": 2, "nkv": 1, "T": 70, "S": 70, "hs": 16, "dropout": 0.1, "sequences": True},
)
_CACHE_CASES: tuple[Case, ...] = (
    {"B": 3, "nh": 4, "nkv": 2, "T": 2, "S": 7, "hs": 5},
    {"B": 1, "nh": 1, "nkv": 1, "T": 1, "S": 1, "hs": 1},
    {"B": 2, "nh": 3, "nkv": 3, "T": 1, "S": 301, "hs": 33},
    {"B": 2, "nh": 2, "nkv": 1, "T": 65, "S": 129, "hs": 64},
)
_ROPE_CASES: tuple[Case, ...] = (
    {"B": 2, "nh": 3, "T": 3, "S": 5, "hs": 6},
    {"B": 1, "nh": 1, "T": 1, "S": 1, "hs": 2},
    {"B": 2, "nh": 3, "T": 67, "S": 67, "hs": 22},
    {"B": 1, "nh": 2, "T": 9, "S": 2049, "hs": 64, "offset": 2040},
    {"B": 3, "nh": 2, "T": 5, "S": 31, "hs": 518, "offsets": True},
)
_INFERENCE_CASES: tuple[Case, ...] = (
    *_CACHE_CASES,
    *(
        {**_CACHE_CASES[3], **option}
        for option in (
            {"window": 9},
            {"softcap": 1.5},
            {"bias": True},
            {"alibi": True},
            {"window": 70, "softcap": 4.0, "bias": True, "alibi": True},
        )
    ),
)
_FLAT_CASES: tuple[Case, ...] = ({"size": 6}, {"size": 1}, {"size": 1023}, {"size": 70_001})

_GROUPS: tuple[Case, ...] = ({"partial_rows": 0}, {"partial_rows": 4})

_FORWARDS: dict[str, Definition] = {
    "embedding_forward": Definition(
        embedding_forward,
        ("out",),
        inputs.embedding,
        (
            {"N": (2, 3), "V": 5, "C": 3},
            {"N": (1,), "V": 1, "C": 1},
            {"N": (3, 67), "V": 11, "C": 129},
            {"N": (257,), "V": 1031, "C": 33},
            {"N": (2, 5), "V": 7, "C": 9, "scale": 11.3},
        ),
        differentiable=("weight",),
        backward="embedding_backward",
    ),
    "positional_embedding_add_forward": Definition(
        positional_embedding_add_forward,
        ("out",),
        inputs.positions,
        (
            {"B": 2, "T": 3, "S": 5, "C": 4},
            {"B": 1, "T": 1, "S": 1, "C": 1},
            {"B": 3, "T": 65, "S": 70, "C": 129, "offset": 5},
        ),
        differentiable=("positions",),
        backward="positional_embedding_add_backward",
    ),
    "layernorm_forward": Definition(
        layernorm_forward,
        ("out", "mean", "rstd"),
        inputs.layernorm,
        (*_ROW_CASES, {"N": (9,), "C": 48, "beta": False, "eps": 1e-3}),
        differentiable=("x", "gamma", "beta"),
        backward="layernorm_backward",
    ),
    "residual_add_forward": Definition(
        residual_add_forward,
        ("out",),
        inputs.residual,
        _ROW_CASES,
        differentiable=("x", "residual"),
        backward="residual_add_backward",
    ),
    "residual_layernorm_forward": Definition(
        residual_layernorm_forward,
        ("out", "sum", "mean", "rstd"),
        inputs.residual_layernorm,
        _ROW_CASES,
        differentiable=("x", "gamma", "beta"),
        backward="residual_layernorm_backward",
    ),
    "linear_forward": Definition(
        linear_forward,
        ("out", "pre"),
        inputs.linear,
        _LINEAR_CASES,
        differentiable=("x", "weight", "bias"),
        backward="linear_backward",
    ),
    "gelu_forward": Definition(
        gelu_forward,
        ("out",),
        inputs.gelu,
        (*_ROW_CASES, *({**case, "approximate": "none"} for case in _ROW_CASES)),
        differentiable=("x",),
        backward="gelu_backward",
    ),
    "rmsnorm_forward": Definition(
        rmsnorm_forward,
        ("out", "rstd"),
        inputs.rmsnorm,
        (*_ROW_CASES, {"N": (9,), "C": 48, "plus_one": True, "eps": 1e-3}),
        differentiable=("x", "gamma"),
        backward="rmsnorm_backward",
    ),
    "residual_rmsnorm_forward": Definition(
        residual_rmsnorm_forward,
        ("out", "sum", "rstd"),
        inputs.residual_rmsnorm,
        (*_ROW_CASES, {"N": (9,), "C": 48, "plus_one": True}),
        differentiable=("x", "gamma"),
        backward="residual_rmsnorm_backward",
    ),
    **{
        f"{name}_forward": Definition(
            function,
            ("out",),
            inputs.activation,
            _ROW_CASES,
            differentiable=("x",),
            backward=f"{name}_backward",
        )
        for name, function in (
            ("silu", silu_forward),
            ("relu", relu_forward),
            ("sigmoid", sigmoid_forward),
        )
    },
    "swiglu_forward": Definition(
        swiglu_forward,
        ("out",),
        inputs.gate,
        _ROW_CASES,
        differentiable=("gate", "up"),
        backward="swiglu_backward",
    ),
    "geglu_forward": Definition(
        geglu_forward,
        ("out",),
        inputs.gate,
        (*_ROW_CASES, *({**case, "approximate": "none"} for case in _ROW_CASES)),
        differentiable=("gate", "up"),
        backward="geglu_backward",
    ),
    "dropout_forward": Definition(
        dropout_forward,
        ("out",),
        inputs.dropout,
        (
            {"B": 2, "T": 3, "C": 5, "p": 0.4},
            {"B": 1, "T": 1, "C": 1, "p": 0.5},
            {"B": 3, "T": 7, "C": 129, "p": 0.1, "sequences": True},
            {"B": 2, "T": 3, "C": 1025, "p": 0.9, "first_sequence": 5},
            {"B": 2, "T": 3, "C": 8, "p": 0.0},
        ),
        differentiable=("x",),
        backward="dropout_backward",
    ),
    "softmax_forward": Definition(
        softmax_forward,
        ("out",),
        inputs.softmax,
        (*_ROW_CASES, {"N": (8,), "C": 65, "masked": True}),
        differentiable=("x",),
        backward="softmax_backward",
    ),
    "split_heads_forward": Definition(
        split_heads_forward,
        ("out",),
        inputs.split_heads,
        ({"B": 2, "T": 3, "nh": 2, "hs": 3}, {"B": 1, "T": 67, "nh": 5, "hs": 17}),
        differentiable=("x",),
        backward="split_heads_backward",
    ),
    "merge_heads_forward": Definition(
        merge_heads_forward,
        ("out",),
        inputs.merge_heads,
        ({"B": 2, "T": 3, "nh": 2, "hs": 3}, {"B": 1, "T": 67, "nh": 5, "hs": 17}),
        differentiable=("x",),
        backward="merge_heads_backward",
    ),
    "rope_forward": Definition(
        rope_forward,
        ("out",),
        inputs.rope,
        (*_ROPE_CASES, *({**case, "layout": "half_split"} for case in _ROPE_CASES)),
        differentiable=("x",),
        backward="rope_backward",
    ),
    "attention_scores_forward": Definition(
        attention_scores_forward,
        ("out",),
        inputs.attention_scores,
        _FLASH_CASES,
        differentiable=("q", "k", "bias"),
        backward=("attention_scores_backward", "attention_scores_backward_bias"),
    ),
    "attention_mix_forward": Definition(
        attention_mix_forward,
        ("out",),
        inputs.attention_mix,
        (*_ATTENTION_CASES[:4], *_DROPOUT_CASES),
        differentiable=("probabilities", "v"),
        backward="attention_mix_backward",
    ),
    "flash_attention_forward": Definition(
        flash_attention_forward,
        ("out", "lse"),
        inputs.flash_attention,
        (
            *_FLASH_CASES,
            *_DROPOUT_CASES,
            {**_DROPOUT_CASES[1], **_SCORE_OPTIONS[-1]},
        ),
        differentiable=("q", "k", "v", "bias"),
        backward=("flash_attention_backward", "flash_attention_backward_bias"),
    ),
    "relative_position_bias_forward": Definition(
        relative_position_bias_forward,
        ("out",),
        inputs.relative_bias,
        (
            {"R": 6, "nh": 2, "T": 4, "S": 9, "max_distance": 7},
            {"R": 1, "nh": 1, "T": 1, "S": 1},
            {"R": 32, "nh": 3, "T": 300, "S": 300},
            {"R": 32, "nh": 2, "T": 1, "S": 200},
            {"R": 32, "nh": 2, "T": 70, "S": 150, "bidirectional": True},
            {"R": 5, "nh": 2, "T": 30, "S": 20, "bidirectional": True, "max_distance": 10},
            {"R": 16, "nh": 2, "T": 20, "S": 20, "max_distance": 5},
        ),
        differentiable=("weight",),
        backward="relative_position_bias_backward",
    ),
    "relative_attention_scores_forward": Definition(
        relative_attention_scores_forward,
        ("out",),
        inputs.relative_scores,
        (
            {"B": 2, "nh": 4, "nkv": 2, "T": 3, "S": 5, "hs": 3},
            {"B": 1, "nh": 1, "nkv": 1, "T": 1, "S": 1, "hs": 1},
            {"B": 2, "nh": 3, "nkv": 3, "T": 67, "S": 67, "hs": 17},
            {"B": 2, "nh": 2, "nkv": 1, "T": 70, "S": 131, "hs": 16, "scale": 0.3},
            {"B": 2, "nh": 2, "nkv": 2, "T": 9, "S": 9, "hs": 8, "window": 4, "documents": True},
            {"B": 1, "nh": 2, "nkv": 2, "T": 150, "S": 150, "hs": 8, "window": 40},
            {"B": 1, "nh": 2, "nkv": 2, "T": 9, "S": 5, "hs": 8},
        ),
        differentiable=("q", "k", "r", "content_bias", "position_bias"),
        backward="relative_attention_scores_backward",
    ),
    "softmax_cross_entropy_forward": Definition(
        softmax_cross_entropy_forward,
        ("loss", "lse"),
        inputs.cross_entropy,
        (*_LOSS_CASES, {"N": 9, "C": 1, "V": 13, "normalizer": 40.0}),
        differentiable=("logits",),
        backward="softmax_cross_entropy_backward",
    ),
    "linear_cross_entropy_forward": Definition(
        linear_cross_entropy_forward,
        ("loss",),
        inputs.linear_cross_entropy,
        (
            *_LOSS_CASES,
            {"N": 65, "C": 9, "V": 300, "bias": True, "scale": 0.25},
            {"N": 33, "C": 9, "V": 300, "bias": True, "logit_softcap": 2.0},
            {"N": 5, "C": 17, "V": 5003, "logit_softcap": 30.0},
        ),
        differentiable=("hidden", "weight", "bias"),
        backward="linear_cross_entropy_forward_backward",
    ),
}

_BACKWARDS: dict[str, tuple[Definable, tuple[str, ...]]] = {
    "embedding_backward": (embedding_backward, ("d_weight",)),
    "positional_embedding_add_backward": (positional_embedding_add_backward, ("d_positions",)),
    "layernorm_backward": (layernorm_backward, ("d_x", "d_gamma", "d_beta")),
    "residual_add_backward": (residual_add_backward, ("d_x", "d_residual")),
    "residual_layernorm_backward": (residual_layernorm_backward, ("d_x", "d_gamma", "d_beta")),
    "linear_backward": (linear_backward, ("d_x", "d_weight", "d_bias")),
    "gelu_backward": (gelu_backward, ("d_x",)),
    "rmsnorm_backward": (rmsnorm_backward, ("d_x", "d_gamma")),
    "residual_rmsnorm_backward": (residual_rmsnorm_backward, ("d_x", "d_gamma")),
    "silu_backward": (silu_backward, ("d_x",)),
    "relu_backward": (relu_backward, ("d_x",)),
    "sigmoid_backward": (sigmoid_backward, ("d_x",)),
    "swiglu_backward": (swiglu_backward, ("d_gate", "d_up")),
    "geglu_backward": (geglu_backward, ("d_gate", "d_up")),
    "dropout_backward": (dropout_backward, ("d_x",)),
    "softmax_backward": (softmax_backward, ("d_x",)),
    "split_heads_backward": (split_heads_backward, ("d_x",)),
    "merge_heads_backward": (merge_heads_backward, ("d_x",)),
    "rope_backward": (rope_backward, ("d_x",)),
    "attention_scores_backward": (attention_scores_backward, ("d_q", "d_k")),
    "attention_scores_backward_bias": (attention_scores_backward_bias, ("d_bias",)),
    "attention_mix_backward": (attention_mix_backward, ("d_probabilities", "d_v")),
    "flash_attention_backward": (flash_attention_backward, ("d_q", "d_k", "d_v")),
    "flash_attention_backward_bias": (flash_attention_backward_bias, ("d_bias",)),
    "relative_position_bias_backward": (relative_position_bias_backward, ("d_weight",)),
    "relative_attention_scores_backward": (
        relative_attention_scores_backward,
        ("d_q", "d_k", "d_r", "d_content_bias", "d_position_bias"),
    ),
    "relative_attention_scores_backward_data": (
        relative_attention_scores_backward_data,
        ("d_q", "d_k"),
    ),
    "relative_attention_scores_backward_weights": (
        relative_attention_scores_backward_weights,
        ("d_r", "d_content_bias", "d_position_bias"),
    ),
    "softmax_cross_entropy_backward": (softmax_cross_entropy_backward, ("d_logits",)),
}

DEFINITIONS: dict[str, Definition] = {
    **_FORWARDS,
    **{
        name: _backward_of(_FORWARDS[forward_of(name)], function, outputs)
        for name, (function, outputs) in _BACKWARDS.items()
    },
    "linear_cross_entropy_forward_backward": Definition(
        linear_cross_entropy_forward_backward,
        ("loss", "d_hidden", "d_weight", "d_bias"),
        inputs.linear_cross_entropy,
        _FORWARDS["linear_cross_entropy_forward"].cases,
    ),
    "linear_backward_data": _backward_of(
        _FORWARDS["linear_forward"],
        linear_backward_data,
        ("d_x", "d_pre", "d_bias_partials"),
        options=_GROUPS,
    ),
    "linear_backward_weights": Definition(
        linear_backward_weights, ("d_weight", "d_bias"), inputs.linear_weights, _LINEAR_CASES
    ),
    "layernorm_backward_data": _backward_of(
        _FORWARDS["layernorm_forward"],
        layernorm_backward_data,
        ("d_x", "d_gamma_partials", "d_beta_partials"),
        options=_GROUPS,
    ),
    "layernorm_backward_weights": Definition(
        layernorm_backward_weights, ("d_gamma", "d_beta"), inputs.norm_weights, _ROW_CASES
    ),
    "residual_layernorm_backward_data": _backward_of(
        _FORWARDS["residual_layernorm_forward"],
        residual_layernorm_backward_data,
        ("d_x", "d_gamma_partials", "d_beta_partials"),
        options=_GROUPS,
    ),
    "rmsnorm_backward_data": _backward_of(
        _FORWARDS["rmsnorm_forward"],
        rmsnorm_backward_data,
        ("d_x", "d_gamma_partials"),
        options=_GROUPS,
    ),
    "rmsnorm_backward_weights": Definition(
        rmsnorm_backward_weights, ("d_gamma",), inputs.rmsnorm_weights, _ROW_CASES
    ),
    "residual_rmsnorm_backward_data": _backward_of(
        _FORWARDS["residual_rmsnorm_forward"],
        residual_rmsnorm_backward_data,
        ("d_x", "d_gamma_partials"),
        options=_GROUPS,
    ),
    "attention_inference": Definition(
        attention_inference, ("out",), inputs.attention_inference, _INFERENCE_CASES
    ),
    "kv_cache_append": Definition(
        kv_cache_append, ("k_cache", "v_cache"), inputs.kv_cache_append, _CACHE_CASES
    ),
    "kv_cache_gather": Definition(
        kv_cache_gather, ("k_out", "v_out"), inputs.kv_cache_gather, _CACHE_CASES
    ),
    "softcap_logits": Definition(
        softcap_logits,
        ("out",),
        inputs.softcap,
        tuple(
            {"N": n, "V": v, "cap": cap, "scale": scale}
            for n, v in ((3, 7), (1, 1), (9, 513))
            for cap, scale in ((2.0, 3.0), (30.0, 0.01), (30.0, 100.0))
        ),
        differentiable=("logits",),
        backward="softcap_logits_backward",
    ),
    "softcap_logits_backward": Definition(
        softcap_logits_backward,
        ("d_logits",),
        inputs.softcap_backward,
        ({"N": 3, "V": 7, "cap": 2.0}, {"N": 9, "V": 513, "cap": 30.0, "scale": 20.0}),
    ),
    "repetition_penalty": Definition(
        repetition_penalty,
        ("out",),
        inputs.repetition,
        (
            {"N": 3, "V": 7, "M": 4, "penalty": 1.3},
            {"N": 1, "V": 1, "M": 9, "penalty": 0.5},
            {"N": 5, "V": 513, "M": 300, "penalty": 2.0},
            {"N": 4, "V": 100, "M": 0, "penalty": 2.0},
        ),
    ),
    "temperature_scale": Definition(
        temperature_scale,
        ("out",),
        inputs.temperature,
        tuple({**case, "temperature": t} for case in _SAMPLING_CASES for t in (0.7, 3.0)),
    ),
    "topk_mask": Definition(
        topk_mask,
        ("out",),
        inputs.topk,
        tuple({**case, "k": k} for case in _SAMPLING_CASES for k in (1, 5, 50)),
    ),
    "topp_mask": Definition(
        topp_mask,
        ("out",),
        inputs.topp,
        tuple({**case, "p": p} for case in _SAMPLING_CASES for p in (1e-3, 0.5, 0.95, 1.0)),
    ),
    "argmax_sample": Definition(argmax_sample, ("tokens",), inputs.logits, _SAMPLING_CASES),
    "categorical_sample": Definition(
        categorical_sample,
        ("tokens",),
        inputs.categorical,
        tuple({**case, "sequences": s} for case in _SAMPLING_CASES for s in (False, True)),
    ),
    "transpose": Definition(
        transpose,
        ("out",),
        inputs.matrix,
        (
            {"M": 3, "C": 5},
            {"M": 1, "C": 1},
            {"M": 17, "C": 1031},
            {"M": 1030, "C": 33},
            {"M": 0, "C": 4},
        ),
    ),
    "cast": Definition(
        cast,
        ("out",),
        inputs.cast,
        tuple(
            {"N": N, "C": C, "dtype": dtype}
            for N, C in (((3,), 5), ((1,), 1), ((2, 3), 1031), ((0,), 4))
            for dtype in ("float32", "bfloat16")
        ),
    ),
    "zero": Definition(zero, ("out",), inputs.flat, _FLAT_CASES),
    "global_norm": Definition(
        global_norm, ("norm",), inputs.flat, _FLAT_CASES, tol=tolerance.FLOAT32_LONG_SUMS
    ),
    "clip": Definition(
        clip,
        ("out", "grad_scale", "skip"),
        inputs.clip,
        (
            *({**case, "norm": n} for case in _FLAT_CASES for n in (0.0, 0.5, 30.0)),
            {"size": 5, "norm": 30.0, "max_norm": 0.0, "loss": 2.5},
            {"size": 5, "norm": np.inf},
            {"size": 5, "norm": np.nan},
            {"size": 5, "norm": 0.5, "loss": np.nan},
            {"size": 5, "norm": 0.5, "skip_always": True},
        ),
    ),
    "adamw": Definition(
        adamw,
        ("param", "m", "v"),
        inputs.adamw,
        tuple(
            {**case, "step": step, **more}
            for case in _FLAT_CASES
            for step, more in (
                (1, {}),
                (7, {"grad_scale": 0.3}),
                (1000, {"grad_scale": 1.0, "skip": 0}),
                (2, {"grad_scale": 0.3, "skip": 1}),
            )
        ),
    ),
    "adam": Definition(
        adam,
        ("param", "m", "v"),
        inputs.adamw,
        tuple(
            {**case, "step": step, **more}
            for case in _FLAT_CASES
            for step, more in (
                (1, {}),
                (7, {"grad_scale": 0.3}),
                (2, {"grad_scale": 0.3, "skip": 1}),
            )
        ),
    ),
    "sgd": Definition(
        sgd,
        ("param", "m"),
        inputs.sgd,
        tuple(
            {**case, **more}
            for case in _FLAT_CASES
            for more in (
                {"m": False, "weight_decay": 0.1},
                {"momentum": 0.9, "grad_scale": 0.3},
                {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
                {"momentum": 0.9, "m": False, "nesterov": True},
                {"momentum": 0.9, "grad_scale": 0.3, "skip": 1},
            )
        ),
    ),
}

__all__ = [
    "DEFINITIONS",
    "Definition",
    "backward_arguments",
    "call",
    "split_arguments",
]
