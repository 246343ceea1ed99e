"""The engine's GPT against the NumPy family, across its settings: losses, gradients, decoding."""

from __future__ import annotations

import numpy as np
import pytest

from families import assert_gradients_agree, pair_of_models, random_batch, random_config
from msltx import backends
from reference.family import Draw

BACKENDS = [backend.name for backend in backends()]
LOSS_TOLERANCE = 1e-5  # relative
LOGITS_TOLERANCE = 1e-5  # of the norm of a row


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("index", range(50))
def test_random_settings_agree(index: int, backend: str) -> None:
    """Loss, all gradients and logits of a random configuration, on an odd batch and length."""
    rng = np.random.default_rng()
    config = random_config(rng)
    model, reference = pair_of_models(config, rng, backend)
    tokens, targets = random_batch(config, rng, batch=3, length=int(rng.integers(1, 22)))
    seed, step, first = (int(n) for n in rng.integers([2**63, 2**32, 100]))
    draw = {"dropout_seed": seed, "step": step, "first_sequence": first}
    reference.draw = Draw(seed, step, first)
    loss = model.forward_backward(tokens, targets, **draw)
    expected = reference.forward_backward(tokens, targets)
    assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE), config
    assert_gradients_agree(model.grads, reference.gradients, repr(config))

    reference.draw = None
    expected = reference.forward_backward(tokens, targets)
    assert model.evaluate(tokens, targets) == pytest.approx(expected, rel=LOSS_TOLERANCE), config

    logits, by_numpy = model.logits(model.forward(tokens)), reference.logits(tokens)
    error = np.linalg.norm(logits - by_numpy, axis=-1) / np.linalg.norm(by_numpy, axis=-1)
    assert error.max() <= LOGITS_TOLERANCE, config
