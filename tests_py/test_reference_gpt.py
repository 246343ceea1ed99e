"""The NumPy GPT itself: gradients against central differences, counts, training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reference import differences
from reference.gpt import (
    BIAS_GROUPS,
    GPT,
    Batch,
    Config,
    Trainer,
    parameter_shapes,
    random_parameters,
)
from reference.result import Array

TINY = Config(vocab_size=11, context_length=6, embedding_dim=8, num_layers=2, num_heads=2)
SETTINGS = {
    "gpt2": TINY,
    "untied, every bias": dataclasses.replace(
        TINY, tie_weights=False, bias=BIAS_GROUPS | {"output"}
    ),
    "no biases": dataclasses.replace(TINY, bias=frozenset()),
    "output bias of a tied model": dataclasses.replace(TINY, bias=frozenset({"output"})),
    "post": dataclasses.replace(TINY, norm_placement="post"),
    "post, untied, erf": dataclasses.replace(
        TINY, norm_placement="post", tie_weights=False, activation="gelu"
    ),
    "sinusoidal": dataclasses.replace(TINY, positions=frozenset({"sinusoidal"})),
    "both positions": dataclasses.replace(TINY, positions=frozenset({"learned", "sinusoidal"})),
    "no positions": dataclasses.replace(TINY, positions=frozenset()),
    "narrow feed-forward": dataclasses.replace(TINY, ff_dim=5, norm_eps=1e-3),
}


def random_batch(config: Config, rng: np.random.Generator, batch: int, length: int) -> Batch:
    """Random tokens and targets, a fifth of the targets ignored but never all."""
    tokens = rng.integers(config.vocab_size, size=(batch, length))
    targets = rng.integers(config.vocab_size, size=(batch, length))
    targets[rng.random(targets.shape) < 0.2] = -1
    targets[0, 0] = 3
    return tokens, targets


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_gradients_are_the_derivatives_of_the_loss(config: Config) -> None:
    rng = np.random.default_rng()
    model = GPT(config, random_parameters(config, rng, scale=0.3))
    tokens, targets = random_batch(config, rng, batch=3, length=5)
    model.forward_backward(tokens, targets)
    assert model.gradients.keys() == parameter_shapes(config).keys()
    whole = np.sqrt(sum(float((g**2).sum()) for g in model.gradients.values()))
    for name, parameter in model.parameters.items():

        def moved(value: Array, name: str = name) -> float:
            return GPT(config, {**model.parameters, name: value}).loss(tokens, targets)

        direction = rng.standard_normal(parameter.shape)
        expected = differences.derivative_along(moved, parameter, direction)
        given = float((model.gradients[name] * direction).sum())
        size = whole * float(np.linalg.norm(direction))
        assert abs(given - expected) <= differences.TOLERANCE * size, name


def test_parameter_counts_are_those_of_the_plan() -> None:
    """Untied, sinusoidal, final norm, every bias: two counts from the plan's own log."""

    def count(vocab_size: int, embedding_dim: int, num_layers: int) -> int:
        config = Config(
            vocab_size,
            context_length=64,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_heads=4,
            positions=frozenset({"sinusoidal"}),
            tie_weights=False,
            bias=BIAS_GROUPS | {"output"},
        )
        return sum(int(np.prod(shape)) for shape in parameter_shapes(config).values())

    assert count(vocab_size=100, embedding_dim=64, num_layers=2) == 112_996
    assert count(vocab_size=1000, embedding_dim=256, num_layers=4) == 3_672_552


def test_key_bias_has_no_gradient() -> None:
    """It adds the same to all scores of a query, and softmax takes that out again."""
    rng = np.random.default_rng()
    model = GPT(TINY, random_parameters(TINY, rng, scale=0.3))
    model.forward_backward(*random_batch(TINY, rng, batch=2, length=6))
    of_q, of_k, of_v = np.split(model.gradients["blocks.1.attn.qkv.bias"], 3)
    assert np.abs(of_k).max() < 1e-15
    assert np.abs(of_q).max() > 1e-6
    assert np.abs(of_v).max() > 1e-6


def test_a_token_sees_none_after_it() -> None:
    rng = np.random.default_rng()
    model = GPT(TINY, random_parameters(TINY, rng, scale=0.3))
    tokens, _ = random_batch(TINY, rng, batch=1, length=6)
    changed = tokens.copy()
    changed[0, 4] = (tokens[0, 4] + 1) % TINY.vocab_size
    before, after = model.logits(tokens), model.logits(changed)
    np.testing.assert_allclose(after[:, :4], before[:, :4], 1e-12)
    assert np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-6


def test_micro_batches_with_unequal_padding_are_one_batch() -> None:
    rng = np.random.default_rng()
    parameters = random_parameters(TINY, rng)
    batches = [random_batch(TINY, rng, batch=2, length=5) for _ in range(4)]
    batches[1][1][:] = -1  # one has nothing to count
    whole = tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    apart, together = (Trainer(GPT(TINY, dict(parameters))) for _ in range(2))
    loss = apart.step(batches, lr=1e-2)
    assert loss == pytest.approx(together.step([(whole[0], whole[1])], lr=1e-2), rel=1e-12)
    for name, gradient in together.model.gradients.items():
        np.testing.assert_allclose(apart.model.gradients[name], gradient, 1e-9, 1e-15)


def test_a_step_without_counted_targets_changes_nothing() -> None:
    rng = np.random.default_rng()
    trainer = Trainer(GPT(TINY, random_parameters(TINY, rng)))
    before = dict(trainer.model.parameters)
    tokens, targets = random_batch(TINY, rng, batch=2, length=5)
    assert trainer.step([(tokens, np.full_like(targets, -1))], lr=1.0) == 0
    for name, parameter in trainer.model.parameters.items():
        np.testing.assert_array_equal(parameter, before[name])


def test_decay_is_for_matrices_only() -> None:
    """Without gradients a step is the decay alone."""
    trainer = Trainer(GPT(TINY, random_parameters(TINY, np.random.default_rng())), weight_decay=0.5)
    before = dict(trainer.model.parameters)
    trainer.model.gradients = {name: np.zeros_like(p) for name, p in before.items()}
    trainer.update(lr=0.1)
    for name, parameter in trainer.model.parameters.items():
        kept = 0.95 if before[name].ndim == 2 else 1.0
        np.testing.assert_allclose(parameter, kept * before[name], 1e-15)


def test_training_memorizes_a_sequence() -> None:
    rng = np.random.default_rng(1)
    trainer = Trainer(GPT(TINY, random_parameters(TINY, rng)), weight_decay=0.0)
    sequence = rng.integers(TINY.vocab_size, size=(1, 7))
    batch = (sequence[:, :-1], sequence[:, 1:])
    losses = [trainer.step([batch], lr=1e-2) for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(TINY.vocab_size), abs=0.2)
    assert losses[-1] < 0.05
    assert trainer.model.logits(batch[0]).argmax(-1).tolist() == batch[1].tolist()
