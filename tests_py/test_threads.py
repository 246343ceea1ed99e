"""Whole training steps have the same bits at any number of threads, in every kind of model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import msltx
from families import random_batch, random_config
from msltx import GPT, GPTConfig, backends
from reference.proof import THREADS, restored_threads

BACKENDS = [backend.name for backend in backends()]


def trained(config: GPTConfig, dtype: str, backend: str) -> list[bytes]:
    """Three optimizer steps on batches of many chunks: losses, parameters and logits."""
    rng = np.random.default_rng(1)
    model = GPT(config, seed=1, dtype=dtype, backend=backend)
    optimizer = msltx.optim.AdamW(model, grad_clip=1.0)
    losses: list[Any] = []
    for _ in range(3):
        losses.append(model.forward_backward(*random_batch(config, rng, batch=40, length=19)))
        optimizer.step(lr=1e-2)
    tokens, _ = random_batch(config, rng, batch=3, length=7)
    logits = model.logits(model.forward(tokens))
    made = msltx.generate(model, None, tokens[0], max_tokens=6, top_p=0.9).tokens
    return [a.tobytes() for a in (np.array(losses), logits, made, *model.params.values())]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", range(6))
def test_training_has_the_same_bits(index: int, backend: str, dtype: str) -> None:
    config = random_config(np.random.default_rng(index))
    with restored_threads():
        first: list[bytes] = []
        for threads in THREADS:
            msltx.set_num_threads(threads)
            found = trained(config, dtype, backend)
            first = first or found
            assert found == first, f"{threads} threads: {config}"
