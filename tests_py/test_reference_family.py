"""The NumPy family itself: gradients against central differences, and against the GPT by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from families import SIZES, random_batch
from msltx import GPTConfig
from reference import differences
from reference.family import Family, random_parameters, relative_buckets
from reference.gpt import BIAS_GROUPS, Config
from reference.gpt import GPT as GPT2
from reference.result import Array

SETTINGS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": {
        "norm": "rmsnorm",
        "positions": "rope",
        "activation": "swiglu",
        "bias": False,
        "num_kv_heads": 2,
    },
    "gemma": {
        "norm": "rmsnorm",
        "norm_plus_one": True,
        "norm_placement": "sandwich",
        "positions": "rope",
        "activation": "geglu",
        "bias": False,
        "head_dim": 8,
        "sliding_window": [3, None],
        "attention_softcap": 2.0,
        "logit_softcap": 3.0,
        "embedding_scale": 4.9,
    },
    "t5, alibi, silu, post": {
        "positions": ["relative_t5", "alibi"],
        "activation": "silu",
        "norm_placement": "post",
    },
    "llama3 rope, qk_norm, sublayer": {
        "norm_placement": "sublayer",
        "positions": ["rope", "sinusoidal"],
        "rope_scaling": {"kind": "llama3", "factor": 4.0, "original_context_length": 16},
        "qk_norm": True,
        "num_kv_heads": 1,
        "activation": "gelu",
    },
    "transformer-xl, plain": {
        "positions": ["relative_xl", "learned"],
        "num_kv_heads": 2,
        "sliding_window": [4, None],
    },
    "yarn": {
        "positions": "rope",
        "rope_scaling": {"kind": "yarn", "factor": 3.0, "original_context_length": 8},
    },
    "projected, untied, relu": {
        "token_embedding_dim": 10,
        "tie_weights": False,
        "activation": "relu",
    },
}


#: Drawn until one has no kink; without relu the first has none.
_DIRECTIONS = 8


@pytest.mark.parametrize("fields", SETTINGS.values(), ids=SETTINGS)
def test_gradients_are_the_derivatives_of_the_loss(fields: dict[str, Any]) -> None:
    rng = np.random.default_rng()
    config = GPTConfig(**SIZES, **fields)
    model = Family(config.to_dict(), random_parameters(dict(config.parameters()), rng, 0.3))
    tokens, targets = random_batch(config, rng, batch=2, length=6)
    model.forward_backward(tokens, targets)
    whole = np.sqrt(sum(float((g**2).sum()) for g in model.gradients.values()))
    for name, parameter in model.parameters.items():

        def moved(value: Array, name: str = name) -> float:
            other = Family(model.fields, {**model.parameters, name: value})
            return other.forward_backward(tokens, targets)

        limit = 10 * differences.TOLERANCE * whole
        for attempt in range(_DIRECTIONS):
            direction = rng.standard_normal(parameter.shape)
            length = float(np.linalg.norm(direction))
            step = differences.STEP / 2**attempt  # closer each time: a kink may be near
            expected, closer = (
                differences.derivative_along(moved, parameter, direction, h)
                for h in (step, step / 3)
            )
            # A kink of relu between the points shows in differences that disagree.
            if abs(expected - closer) <= limit / 2 * length:
                break
        else:
            pytest.fail(f"{name}: no direction of {_DIRECTIONS} is without a kink")
        given = float((model.gradients[name] * direction).sum())
        assert abs(given - closer) <= limit * length, name


def test_gpt2_is_the_model_written_by_hand() -> None:
    rng = np.random.default_rng()
    config = GPTConfig(**SIZES)
    parameters = random_parameters(dict(config.parameters()), rng, 0.2)
    by_hand = GPT2(Config(**SIZES, bias=BIAS_GROUPS), dict(parameters))
    family = Family(config.to_dict(), parameters)
    batch = random_batch(config, rng, batch=3, length=11)
    assert family.forward_backward(*batch) == pytest.approx(
        by_hand.forward_backward(*batch), rel=1e-12
    )
    for name, gradient in by_hand.gradients.items():
        np.testing.assert_allclose(family.gradients[name], gradient, rtol=1e-9, atol=1e-13)


def test_relative_buckets_are_those_of_t5() -> None:
    """The first distance of every bucket: bounds of 16 (128/16)^(i/16), rounded up."""
    buckets = relative_buckets(np.arange(200))
    first = [int(np.argmax(buckets == b)) for b in range(32)]
    exact = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    assert first == exact
