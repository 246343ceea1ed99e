"""The whole model in NumPy float64: the GPT-2 settings of the family, both passes, training.

Covered: learned and sinusoidal positions or none, LayerNorm before a sub-layer or after it, GELU
in both forms, biases by group, output tied or with a weight of its own. Parameters have the
engine's names and layouts. The formulas are the definitions beside this file; here stands only
how they are put together. Nothing here is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from .attention import flash_attention_backward, flash_attention_forward
from .embedding import (
    embedding_backward,
    embedding_forward,
    positional_embedding_add_backward,
    positional_embedding_add_forward,
    sinusoidal_positions,
)
from .linear import linear_backward, linear_forward
from .loss import linear_cross_entropy_forward_backward
from .normalization import layernorm_backward, layernorm_forward
from .optimizer import adamw, clip, global_norm
from .result import Anything, Array, Integers, Results, as_tuple

Parameters: TypeAlias = dict[str, Array]
Batch: TypeAlias = tuple[Integers, Integers]  # tokens and targets, both [B, T]
Backward: TypeAlias = Callable[[Array], Array]  # gradient of an output -> gradient of the input

BIAS_GROUPS = frozenset({"qkv", "attention_out", "feed_forward", "norm"})
IGNORE_INDEX = -1


@dataclass(frozen=True)
class Config:
    """The fields of msltx.GPTConfig that matter here, under the same names."""

    vocab_size: int
    context_length: int
    embedding_dim: int
    num_layers: int
    num_heads: int
    ff_dim: int = 0  # 0: 4 embedding_dim
    norm_eps: float = 1e-5
    norm_placement: str = "pre"  # or post
    positions: frozenset[str] = frozenset({"learned"})  # any of learned, sinusoidal
    activation: str = "gelu_tanh"  # or gelu
    bias: frozenset[str] = BIAS_GROUPS  # "output" is one more group
    tie_weights: bool = True

    @property
    def ff_width(self) -> int:
        return self.ff_dim or 4 * self.embedding_dim

    @property
    def has_final_norm(self) -> bool:
        """Whether a norm follows the last block; placed post, the block ends with its own."""
        return self.norm_placement == "pre"


def parameter_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Give names and shapes of all parameters, in model order."""
    width, hidden, vocabulary = config.embedding_dim, config.ff_width, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"embed.tokens.weight": (vocabulary, width)}
    if "learned" in config.positions:
        shapes["embed.positions.weight"] = (config.context_length, width)

    def add(name: str, *shape: int, bias_group: str) -> None:
        shapes[f"{name}.weight"] = shape
        if bias_group in config.bias:
            shapes[f"{name}.bias"] = shape[:1]

    for block in (f"blocks.{i}" for i in range(config.num_layers)):
        add(f"{block}.norm1", width, bias_group="norm")
        add(f"{block}.attn.qkv", 3 * width, width, bias_group="qkv")
        add(f"{block}.attn.out", width, width, bias_group="attention_out")
        add(f"{block}.norm2", width, bias_group="norm")
        add(f"{block}.ff.in", hidden, width, bias_group="feed_forward")
        add(f"{block}.ff.out", width, hidden, bias_group="feed_forward")
    if config.has_final_norm:
        add("norm", width, bias_group="norm")
    if not config.tie_weights:
        shapes["head.weight"] = (vocabulary, width)
    if "output" in config.bias:
        shapes["head.bias"] = (vocabulary,)
    return shapes


def random_parameters(config: Config, rng: np.random.Generator, scale: float = 0.02) -> Parameters:
    """Draw every parameter around its neutral value, biases included, so that each one matters."""
    shapes = parameter_shapes(config)
    neutral = {name: float("norm" in name and name.endswith("weight")) for name in shapes}
    return {n: neutral[n] + scale * rng.standard_normal(shape) for n, shape in shapes.items()}


def _values(results: Results) -> Any:
    """Give the values of a definition's results alone."""
    values = tuple(result.value for result in as_tuple(results))
    return values if len(values) > 1 else values[0]


@dataclass
class GPT:
    """A model: parameters by name, and the gradients of the last backward.

    Every part's forward returns its output and a function that turns the gradient of that output
    into the gradient of its input, adding the parameters' gradients to `gradients` on its way.
    """

    config: Config
    parameters: Parameters
    gradients: Parameters = field(default_factory=dict)

    def forward(self, tokens: Integers) -> Array:
        """tokens [B, T] -> what enters the output projection [B, T, C]."""
        return self._trunk(tokens)[0]

    def logits(self, tokens: Integers) -> Array:
        """tokens [B, T] -> logits [B, T, V]."""
        weight, bias = self._head()
        return np.asarray(_values(linear_forward(self.forward(tokens), weight, bias)))

    def loss(self, tokens: Integers, targets: Integers, normalizer: float = 0) -> float:
        """Mean cross entropy over counted targets, or their sum / normalizer."""
        return float(self._loss(self.forward(tokens), targets, normalizer)[0])

    def forward_backward(
        self,
        tokens: Integers,
        targets: Integers,
        normalizer: float = 0,
        accumulate: bool = False,
    ) -> float:
        """Give the loss; `gradients` are overwritten, or added to."""
        if not accumulate:
            self.gradients = {name: np.zeros_like(p) for name, p in self.parameters.items()}
        hidden, trunk_backward = self._trunk(tokens)
        loss: float
        loss, d_hidden, d_weight, *d_bias = self._loss(hidden, targets, normalizer)
        self._add("embed.tokens.weight" if self.config.tie_weights else "head.weight", d_weight)
        if d_bias:
            self._add("head.bias", d_bias[0])
        trunk_backward(d_hidden)
        return loss

    def _head(self) -> tuple[Array, Array | None]:
        tied = self.config.tie_weights
        weight = self.parameters["embed.tokens.weight" if tied else "head.weight"]
        return weight, self.parameters.get("head.bias")

    def _loss(self, hidden: Array, targets: Integers, normalizer: float) -> tuple[Any, ...]:
        """Give the loss, then the gradients of the hidden, the head's weight and bias."""
        weight, bias = self._head()
        divisor = normalizer or max(int((targets != IGNORE_INDEX).sum()), 1)
        loss, *gradients = _values(
            linear_cross_entropy_forward_backward(
                hidden, weight, targets, bias, ignore_index=IGNORE_INDEX, scale=1 / divisor
            )
        )
        return float(loss), *gradients

    def _add(self, name: str, gradient: Array) -> None:
        """Add to a parameter's gradient; a bias that the model does not have is passed over."""
        if name in self.parameters:
            self.gradients[name] = self.gradients[name] + gradient

    def _trunk(self, tokens: Integers) -> tuple[Array, Backward]:
        x, embed_backward = self._embed(tokens)
        backwards = [embed_backward]
        for index in range(self.config.num_layers):
            x, backward = self._block(f"blocks.{index}", x)
            backwards.append(backward)
        if self.config.has_final_norm:
            x, backward = self._norm("norm", x)
            backwards.append(backward)

        def trunk_backward(d_out: Array) -> Array:
            for backward in reversed(backwards):
                d_out = backward(d_out)
            return d_out

        return x, trunk_backward

    def _embed(self, tokens: Integers) -> tuple[Array, Backward]:
        config = self.config
        x = _values(embedding_forward(tokens, self.parameters["embed.tokens.weight"]))
        if "learned" in config.positions:
            learned = self.parameters["embed.positions.weight"]
            x = _values(positional_embedding_add_forward(x, learned))
        if "sinusoidal" in config.positions:
            table = sinusoidal_positions(config.context_length, config.embedding_dim)
            x = _values(positional_embedding_add_forward(x, table))

        def backward(d_out: Array) -> Array:
            gradient = embedding_backward(tokens, d_out, vocab_size=config.vocab_size)
            self._add("embed.tokens.weight", gradient.value)
            gradient = positional_embedding_add_backward(
                d_out, context_length=config.context_length
            )
            self._add("embed.positions.weight", gradient.value)
            return d_out

        return x, backward

    def _block(self, name: str, x: Array) -> tuple[Array, Backward]:
        x, first = self._residual(f"{name}.norm1", self._attention, f"{name}.attn", x)
        x, second = self._residual(f"{name}.norm2", self._feed_forward, f"{name}.ff", x)
        return x, lambda d_out: first(second(d_out))

    def _residual(
        self,
        norm: str,
        sublayer: Callable[[str, Array], tuple[Array, Backward]],
        name: str,
        x: Array,
    ) -> tuple[Array, Backward]:
        """x + f(Norm(x)), or placed post Norm(x + f(x))."""
        if self.config.norm_placement == "pre":
            normal, norm_backward = self._norm(norm, x)
            out, f_backward = sublayer(name, normal)
            return x + out, lambda d_out: d_out + norm_backward(f_backward(d_out))

        out, f_backward = sublayer(name, x)
        normal, norm_backward = self._norm(norm, x + out)

        def backward(d_out: Array) -> Array:
            d_sum = norm_backward(d_out)
            return d_sum + f_backward(d_sum)

        return normal, backward

    def _attention(self, name: str, x: Array) -> tuple[Array, Backward]:
        """Causal self-attention; the rows of qkv are q heads, k heads, v heads."""
        batch, length, width = x.shape
        split = (batch, length, 3, self.config.num_heads, width // self.config.num_heads)
        qkv, qkv_backward = self._linear(f"{name}.qkv", x)
        q, k, v = qkv.reshape(split).transpose(2, 0, 3, 1, 4)  # each [B, nh, T, hs]
        mix, lse = _values(flash_attention_forward(q, k, v))
        merged = mix.transpose(0, 2, 1, 3).reshape(x.shape)
        out, out_backward = self._linear(f"{name}.out", merged)

        def backward(d_out: Array) -> Array:
            d_mix = out_backward(d_out).reshape(batch, length, *split[3:]).transpose(0, 2, 1, 3)
            d_qkv = np.stack(_values(flash_attention_backward(d_mix, mix, lse, q, k, v)))
            return qkv_backward(d_qkv.transpose(1, 3, 0, 2, 4).reshape(qkv.shape))

        return out, backward

    def _feed_forward(self, name: str, x: Array) -> tuple[Array, Backward]:
        hidden, in_backward = self._linear(f"{name}.in", x, self.config.activation)
        out, out_backward = self._linear(f"{name}.out", hidden)
        return out, lambda d_out: in_backward(out_backward(d_out))

    def _linear(self, name: str, x: Array, activation: str = "none") -> tuple[Array, Backward]:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters.get(f"{name}.bias")
        results = as_tuple(linear_forward(x, weight, bias, activation=activation))
        pre = results[1].value if len(results) > 1 else None

        def backward(d_out: Array) -> Array:
            d_x, d_weight, d_bias = _values(
                linear_backward(d_out, x, weight, pre, activation=activation)
            )
            self._add(f"{name}.weight", d_weight)
            self._add(f"{name}.bias", d_bias)
            return np.asarray(d_x)

        return results[0].value, backward

    def _norm(self, name: str, x: Array) -> tuple[Array, Backward]:
        gamma, beta = self.parameters[f"{name}.weight"], self.parameters.get(f"{name}.bias")
        out, mean, rstd = _values(layernorm_forward(x, gamma, beta, eps=self.config.norm_eps))

        def backward(d_out: Array) -> Array:
            d_x, d_gamma, d_beta = _values(layernorm_backward(d_out, x, gamma, mean, rstd))
            self._add(f"{name}.weight", d_gamma)
            self._add(f"{name}.bias", d_beta)
            return np.asarray(d_x)

        return out, backward


def gradient_norm(gradients: Mapping[str, Anything]) -> float:
    """Norm of all gradients taken as one vector."""
    together = np.concatenate([gradient.reshape(-1) for gradient in gradients.values()])
    return float(global_norm(together).value)


@dataclass
class Trainer:
    """AdamW with clipping by global norm.

    Tensors with two dimensions decay, embeddings and positions among them, as in nanoGPT; biases
    and norms do not.
    """

    model: GPT
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    grad_clip: float = 1.0
    steps: int = 0
    moments: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def step(self, micro_batches: Sequence[Batch], lr: float) -> float:
        """One optimizer step on all micro-batches together; give the loss before it.

        The loss is the mean over the counted targets of the whole step. A step with none, and one
        whose norm is not finite, changes nothing.
        """
        counted = sum(int((targets != IGNORE_INDEX).sum()) for _, targets in micro_batches)
        if counted == 0:
            return 0.0
        loss = 0.0
        for index, (tokens, targets) in enumerate(micro_batches):
            loss += self.model.forward_backward(tokens, targets, counted, accumulate=index > 0)
        self.update(lr)
        return loss

    def update(self, lr: float) -> None:
        """Clip the gradients and move the parameters."""
        gradients = self.model.gradients
        norm = np.asarray(gradient_norm(gradients))
        _, grad_scale, skip = clip(np.zeros(1), norm, max_norm=self.grad_clip)
        self.steps += 1
        for name, param in self.model.parameters.items():
            m, v = self.moments.get(name, (np.zeros_like(param), np.zeros_like(param)))
            param, m, v = _values(
                adamw(
                    param,
                    m,
                    v,
                    gradients[name],
                    grad_scale.value,
                    skip.value,
                    lr=lr,
                    beta1=self.betas[0],
                    beta2=self.betas[1],
                    eps=self.eps,
                    weight_decay=self.weight_decay if param.ndim > 1 else 0.0,
                    step=self.steps,
                )
            )
            self.model.parameters[name], self.moments[name] = param, (m, v)
