"""Every kernel on NumPy arrays. Made by script/generate_kernel_docs.py."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from msltx._composed_kernels import feed_forward_network as feed_forward_network
from msltx._composed_kernels import layernorm_backward as layernorm_backward
from msltx._composed_kernels import linear_backward as linear_backward
from msltx._composed_kernels import (
    relative_attention_scores_backward as relative_attention_scores_backward,
)
from msltx._composed_kernels import residual_layernorm_backward as residual_layernorm_backward
from msltx._composed_kernels import residual_rmsnorm_backward as residual_rmsnorm_backward
from msltx._composed_kernels import rmsnorm_backward as rmsnorm_backward
from msltx._composed_kernels import softmax_inplace as softmax_inplace

Float32: TypeAlias = npt.NDArray[np.float32]
Int32: TypeAlias = npt.NDArray[np.int32]
Integers: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[Any] | int

ALIASES: dict[str, str]

def embedding_forward(
    tokens: Integers,
    weight: Float32,
    *,
    scale: float = 1.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def embedding_backward(
    tokens: Integers,
    d_out: Float32,
    *,
    vocab_size: int,
    accumulate: bool = False,
    scale: float = 1.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def positional_embedding_add_forward(
    x: Float32,
    positions: Float32,
    offsets: Integers | None = None,
    *,
    offset: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def positional_embedding_add_backward(
    d_out: Float32,
    *,
    context_length: int,
    offset: int = 0,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def layernorm_forward(
    x: Float32,
    gamma: Float32,
    beta: Float32 | None = None,
    *,
    eps: float = 1e-05,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def layernorm_backward_data(
    d_out: Float32,
    x: Float32,
    gamma: Float32,
    mean: Float32 | None = None,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-05,
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
@overload
def layernorm_backward_weights(
    d_gamma_partials: Float32,
    d_beta_partials: None = None,
    *,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
@overload
def layernorm_backward_weights(
    d_gamma_partials: Float32,
    d_beta_partials: Float32,
    *,
    accumulate: bool = False,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def residual_layernorm_forward(
    x: Float32,
    residual: Float32,
    gamma: Float32,
    beta: Float32 | None = None,
    *,
    eps: float = 1e-05,
    out: tuple[Float32 | None, Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32, Float32]: ...
def residual_layernorm_backward_data(
    d_out: Float32,
    d_sum: Float32 | None,
    sum: Float32,
    gamma: Float32,
    mean: Float32 | None = None,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-05,
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def rmsnorm_forward(
    x: Float32,
    gamma: Float32,
    *,
    eps: float = 1e-05,
    plus_one: bool = False,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def rmsnorm_backward_data(
    d_out: Float32,
    x: Float32,
    gamma: Float32,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-05,
    plus_one: bool = False,
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def rmsnorm_backward_weights(
    d_gamma_partials: Float32,
    *,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def residual_rmsnorm_forward(
    x: Float32,
    residual: Float32,
    gamma: Float32,
    *,
    eps: float = 1e-05,
    plus_one: bool = False,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def residual_rmsnorm_backward_data(
    d_out: Float32,
    d_sum: Float32 | None,
    sum: Float32,
    gamma: Float32,
    rstd: Float32 | None = None,
    *,
    eps: float = 1e-05,
    plus_one: bool = False,
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
@overload
def linear_forward(
    x: Float32,
    weight: Float32,
    bias: Float32 | None = None,
    *,
    activation: Literal["none"] = "none",
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
@overload
def linear_forward(
    x: Float32,
    weight: Float32,
    bias: Float32 | None = None,
    *,
    activation: Literal["gelu_tanh", "gelu", "relu", "silu"],
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
@overload
def linear_backward_data(
    d_out: Float32,
    weight: Float32,
    pre: Float32 | None = None,
    *,
    activation: Literal["none"] = "none",
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
@overload
def linear_backward_data(
    d_out: Float32,
    weight: Float32,
    pre: Float32 | None = None,
    *,
    activation: Literal["gelu_tanh", "gelu", "relu", "silu"],
    partial_rows: int = 0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
@overload
def linear_backward_weights(
    x: Float32,
    d_pre: Float32,
    d_bias_partials: None = None,
    *,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
@overload
def linear_backward_weights(
    x: Float32,
    d_pre: Float32,
    d_bias_partials: Float32,
    *,
    accumulate: bool = False,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def gelu_forward(
    x: Float32,
    *,
    approximate: Literal["tanh", "none"] = "tanh",
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def gelu_backward(
    d_out: Float32,
    x: Float32,
    *,
    approximate: Literal["tanh", "none"] = "tanh",
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def silu_forward(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def silu_backward(
    d_out: Float32, x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def relu_forward(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def relu_backward(
    d_out: Float32, x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def sigmoid_forward(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def sigmoid_backward(
    d_out: Float32, x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def swiglu_forward(
    gate: Float32, up: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def swiglu_backward(
    d_out: Float32,
    gate: Float32,
    up: Float32,
    *,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def geglu_forward(
    gate: Float32,
    up: Float32,
    *,
    approximate: Literal["tanh", "none"] = "tanh",
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def geglu_backward(
    d_out: Float32,
    gate: Float32,
    up: Float32,
    *,
    approximate: Literal["tanh", "none"] = "tanh",
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def dropout_forward(
    x: Float32,
    sequences: Integers | None = None,
    *,
    p: float,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def dropout_backward(
    d_out: Float32,
    sequences: Integers | None = None,
    *,
    p: float,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def residual_add_forward(
    x: Float32, residual: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def residual_add_backward(
    d_out: Float32,
    *,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def softmax_forward(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def softmax_backward(
    d_out: Float32, forward_out: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def split_heads_forward(
    x: Float32, *, num_heads: int, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def split_heads_backward(
    d_out: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def merge_heads_forward(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def merge_heads_backward(
    d_out: Float32, *, num_heads: int, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def rope_forward(
    x: Float32,
    table: Float32,
    offsets: Integers | None = None,
    *,
    layout: Literal["interleaved", "half_split"] = "interleaved",
    offset: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def rope_backward(
    d_out: Float32,
    table: Float32,
    offsets: Integers | None = None,
    *,
    layout: Literal["interleaved", "half_split"] = "interleaved",
    offset: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def attention_scores_forward(
    q: Float32,
    k: Float32,
    bias: Float32 | None = None,
    alibi_slopes: Float32 | None = None,
    document_starts: Integers | None = None,
    *,
    scale: float = 0.0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def attention_scores_backward(
    d_out: Float32,
    q: Float32,
    k: Float32,
    document_starts: Integers | None = None,
    *,
    scale: float = 0.0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def attention_scores_backward_bias(
    d_out: Float32,
    document_starts: Integers | None = None,
    *,
    causal: bool = True,
    window: int = 0,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def attention_mix_forward(
    probabilities: Float32,
    v: Float32,
    sequences: Integers | None = None,
    *,
    dropout: float = 0.0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def attention_mix_backward(
    d_out: Float32,
    probabilities: Float32,
    v: Float32,
    sequences: Integers | None = None,
    *,
    dropout: float = 0.0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def flash_attention_forward(
    q: Float32,
    k: Float32,
    v: Float32,
    bias: Float32 | None = None,
    alibi_slopes: Float32 | None = None,
    document_starts: Integers | None = None,
    sequences: Integers | None = None,
    *,
    scale: float = 0.0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def flash_attention_backward(
    d_out: Float32,
    forward_out: Float32,
    lse: Float32,
    q: Float32,
    k: Float32,
    v: Float32,
    bias: Float32 | None = None,
    alibi_slopes: Float32 | None = None,
    document_starts: Integers | None = None,
    sequences: Integers | None = None,
    *,
    scale: float = 0.0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def flash_attention_backward_bias(
    d_out: Float32,
    forward_out: Float32,
    lse: Float32,
    q: Float32,
    k: Float32,
    v: Float32,
    bias: Float32 | None = None,
    alibi_slopes: Float32 | None = None,
    document_starts: Integers | None = None,
    sequences: Integers | None = None,
    *,
    scale: float = 0.0,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    step: int = 0,
    first_sequence: int = 0,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def relative_position_bias_forward(
    weight: Float32,
    *,
    num_queries: int,
    num_keys: int,
    max_distance: int = 128,
    bidirectional: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def relative_position_bias_backward(
    d_out: Float32,
    *,
    num_buckets: int,
    max_distance: int = 128,
    bidirectional: bool = False,
    accumulate: bool = False,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def relative_attention_scores_forward(
    q: Float32,
    k: Float32,
    r: Float32,
    content_bias: Float32,
    position_bias: Float32,
    document_starts: Integers | None = None,
    *,
    scale: float = 0.0,
    window: int = 0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def relative_attention_scores_backward_data(
    d_out: Float32,
    q: Float32,
    k: Float32,
    r: Float32,
    content_bias: Float32,
    position_bias: Float32,
    document_starts: Integers | None = None,
    *,
    scale: float = 0.0,
    window: int = 0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def relative_attention_scores_backward_weights(
    d_out: Float32,
    q: Float32,
    k: Float32,
    r: Float32,
    content_bias: Float32,
    position_bias: Float32,
    document_starts: Integers | None = None,
    *,
    scale: float = 0.0,
    window: int = 0,
    accumulate: bool = False,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def softmax_cross_entropy_forward(
    logits: Float32,
    targets: Integers,
    *,
    ignore_index: int = -1,
    normalizer: float = 0.0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def softmax_cross_entropy_backward(
    logits: Float32,
    targets: Integers,
    lse: Float32,
    *,
    ignore_index: int = -1,
    normalizer: float = 0.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def linear_cross_entropy_forward(
    hidden: Float32,
    weight: Float32,
    targets: Integers,
    bias: Float32 | None = None,
    *,
    ignore_index: int = -1,
    scale: float = 1.0,
    logit_softcap: float = 0.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
@overload
def linear_cross_entropy_forward_backward(
    hidden: Float32,
    weight: Float32,
    targets: Integers,
    bias: None = None,
    *,
    ignore_index: int = -1,
    scale: float = 1.0,
    accumulate: bool = False,
    logit_softcap: float = 0.0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
@overload
def linear_cross_entropy_forward_backward(
    hidden: Float32,
    weight: Float32,
    targets: Integers,
    bias: Float32,
    *,
    ignore_index: int = -1,
    scale: float = 1.0,
    accumulate: bool = False,
    logit_softcap: float = 0.0,
    out: tuple[Float32 | None, Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32, Float32]: ...
def transpose(x: Float32, *, out: Float32 | None = None, backend: str | None = None) -> Float32: ...
def cast(
    x: Float32,
    *,
    dtype: Literal["float32", "bfloat16"],
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def zero(x: Float32, *, out: Float32 | None = None, backend: str | None = None) -> Float32: ...
def global_norm(
    x: Float32, *, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
@overload
def clip(
    x: None,
    norm: Float32,
    loss: Float32 | None = None,
    *,
    max_norm: float = 1.0,
    skip_always: bool = False,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
@overload
def clip(
    x: Float32,
    norm: Float32,
    loss: Float32 | None = None,
    *,
    max_norm: float = 1.0,
    skip_always: bool = False,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def adamw(
    param: Float32,
    m: Float32,
    v: Float32,
    grad: Float32,
    grad_scale: Float32 | None = None,
    skip: Float32 | None = None,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    weight_decay: float = 0.01,
    step: int = 1,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
def adam(
    param: Float32,
    m: Float32,
    v: Float32,
    grad: Float32,
    grad_scale: Float32 | None = None,
    skip: Float32 | None = None,
    *,
    lr: float = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-08,
    weight_decay: float = 0.0,
    step: int = 1,
    out: tuple[Float32 | None, Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32, Float32]: ...
@overload
def sgd(
    param: Float32,
    grad: Float32,
    m: None = None,
    grad_scale: Float32 | None = None,
    skip: Float32 | None = None,
    *,
    lr: float = 0.001,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
@overload
def sgd(
    param: Float32,
    grad: Float32,
    m: Float32,
    grad_scale: Float32 | None = None,
    skip: Float32 | None = None,
    *,
    lr: float = 0.001,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def softcap_logits(
    logits: Float32, *, cap: float, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def softcap_logits_backward(
    d_out: Float32,
    forward_out: Float32,
    *,
    cap: float,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def repetition_penalty(
    logits: Float32,
    tokens: Integers,
    *,
    penalty: float,
    ignore_index: int = -1,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def temperature_scale(
    logits: Float32,
    *,
    temperature: float = 1.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...
def topk_mask(
    logits: Float32, *, k: int, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def topp_mask(
    logits: Float32, *, p: float, out: Float32 | None = None, backend: str | None = None
) -> Float32: ...
def argmax_sample(
    logits: Float32, *, out: Int32 | None = None, backend: str | None = None
) -> Int32: ...
def categorical_sample(
    logits: Float32,
    sequences: Integers | None = None,
    *,
    seed: int = 0,
    step: int = 0,
    out: Int32 | None = None,
    backend: str | None = None,
) -> Int32: ...
def kv_cache_append(
    k_cache: Float32,
    v_cache: Float32,
    k: Float32,
    v: Float32,
    positions: Integers,
    *,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def kv_cache_gather(
    k_cache: Float32,
    v_cache: Float32,
    rows: Integers,
    *,
    out: tuple[Float32 | None, Float32 | None] | None = None,
    backend: str | None = None,
) -> tuple[Float32, Float32]: ...
def attention_inference(
    q: Float32,
    k_cache: Float32,
    v_cache: Float32,
    lengths: Integers,
    relative_bias: Float32 | None = None,
    alibi_slopes: Float32 | None = None,
    *,
    scale: float = 0.0,
    window: int = 0,
    softcap: float = 0.0,
    out: Float32 | None = None,
    backend: str | None = None,
) -> Float32: ...

embedding_lookup = embedding_forward
apply_positional_encoding = positional_embedding_add_forward
qkv_projection = linear_forward
scaled_dot_product_attention = flash_attention_forward
mhsa_output_projection = linear_forward
layer_norm = layernorm_forward
output_logits_projection = linear_forward
cross_entropy_loss = softmax_cross_entropy_forward
loss_gradient = softmax_cross_entropy_backward
zero_gradients = zero
adamw_optimizer = adamw
gradient_clipping = clip
qkv_projection_inference = linear_forward
scaled_dot_product_attention_inference = attention_inference
transpose_forward = transpose
cast_forward = cast
zero_forward = zero
global_norm_forward = global_norm
clip_forward = clip
adamw_forward = adamw
adam_forward = adam
sgd_forward = sgd
softcap_logits_forward = softcap_logits
repetition_penalty_forward = repetition_penalty
temperature_scale_forward = temperature_scale
topk_mask_forward = topk_mask
topp_mask_forward = topp_mask
argmax_sample_forward = argmax_sample
categorical_sample_forward = categorical_sample
kv_cache_append_forward = kv_cache_append
kv_cache_gather_forward = kv_cache_gather
attention_inference_forward = attention_inference
