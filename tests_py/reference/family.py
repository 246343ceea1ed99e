"""The whole model family in NumPy float64, on a tape: every setting of msltx.GPTConfig.

gpt.py has the GPT-2 settings written out by hand, from the definitions of the kernels; this file
says what all settings mean, and the tape differentiates it. Nothing here is fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .attention import dropout_factors
from .dropout import dropout_forward
from .embedding import sinusoidal_positions
from .result import Array, Integers
from .tape import Node, concatenate

Fields = Mapping[str, Any]  # GPTConfig.to_dict() of a complete configuration

BUCKETS, MOST_DISTANCE = 32, 128  # of T5's relative positions (Raffel et al. 2020)


def random_parameters(
    shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator, scale: float
) -> dict[str, Array]:
    """Draw every parameter around its neutral value, biases included, so that each one matters."""
    neutral = {name: float("norm" in name and name.endswith("weight")) for name in shapes}
    return {n: neutral[n] + scale * rng.standard_normal(s) for n, s in shapes.items()}


def rope_frequencies(fields: Fields) -> tuple[Array, float]:
    """Radians per place of each pair of columns, and the factor of the rotated vectors."""
    half = fields["head_dim"] // 2
    exponent = np.arange(half) / half
    frequencies = fields["rope_theta"] ** -exponent
    scaling = fields["rope_scaling"] or {"kind": "none"}
    kind = scaling["kind"]
    if kind == "linear":
        return frequencies / scaling["factor"], 1.0
    if kind == "dynamic":
        # NTK-aware: the base grows as the context does beyond what was trained.
        original, context = scaling["original_context_length"], fields["context_length"]
        grown = scaling["factor"] * context / original - (scaling["factor"] - 1)
        if context > original:
            base = fields["rope_theta"] * grown ** (2 * half / (2 * half - 2))
            return base**-exponent, 1.0
    if kind == "yarn":
        # Pairs that turn often within the trained context stay, those that turn seldom stretch.
        context, width = scaling["original_context_length"], 2 * half

        def pair_of(turns: float) -> float:
            """Tell which pair, as a fraction, turns so often within the trained context."""
            length = context / (2 * math.pi * turns)
            return width * math.log(length) / (2 * math.log(fields["rope_theta"]))

        low = max(math.floor(pair_of(scaling["beta_fast"])), 0)
        high = min(math.ceil(pair_of(scaling["beta_slow"])), width - 1)
        ramp = np.clip((np.arange(half) - low) / max(high - low, 0.001), 0, 1)
        stretched = frequencies / scaling["factor"] * ramp + frequencies * (1 - ramp)
        return stretched, scaling["attention_factor"]
    if kind == "llama3":
        low, high = scaling["low_frequency_factor"], scaling["high_frequency_factor"]
        turns = scaling["original_context_length"] * frequencies / (2 * math.pi)
        smooth = np.clip((turns - low) / (high - low), 0, 1)
        return frequencies * (smooth + (1 - smooth) / scaling["factor"]), 1.0
    return frequencies, 1.0


def alibi_slopes(heads: int) -> Array:
    """2^(-8 i / n) for n heads, a power of two; for others those of n and every second of 2 n."""
    n = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / n) for i in range(n)]
    between = [2 ** (-8 * (2 * i + 1) / (2 * n)) for i in range(heads - n)]
    return np.array(slopes + between)


def relative_buckets(distances: Integers) -> Integers:
    """T5's rule for a decoder: exact up to 15, then by the logarithm up to 127, then one more."""
    exact = BUCKETS // 2
    far = np.maximum(distances, exact)
    steps = np.log(far / exact) / math.log(MOST_DISTANCE / exact) * (BUCKETS - exact)
    return np.where(
        distances < exact,
        np.maximum(distances, 0),
        np.minimum(exact + np.floor(steps + 1e-9).astype(int), BUCKETS - 1),
    )


def hash_name(name: str) -> int:
    """FNV-1a with 64 bits, as cpp/msltx/base/philox.h has it."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


@dataclass(frozen=True)
class Draw:
    """Which numbers dropout draws: seed of the training, step, number of the first sequence."""

    seed: int
    step: int = 0
    first_sequence: int = 0

    def options(self, place: str) -> dict[str, int]:
        """Give what the kernels' definitions take, for a place in the model."""
        return {
            "seed": self.seed ^ hash_name(place),
            "step": self.step,
            "first_sequence": self.first_sequence,
        }


@dataclass
class Family:
    """A model of any settings: parameters by name, and the gradients of the last backward.

    Nothing is dropped where `draw` is None.
    """

    fields: Fields
    parameters: dict[str, Array]
    gradients: dict[str, Array] = field(default_factory=dict)
    activations: dict[str, Array] = field(default_factory=dict)  # of the last forward, by name
    draw: Draw | None = None
    _nodes: dict[str, Node] = field(default_factory=dict)

    def logits(self, tokens: Integers) -> Array:
        """tokens [B, T] -> logits [B, T, V]."""
        self._nodes = {name: Node(value) for name, value in self.parameters.items()}
        return self._logits(tokens).value.reshape(*tokens.shape, -1)

    def hidden(self, tokens: Integers) -> Array:
        """tokens [B, T] -> what enters the output projection [B, T, C]."""
        self._nodes = {name: Node(value) for name, value in self.parameters.items()}
        return self._trunk(tokens).value

    def forward_backward(self, tokens: Integers, targets: Integers) -> float:
        """Give the mean loss over targets that are not -1; `gradients` are overwritten."""
        self._nodes = {name: Node(value) for name, value in self.parameters.items()}
        flat = targets.reshape(-1)
        counted = flat != -1
        weights = counted / max(int(counted.sum()), 1)
        loss = self._logits(tokens).cross_entropy(np.where(counted, flat, 0), weights)
        loss.backward()
        self.gradients = {
            name: np.broadcast_to(node.gradient, node.shape) for name, node in self._nodes.items()
        }
        return float(loss.value)

    def _seen(self, name: str, node: Node) -> Node:
        """Keep an activation under the name that msltx.GPT.trace gives it."""
        self.activations[name] = node.value
        return node

    def _logits(self, tokens: Integers) -> Node:
        x = self._trunk(tokens)
        x = x.reshape(tokens.size, x.shape[-1])
        if "head.project.weight" in self._nodes:
            x = self._linear("head.project", x)
        if self.fields["tie_weights"]:
            logits = x @ self._nodes["embed.tokens.weight"].transpose(1, 0)
            if "head.bias" in self._nodes:
                logits = logits + self._nodes["head.bias"]
        else:
            logits = self._linear("head", x)
        logits = self._capped(logits, self.fields["logit_softcap"])
        return self._seen("logits", logits)

    def _trunk(self, tokens: Integers) -> Node:
        x = self._embed(tokens)
        for layer in range(self.fields["num_layers"]):
            name = f"blocks.{layer}"
            for norm, part in (("norm1", "attn"), ("norm2", "ff")):
                x = self._join(f"{name}.{norm}", f"{name}.{part}", layer, x)
                self._seen(f"{name}.middle" if norm == "norm1" else name, x)
        return x if self.fields["norm_placement"] == "post" else self._norm("norm", x)

    def _embed(self, tokens: Integers) -> Node:
        fields = self.fields
        x = self._nodes["embed.tokens.weight"][tokens]
        if "embed.project.weight" in self._nodes:
            x = x @ self._nodes["embed.project.weight"].transpose(1, 0)
        x = x * fields["embedding_scale"]
        length = tokens.shape[1]
        if "learned" in fields["positions"]:
            x = x + self._nodes["embed.positions.weight"][:length]
        if "sinusoidal" in fields["positions"]:
            x = x + sinusoidal_positions(length, fields["embedding_dim"])
        return self._seen("embed", self._dropped("embed", x))

    def _dropped(self, place: str, x: Node) -> Node:
        """x [B, T, C], elements dropped in training."""
        rate = float(np.float32(self.fields["dropout"]))
        if self.draw is None or rate == 0:
            return x
        return x * dropout_forward(np.ones(x.shape), p=rate, **self.draw.options(place)).value

    def _join(self, norm: str, name: str, layer: int, x: Node) -> Node:
        def f(y: Node) -> Node:
            is_attention = name.endswith("attn")
            out = self._attention(name, layer, y) if is_attention else self._ff(name, y)
            return self._seen(f"{name}.out", out)

        placement = self.fields["norm_placement"]
        if placement == "pre":
            return x + self._dropped(norm, f(self._norm(norm, x)))
        if placement == "post":
            return self._norm(norm, x + self._dropped(norm, f(x)))
        if placement == "sublayer":
            return x + self._dropped(norm, self._norm(norm, f(x)))
        branch = self._norm(f"{norm}_post", f(self._norm(norm, x)))
        return x + self._dropped(norm, branch)

    def _norm(self, name: str, x: Node, rms: bool = False) -> Node:
        weight = self._nodes[f"{name}.weight"]
        if self.fields["norm_plus_one"]:
            weight = weight + 1.0
        if not rms and self.fields["norm"] == "layernorm":
            x = x - x.mean()
        out = x * ((x * x).mean() + self.fields["norm_eps"]).power(-0.5) * weight
        out = out + self._nodes[f"{name}.bias"] if f"{name}.bias" in self._nodes else out
        return self._seen(name, out)

    def _linear(self, name: str, x: Node) -> Node:
        out = x @ self._nodes[f"{name}.weight"].transpose(1, 0)
        return out + self._nodes[f"{name}.bias"] if f"{name}.bias" in self._nodes else out

    def _ff(self, name: str, x: Node) -> Node:
        pre, activation = self._linear(f"{name}.in", x), self.fields["activation"]
        self._seen(f"{name}.pre", pre)
        width = self.fields["ff_dim"]
        if activation == "swiglu":
            gate = pre[..., :width]
            hidden = gate * gate.sigmoid() * pre[..., width:]
        elif activation == "geglu":
            hidden = self._gelu_tanh(pre[..., :width]) * pre[..., width:]
        elif activation == "gelu_tanh":
            hidden = self._gelu_tanh(pre)
        elif activation == "gelu":
            hidden = pre * ((pre * math.sqrt(0.5)).erf() + 1.0) * 0.5
        elif activation == "silu":
            hidden = pre * pre.sigmoid()
        else:
            hidden = pre.relu()
        return self._linear(f"{name}.out", self._seen(f"{name}.act", hidden))

    @staticmethod
    def _gelu_tanh(x: Node) -> Node:
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * (inner.tanh() + 1.0) * 0.5

    @staticmethod
    def _capped(x: Node, cap: float | None) -> Node:
        return (x * (1 / cap)).tanh() * cap if cap else x

    def _attention(self, name: str, layer: int, x: Node) -> Node:
        fields = self.fields
        batch, length, _ = x.shape
        heads, kv_heads, size = fields["num_heads"], fields["num_kv_heads"], fields["head_dim"]
        qkv = self._linear(f"{name}.qkv", x).reshape(batch, length, heads + 2 * kv_heads, size)
        q, k, v = qkv[:, :, :heads], qkv[:, :, heads : heads + kv_heads], qkv[:, :, -kv_heads:]
        if fields["qk_norm"]:
            q = self._norm(f"{name}.q_norm", q, rms=True)
            k = self._norm(f"{name}.k_norm", k, rms=True)
        if "rope" in fields["positions"]:
            q, k = self._rotated(q), self._rotated(k)
        of_head = np.arange(heads) // (heads // kv_heads)
        for part, node in (("q", q), ("k", k), ("v", v)):
            self._seen(f"{name}.{part}", node.transpose(0, 2, 1, 3))
        q, k, v = (n.transpose(0, 2, 1, 3) for n in (q, k[:, :, of_head], v[:, :, of_head]))
        query, key = np.arange(length)[:, None], np.arange(length)
        if "relative_xl" in fields["positions"]:
            products = self._relative_products(f"{name}.relative", q, k)
        else:
            products = q @ k.transpose(0, 1, 3, 2)
        scores = self._capped(products * fields["attention_scale"], fields["attention_softcap"])
        if "alibi" in fields["positions"]:
            scores = scores - alibi_slopes(heads)[:, None, None] * np.maximum(query - key, 0)
        if "relative_t5" in fields["positions"]:
            bias = self._nodes["embed.relative.weight"][relative_buckets(query - key)]
            scores = scores + bias.transpose(2, 0, 1)
        hidden = key > query
        pattern = fields["sliding_window"]
        windows = pattern if isinstance(pattern, list) else [pattern]
        window = windows[layer % len(windows)]
        if window:
            hidden = hidden | (query - key >= window)
        scores = self._seen(f"{name}.scores", scores.masked(hidden))
        probabilities = self._seen(f"{name}.probabilities", scores.softmax())
        if self.draw is not None and fields["dropout"]:
            draw = self.draw.options(name)
            shape = (batch, heads, length, length)
            probabilities = probabilities * dropout_factors(
                shape, fields["dropout"], **draw, sequences=None
            )
        mix = self._seen(f"{name}.mix", probabilities @ v)
        return self._linear(
            f"{name}.out", mix.transpose(0, 2, 1, 3).reshape(batch, length, heads * size)
        )

    def _relative_products(self, name: str, q: Node, k: Node) -> Node:
        """Give (q + u) k + (q + v) r of q and k [B, nh, T, hs], r the encoded distance times a
        matrix (Dai et al. 2019).
        """
        batch, heads, length, size = q.shape
        u, v = (
            self._nodes[f"{name}.{bias}"].reshape(heads, 1, size)
            for bias in ("content_bias", "position_bias")
        )
        encodings = Node(sinusoidal_positions(length, self.fields["embedding_dim"]))
        r = self._linear(name, encodings).reshape(length, heads, size)
        distance = np.arange(length)[:, None] - np.arange(length)
        r = r[np.maximum(distance, 0)].transpose(2, 0, 3, 1)  # nh, T, hs, S
        position = (q + v).reshape(batch, heads, length, 1, size) @ r
        return (q + u) @ k.transpose(0, 1, 3, 2) + position.reshape(batch, heads, length, length)

    def _rotated(self, x: Node) -> Node:
        """Rotate column i with column i + hs / 2 of x [B, T, n, hs] (the half-split layout)."""
        frequencies, factor = rope_frequencies(self.fields)
        angle = np.arange(x.shape[1])[:, None, None] * frequencies
        cos, sin = factor * np.cos(angle), factor * np.sin(angle)
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        return concatenate([a * cos - b * sin, b * cos + a * sin])
