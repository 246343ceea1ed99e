"""Names for what a trace of the engine's ops holds: the activations of msltx.GPT.trace.

An op is known by its scope ("blocks.0.attn"), its name and, where a scope has several of a kind,
their order. What has no name of its own gets that of scope, op and output, so that nothing is lost.
"""

from __future__ import annotations

import re
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from msltx._core import GPTConfig

Array = npt.NDArray[Any]


class TracedOp(TypedDict):
    """An op that ran: what it wrote and, where asked for, what it read."""

    op: str
    scope: str
    tensors: dict[str, Array]
    attributes: dict[str, Any]


_ADDING_NORMS = {"residual_layernorm_forward", "residual_rmsnorm_forward"}
_SCORES = {"attention_scores_forward", "relative_attention_scores_forward"}
# Attention, whose q, k and v are what it reads; of the fused one, scores and probabilities are
# computed anew from them.
WITH_INPUTS = {"flash_attention_forward", "attention_mix_forward", *_SCORES}
_SCORE_INPUTS = ("bias", "alibi_slopes", "document_starts")
_SCORE_ATTRIBUTES = ("scale", "causal", "window", "softcap")


class _Names:
    """The activations named so far, of a batch of B sequences of T tokens."""

    def __init__(self, config: GPTConfig, shape: tuple[int, ...], backend: str) -> None:
        self.config, self.backend = config, backend
        self.batch, self.length = shape
        self.found: dict[str, Array] = {}
        self._linears: dict[str, int] = {}  # linear layers seen, by scope
        self._heads: dict[str, list[Array]] = {}  # normalized heads, by scope

    def put(self, name: str, array: Array) -> None:
        """Keep an activation, rows (B T, ...) as (B, T, ...); the last of a name is the one."""
        if array.ndim in (1, 2) and array.shape[0] == self.batch * self.length:
            array = array.reshape(self.batch, self.length, *array.shape[1:])
        self.found.pop(name, None)
        self.found[name] = array

    def add(self, traced: TracedOp) -> None:
        scope, op, tensors = traced["scope"], traced["op"], traced["tensors"]
        if scope == "embed":
            if op == "embedding_forward":
                self.put("embed.tokens", tensors["out"])
            self.put("embed", tensors["out"])
        elif scope == "head":
            self._head(op, tensors)
        elif re.search(r"norm[12]?(_post)?$", scope):
            self._norm(scope, op, tensors)
        elif scope.endswith(".ff"):
            self._feed_forward(scope, op, tensors)
        elif scope.endswith(".attn"):
            self._attention(scope, traced)
        elif scope.endswith(".relative"):  # T5's bias, or Transformer-XL's projected distances
            self.found[scope] = tensors["out"]
        elif scope:
            self._other(scope, op, tensors)

    def _other(self, scope: str, op: str, tensors: dict[str, Array]) -> None:
        for field, array in tensors.items():
            kind = op.removesuffix("_forward")
            self.put(f"{scope}.{kind}" + ("" if field == "out" else f".{field}"), array)

    def _order(self, scope: str) -> int:
        """Count the linear layers of a scope: 0 for the first."""
        seen = self._linears.get(scope, 0)
        self._linears[scope] = seen + 1
        return seen

    def _stream_into(self, norm: str) -> str:
        """Name the residual stream that enters what the norm stands before."""
        if norm == "norm":
            return f"blocks.{self.config.num_layers - 1}"
        block, _, which = norm.rpartition(".")
        layer = int(block.removeprefix("blocks."))
        return f"{block}.middle" if which == "norm2" else f"blocks.{layer - 1}"

    def _norm(self, scope: str, op: str, tensors: dict[str, Array]) -> None:
        is_post = self.config.norm_placement == "post"
        if op == "residual_add_forward":
            self.put(self._stream_into(scope), tensors["out"])
            return
        if not op.endswith("norm_forward"):
            self._other(scope, op, tensors)
            return
        for field in ("mean", "rstd"):
            if field in tensors:
                self.put(f"{scope}.{field}", tensors[field])
        if op in _ADDING_NORMS:
            self.put(f"{scope}.sum" if is_post else self._stream_into(scope), tensors["sum"])
        self.put(scope, tensors["out"])
        if is_post:  # what leaves the norm is the stream
            block, _, which = scope.rpartition(".")
            self.put(f"{block}.middle" if which == "norm1" else block, tensors["out"])

    def _feed_forward(self, scope: str, op: str, tensors: dict[str, Array]) -> None:
        if op in ("swiglu_forward", "geglu_forward"):
            self.put(f"{scope}.act", tensors["out"])
        elif op != "linear_forward":
            self._other(scope, op, tensors)
        elif self._order(scope) == 1:
            self.put(f"{scope}.out", tensors["out"])
        elif "pre" in tensors:
            self.put(f"{scope}.pre", tensors["pre"])
            self.put(f"{scope}.act", tensors["out"])
        else:
            self.put(f"{scope}.pre", tensors["out"])

    def _attention(self, scope: str, traced: TracedOp) -> None:
        op, tensors = traced["op"], traced["tensors"]
        if op == "linear_forward":
            if tensors["out"].shape[0] != self.batch * self.length:  # of distances, not of tokens
                self._other(scope, op, tensors)
                return
            first = self._order(scope) == 0
            self.put(f"{scope}.qkv" if first else f"{scope}.out", tensors["out"])
        elif op == "rmsnorm_forward":
            self._normalized_head(scope, tensors["out"])
        elif op == "flash_attention_forward":
            self._fused(scope, traced)
        elif op in _SCORES:
            for part in ("q", "k"):
                self.put(f"{scope}.{part}", tensors[part])
            self.put(f"{scope}.scores", tensors["out"])
        elif op == "softmax_forward":
            probabilities = tensors["out"].reshape(self.found[f"{scope}.scores"].shape)
            self.found[f"{scope}.probabilities"] = probabilities
        elif op == "attention_mix_forward":
            self.put(f"{scope}.v", tensors["v"])
            self.put(f"{scope}.mix", tensors["out"])
        elif op != "rope_forward":  # q and k say it
            self._other(scope, op, tensors)

    def _normalized_head(self, scope: str, out: Array) -> None:
        heads = self._heads.setdefault(scope, [])
        heads.append(out.reshape(self.batch, self.length, -1))
        queries, keys = self.config.num_heads, self.config.num_kv_heads
        if len(heads) == queries + keys:
            self.found[f"{scope}.q_norm"] = np.stack(heads[:queries], axis=1)
            self.found[f"{scope}.k_norm"] = np.stack(heads[queries:], axis=1)

    def _fused(self, scope: str, traced: TracedOp) -> None:
        """Fused attention: what it read and gave, and in between what it never wrote down."""
        from msltx import kernels

        tensors = traced["tensors"]
        for name in ("q", "k", "v"):
            self.found[f"{scope}.{name}"] = tensors[name]
        inputs: Any = {name: tensors[name] for name in _SCORE_INPUTS if name in tensors}
        attributes: Any = {name: traced["attributes"][name] for name in _SCORE_ATTRIBUTES}
        q, k = (np.asarray(tensors[name], np.float32) for name in ("q", "k"))
        scores = kernels.attention_scores_forward(
            q, k, **inputs, **attributes, backend=self.backend
        )
        self.found[f"{scope}.scores"] = scores
        self.found[f"{scope}.probabilities"] = kernels.softmax_forward(scores, backend=self.backend)
        self.found[f"{scope}.mix"] = tensors["out"]
        if "lse" in tensors:
            self.found[f"{scope}.lse"] = tensors["lse"]

    def _head(self, op: str, tensors: dict[str, Array]) -> None:
        width = self.config.vocab_size
        if op == "linear_forward" and tensors["out"].shape[-1] != width:
            self.put("head.project", tensors["out"])
            return
        if op == "softcap_logits":
            self.put("head.uncapped", self.found["logits"])
        self.put("logits", tensors["out"])


def named(
    ops: list[Any], config: GPTConfig, shape: tuple[int, ...], backend: str
) -> dict[str, Array]:
    """Give the activations of a traced forward by name.

    Parameters
    ----------
    ops : list of TracedOp
        In the order in which they ran.
    config : GPTConfig
    shape : (B, T)
        Of the tokens.
    backend : str
        Who computes what fused attention does not write down.

    Returns
    -------
    dict of array
        In the order in which they were computed; of an array that was written twice the last.
    """
    names = _Names(config, shape, backend)
    for op in ops:
        names.add(op)
    return names.found
