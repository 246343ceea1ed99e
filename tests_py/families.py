"""Random models of the whole family: configurations, and pairs of engine and NumPy models."""

from __future__ import annotations

from typing import Any

import numpy as np

from msltx import GPTConfig
from msltx.model import GPT
from reference.family import Family, random_parameters
from reference.result import Array, Integers

SIZES: dict[str, Any] = {
    "vocab_size": 37,
    "context_length": 21,
    "embedding_dim": 24,
    "num_layers": 2,
    "num_heads": 4,
}


def pair_of_models(
    config: GPTConfig,
    rng: np.random.Generator,
    backend: str | None = None,
    scale: float = 0.15,
) -> tuple[GPT, Family]:
    """The engine's model and the NumPy one with the same float32 values."""
    model = GPT(config, seed=1, backend=backend)
    drawn = random_parameters(dict(config.parameters()), rng, scale)
    values = {name: array.astype(np.float32) for name, array in drawn.items()}
    for name, value in values.items():
        model.params[name] = value
    return model, Family(config.to_dict(), {n: v.astype(np.float64) for n, v in values.items()})


def random_batch(
    config: GPTConfig, rng: np.random.Generator, batch: int, length: int
) -> tuple[Integers, Integers]:
    """Random tokens and targets, a fifth of the targets ignored but never all."""
    tokens, targets = rng.integers(config.vocab_size, size=(2, batch, length), dtype=np.int32)
    targets[rng.random(targets.shape) < 0.2] = -1
    targets[0, 0] = 3
    return tokens, targets


def assert_gradients_agree(grads: Any, reference: dict[str, Array], label: str) -> None:
    """|gradient - reference| <= 1e-5 |reference| + 1e-6 of the norm of all gradients."""
    whole = np.sqrt(sum(float((g**2).sum()) for g in reference.values()))
    assert set(grads) == set(reference)
    for name, expected in reference.items():
        error = float(np.linalg.norm(grads[name].astype(np.float64) - expected))
        limit = 1e-5 * float(np.linalg.norm(expected)) + 1e-6 * whole
        assert error <= limit, f"{label}: {name}: error {error:.3g}, limit {limit:.3g}"
