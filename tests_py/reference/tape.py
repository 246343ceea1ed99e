"""Reverse-mode differentiation of NumPy float64 expressions: what a model of many settings needs.

A Node holds a value, and how the gradient of it reaches what it was made of. The rules are few and
short; test_reference_family.py compares what they give with central differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .result import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])
Backward = Callable[[Array], None]


def _unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Add up what broadcasting from `shape` had spread."""
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(tuple(range(extra)))
    spread = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return np.asarray(gradient.sum(spread, keepdims=True))


class Node:
    """A value and, once backward() has run on what it leads to, its gradient."""

    __array_ufunc__ = None  # array * Node is Node's to compute

    def __init__(self, value: Any, parents: Sequence[Node] = (), backward: Any = None) -> None:
        self.value: Array = np.asarray(value, dtype=np.float64)
        self.gradient: Array = np.zeros(())
        self._parents = parents
        self._backward = backward

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def backward(self) -> None:
        """Compute the gradient of this scalar by every node it is made of."""
        order: list[Node] = []
        seen: set[int] = set()

        def visit(node: Node) -> None:
            if id(node) in seen:
                return
            seen.add(id(node))
            for parent in node._parents:
                visit(parent)
            order.append(node)

        visit(self)
        for node in order:
            node.gradient = np.zeros_like(node.value)
        self.gradient = np.ones_like(self.value)
        for node in reversed(order):
            if node._backward is not None:
                node._backward(node.gradient)

    def _take(self, gradient: Array) -> None:
        self.gradient = self.gradient + _unbroadcast(gradient, self.shape)

    def __add__(self, other: Node | Array | float) -> Node:
        b = as_node(other)

        def backward(d: Array) -> None:
            self._take(d)
            b._take(d)

        return Node(self.value + b.value, (self, b), backward)

    def __mul__(self, other: Node | Array | float) -> Node:
        b = as_node(other)

        def backward(d: Array) -> None:
            self._take(d * b.value)
            b._take(d * self.value)

        return Node(self.value * b.value, (self, b), backward)

    def __matmul__(self, b: Node) -> Node:
        def backward(d: Array) -> None:
            self._take(d @ np.swapaxes(b.value, -1, -2))
            b._take(np.swapaxes(self.value, -1, -2) @ d)

        return Node(self.value @ b.value, (self, b), backward)

    def __sub__(self, other: Node | Array | float) -> Node:
        return self + as_node(other) * -1.0

    __radd__ = __add__
    __rmul__ = __mul__

    def _map(self, value: Array, slope: Array) -> Node:
        return Node(value, (self,), lambda d: self._take(d * slope))

    def power(self, exponent: float) -> Node:
        return self._map(self.value**exponent, exponent * self.value ** (exponent - 1))

    def tanh(self) -> Node:
        t = np.tanh(self.value)
        return self._map(t, 1 - t**2)

    def sigmoid(self) -> Node:
        s = 1 / (1 + np.exp(-self.value))
        return self._map(s, s * (1 - s))

    def erf(self) -> Node:
        slope = 2 / math.sqrt(math.pi) * np.exp(-(self.value**2))
        return self._map(_erf(self.value), slope)

    def relu(self) -> Node:
        return self._map(np.maximum(self.value, 0), (self.value > 0).astype(np.float64))

    def mean(self) -> Node:
        """Over the last axis, which stays."""
        n = self.shape[-1]
        value = self.value.mean(-1, keepdims=True)
        return Node(value, (self,), lambda d: self._take(np.broadcast_to(d / n, self.shape)))

    def reshape(self, *shape: int) -> Node:
        return Node(self.value.reshape(shape), (self,), lambda d: self._take(d.reshape(self.shape)))

    def transpose(self, *axes: int) -> Node:
        back = tuple(np.argsort(axes))
        return Node(self.value.transpose(axes), (self,), lambda d: self._take(d.transpose(back)))

    def __getitem__(self, index: Any) -> Node:
        """Give entries by slices or integer arrays."""

        def backward(d: Array) -> None:
            whole = np.zeros_like(self.value)
            np.add.at(whole, index, d)
            self._take(whole)

        return Node(self.value[index], (self,), backward)

    def softmax(self) -> Node:
        """Over the last axis; rows of -inf give zeros."""
        top = self.value.max(-1, keepdims=True)
        e = np.exp(self.value - np.where(np.isfinite(top), top, 0))
        total = e.sum(-1, keepdims=True)
        p = e / np.where(total > 0, total, 1)
        return Node(p, (self,), lambda d: self._take(p * (d - (d * p).sum(-1, keepdims=True))))

    def masked(self, hidden: Any) -> Node:
        """Put -inf where `hidden` is true."""
        value = np.where(hidden, -np.inf, self.value)
        return Node(value, (self,), lambda d: self._take(np.where(hidden, 0, d)))

    def cross_entropy(self, targets: Any, weights: Array) -> Node:
        """Sum of weights x (log sum exp - logits[target]) over the rows [N, V]."""
        top = self.value.max(-1, keepdims=True)
        lse = top + np.log(np.exp(self.value - top).sum(-1, keepdims=True))
        chosen = np.zeros_like(self.value)
        chosen[np.arange(len(targets)), targets] = 1
        loss = (weights * (lse[:, 0] - (chosen * self.value).sum(-1))).sum()
        slope = weights[:, None] * (np.exp(self.value - lse) - chosen)
        return Node(loss, (self,), lambda d: self._take(d * slope))


def as_node(value: Node | Array | float) -> Node:
    return value if isinstance(value, Node) else Node(value)


def concatenate(nodes: Sequence[Node]) -> Node:
    """Side by side on the last axis."""
    widths = np.cumsum([node.shape[-1] for node in nodes])[:-1]

    def backward(d: Array) -> None:
        for node, part in zip(nodes, np.split(d, widths, axis=-1), strict=True):
            node._take(part)

    return Node(np.concatenate([node.value for node in nodes], -1), tuple(nodes), backward)
