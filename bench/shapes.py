"""The shapes that training is measured at, what a step of them costs, and what it trains on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Exponent and shift of the Zipf-Mandelbrot law for English words (Mandelbrot 1953): token r is
# drawn with probability proportional to 1 / (r + shift)^exponent. Uniform ids, or zeros, would
# make the embedding gradient and the loss unlike those of text.
ZIPF_EXPONENT = 1.0
ZIPF_SHIFT = 2.7

# Memory an AdamW step must move, in bytes per parameter: parameter, both moments and gradient
# read (16), parameter and both moments written (12), gradient written by the backward (4).
BYTES_PER_PARAMETER = 32


@dataclass(frozen=True)
class Settings:
    """Of the optimizer, the same for all contenders."""

    lr: float = 3e-4
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    grad_clip: float = 1.0
    max_steps: int = 1_000_000  # of the learning-rate schedule, which is constant


SETTINGS = Settings()


@dataclass(frozen=True)
class Shape:
    """A GPT-2 model (tied, LayerNorm, biases, GELU tanh, learned positions) and its batch."""

    name: str
    embedding_dim: int
    num_layers: int
    num_heads: int
    vocab_size: int
    context_length: int
    batch_size: int

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.context_length

    @property
    def parameters(self) -> int:
        """12 C^2 of weights and 13 C of biases and norms a block, embeddings, the last norm."""
        width = self.embedding_dim
        blocks = self.num_layers * (12 * width**2 + 13 * width)
        return blocks + (self.vocab_size + self.context_length + 2) * width

    @property
    def flops_per_token(self) -> float:
        """Operations of both passes, attention counted whole."""
        attention = 12 * self.num_layers * self.context_length * self.embedding_dim
        return 6 * self.parameters + attention

    def floor_seconds(self, peak_flops: float, bandwidth: float) -> float:
        """Least time of a step: its operations at the peak, then the optimizer's memory traffic.

        peak_flops in operations/s, bandwidth in bytes/s.
        """
        operations = self.flops_per_token * self.tokens_per_step
        return operations / peak_flops + BYTES_PER_PARAMETER * self.parameters / bandwidth


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("1m", 128, 4, 4, 1776, 64, 16),
        Shape("4m", 256, 4, 8, 1776, 128, 16),
        Shape("11m", 384, 6, 6, 1776, 256, 16),
        Shape("25m", 384, 8, 6, 32000, 256, 8),
        Shape("124m", 768, 12, 12, 50257, 256, 4),
    )
}

Tokens = npt.NDArray[np.int32]


def random_batches(shape: Shape, count: int, seed: int = 0) -> list[tuple[Tokens, Tokens]]:
    """Tokens and next tokens, both [B, T], distributed as the words of a text."""
    rng = np.random.default_rng(seed)
    weights = 1 / (np.arange(shape.vocab_size) + ZIPF_SHIFT) ** ZIPF_EXPONENT
    # A tokenizer's ids are not in order of frequency.
    ids = rng.permutation(shape.vocab_size).astype(np.int32)
    size = (count, shape.batch_size, shape.context_length + 1)
    text = ids[rng.choice(shape.vocab_size, size=size, p=weights / weights.sum())]
    return [
        (np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])) for rows in text
    ]
