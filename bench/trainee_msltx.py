"""msltx as a contender of bench/train.py, and the machine's peaks as the engine measures them."""

from __future__ import annotations

import msltx
from msltx import _core
from shapes import Settings, Shape, Tokens


class MsltxTrainee:
    """A model in training by the call that msltx.train makes: one TrainStep, no Python inside.

    bfloat16 is the compute type; parameters and optimizer stay float32.
    """

    def __init__(self, shape: Shape, dtype: str, threads: int, settings: Settings) -> None:
        msltx.set_num_threads(threads)
        config = msltx.GPTConfig(
            vocab_size=shape.vocab_size,
            context_length=shape.context_length,
            embedding_dim=shape.embedding_dim,
            num_layers=shape.num_layers,
            num_heads=shape.num_heads,
        )
        self.model = msltx.GPT(config, seed=1, dtype=dtype)
        self.batch: tuple[Tokens, Tokens] | None = None
        self.train_step = _core.TrainStep(
            self.model._core,
            batch_size=shape.batch_size,
            length=shape.context_length,
            gradient_accumulation_steps=1,
            weight_decay=settings.weight_decay,
            betas=settings.betas,
            eps=settings.eps,
            grad_clip=settings.grad_clip,
            learning_rate=settings.lr,
            min_learning_rate=settings.lr,
            warmup_steps=0,
            max_steps=settings.max_steps,
            schedule="constant",
            source=self._next_batch,
        )

    def _next_batch(self, step: int) -> tuple[Tokens, Tokens]:
        assert self.batch is not None
        return self.batch

    def step(self, tokens: Tokens, targets: Tokens) -> float:
        """One optimizer step; give its loss."""
        self.batch = (tokens, targets)
        return float(self.train_step.run()["loss"])


def matrix_peak(dtype: str, threads: int) -> float:
    """Operations/s of the best of ten products of 2048 x 2048 x 2048, weights packed."""
    msltx.set_num_threads(threads)
    return msltx.matrix_peak(dtype)


def read_bandwidth(threads: int) -> float:
    """Bytes/s of the best of ten reads of 1 GiB."""
    msltx.set_num_threads(threads)
    return msltx.read_bandwidth()
