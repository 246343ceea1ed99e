"""Optimizers for training loops of one's own; msltx.train has its own inside."""

from __future__ import annotations

from typing import NamedTuple

from msltx import _core
from msltx._arguments import check_type, number
from msltx._core import InvalidValueError
from msltx.model import GPT

__all__ = ["AdamW", "StepInfo"]


class StepInfo(NamedTuple):
    """What an optimizer step did."""

    grad_norm: float
    """Global norm of the gradients, before clipping."""
    skipped: bool
    """True where the norm was not finite: nothing was changed."""


class AdamW:
    """AdamW with decoupled weight decay on matrices only (Loshchilov and Hutter 2019).

    Parameters
    ----------
    model : GPT
    weight_decay : float, default 0.1
        Applied to parameters of two dimensions, embeddings included.
    betas : (float, float), default (0.9, 0.95)
        Decay of the first and the second moment.
    eps : float, default 1e-8
        Added to the square root of the second moment.
    grad_clip : float, default 0
        Largest global norm of the gradients; 0: no limit.
    """

    def __init__(
        self,
        model: GPT,
        *,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        grad_clip: float = 0.0,
    ) -> None:
        check_type(model, GPT, "model")
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise InvalidValueError(f"betas is {betas!r}; it takes two numbers") from None
        self._core = _core.AdamW(
            model._core,
            weight_decay=number(weight_decay, "weight_decay"),
            betas=(number(first, "betas[0]"), number(second, "betas[1]")),
            eps=number(eps, "eps"),
            grad_clip=number(grad_clip, "grad_clip"),
        )

    @property
    def steps(self) -> int:
        """Steps taken, skipped ones not counted."""
        return self._core.steps

    def step(self, *, lr: float) -> StepInfo:
        """Update the model's parameters from its gradients."""
        return StepInfo(**self._core.step(number(lr, "lr")))
