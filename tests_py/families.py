"""Random models of the whole family: configurations, and pairs of engine and NumPy models."""

from __future__ import annotations

from typing import Any

import numpy as np

from msltx import GPTConfig, InvalidValueError
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

# Field -> values that a random configuration draws from.
CHOICES: dict[str, list[Any]] = {
    "norm": ["layernorm", "rmsnorm"],
    "norm_plus_one": [False, True],
    "norm_placement": ["pre", "post", "sublayer", "sandwich"],
    "positions": [
        "learned",
        "sinusoidal",
        "none",
        "rope",
        "alibi",
        "relative_t5",
        "relative_xl",
        ["learned", "rope"],
        ["relative_t5", "alibi"],
    ],
    "attention": ["auto", "plain", "flash"],
    "rope_theta": [10000.0, 100.0],
    "rope_scaling": [
        None,
        {"kind": "linear", "factor": 2.0},
        {"kind": "dynamic", "factor": 2.0, "original_context_length": 8},
        {"kind": "yarn", "factor": 3.0, "original_context_length": 8, "beta_fast": 2.0},
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
    "sliding_window": [None, 1, 5, [3, None], [None, 40]],
    "attention_softcap": [0.0, 2.0],
    "logit_softcap": [0.0, 3.0],
    "dropout": [0.0, 0.3],
    "initialization": ["gpt2", "xavier", "kaiming"],
    "depth_scaling": ["total", "layer", "none"],
}

# Settings that are fine apart and refused together.
REFUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"norm": "rmsnorm"}, {"bias": {"norm": True}}),
    ({"norm": "layernorm"}, {"norm_plus_one": True}),
    ({"positions": "rope"}, {"head_dim": 5}),
    ({"num_heads": 4}, {"num_kv_heads": 3}),
    ({"positions": "relative_xl"}, {"attention": "flash"}),
    ({"positions": "relative_xl"}, {"attention_softcap": 2.0}),
]


def random_config(rng: np.random.Generator) -> GPTConfig:
    """Draw settings until they make a configuration."""
    while True:
        fields = {name: values[rng.integers(len(values))] for name, values in CHOICES.items()}
        try:
            return GPTConfig(**SIZES, **fields)
        except InvalidValueError:
            continue


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
