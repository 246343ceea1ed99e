"""The engine's GPT against the NumPy family, across its settings: losses, gradients, decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from families import SIZES, assert_gradients_agree, pair_of_models, random_batch
from msltx import GPTConfig, InvalidValueError, backends

BACKENDS = [backend.name for backend in backends()]
LOSS_TOLERANCE = 1e-5  # relative
LOGITS_TOLERANCE = 1e-5  # of the norm of a row

# Field -> values that a random configuration draws from.
CHOICES: dict[str, list[Any]] = {
    "norm": ["layernorm", "rmsnorm"],
    "norm_plus_one": [False, True],
    "norm_placement": ["pre", "post", "sublayer", "sandwich"],
    "positions": ["learned", "sinusoidal", "none", "rope", ["learned", "rope"]],
    "rope_theta": [10000.0, 100.0],
    "rope_scaling": [
        None,
        {"kind": "linear", "factor": 2.0},
        {"kind": "dynamic", "factor": 2.0, "original_context_length": 8},
        {"kind": "llama3", "factor": 4.0, "original_context_length": 16},
    ],
    "activation": ["gelu_tanh", "gelu", "relu", "silu", "swiglu", "geglu"],
    "qk_norm": [False, True],
    "num_kv_heads": [4, 2, 1],
    "head_dim": [6, 8],
    "ff_dim": [96, 33],
    "token_embedding_dim": [24, 10],
    "bias": [True, False, {"qkv": False, "output": True}, {"norm": False}],
    "tie_weights": [True, False],
    "embedding_scale": [1.0, 4.9],
    "attention_scale": [None, 0.2],
}


def random_config(rng: np.random.Generator) -> GPTConfig:
    """Draw settings until they make a configuration."""
    while True:
        fields = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
        try:
            return GPTConfig(**SIZES, **fields)
        except InvalidValueError:
            continue


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", range(50))
def test_random_settings_agree(index: int, backend: str) -> None:
    """Loss, all gradients and logits of a random configuration, on an odd batch and length."""
    rng = np.random.default_rng()
    config = random_config(rng)
    model, reference = pair_of_models(config, rng, backend)
    tokens, targets = random_batch(config, rng, batch=3, length=int(rng.integers(1, 22)))
    loss = model.forward_backward(tokens, targets)
    expected = reference.forward_backward(tokens, targets)
    assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE), config
    assert_gradients_agree(model.grads, reference.gradients, repr(config))
    assert model.evaluate(tokens, targets) == pytest.approx(expected, rel=LOSS_TOLERANCE), config

    logits, by_numpy = model.logits(model.forward(tokens)), reference.logits(tokens)
    error = np.linalg.norm(logits - by_numpy, axis=-1) / np.linalg.norm(by_numpy, axis=-1)
    assert error.max() <= LOGITS_TOLERANCE, config
