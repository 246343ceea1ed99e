"""The engine's GPT against the NumPy float64 GPT: gradients, ten AdamW steps, micro-batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from msltx import GPTConfig, backends
from msltx.model import GPT as EngineGPT
from msltx.optim import AdamW
from reference.gpt import (
    BIAS_GROUPS,
    GPT,
    Batch,
    Config,
    Trainer,
    gradient_norm,
    random_parameters,
)
from reference.result import Array

BASE = Config(vocab_size=97, context_length=33, embedding_dim=48, num_layers=3, num_heads=4)
SETTINGS = {
    "gpt2": BASE,
    "untied, every bias": dataclasses.replace(
        BASE, tie_weights=False, bias=BIAS_GROUPS | {"output"}
    ),
    "no biases": dataclasses.replace(BASE, bias=frozenset()),
    "post": dataclasses.replace(BASE, norm_placement="post"),
    "post, untied, erf": dataclasses.replace(
        BASE, norm_placement="post", tie_weights=False, activation="gelu"
    ),
    "sinusoidal": dataclasses.replace(BASE, positions=frozenset({"sinusoidal"})),
    "no positions": dataclasses.replace(BASE, positions=frozenset()),
    "odd sizes": dataclasses.replace(BASE, embedding_dim=15, num_heads=3, ff_dim=37),
}
BACKENDS = [backend.name for backend in backends()]
STEPS = 10
LR = 3e-3
# AdamW divides by sqrt(v_hat) + eps. With the usual 1e-8 an element whose gradient happens to be
# no more than float32's rounding (1e-7 of the global norm, which clipping makes 1) is moved by lr
# in a direction that is noise; this eps leaves such elements where they are.
EPS = 1e-5
LOSS_TOLERANCE = 1e-5  # relative
LOGITS_TOLERANCE = 1e-5  # of the norm of a row
PARAMETER_TOLERANCE = 1e-5  # of one element, absolute: ten steps move it by up to 10 LR = 3e-2


def engine_config(config: Config) -> GPTConfig:
    groups = sorted(BIAS_GROUPS | {"output"})
    fields: dict[str, Any] = {
        **dataclasses.asdict(config),
        "ff_dim": config.ff_width,
        "positions": sorted(config.positions),
        "bias": {group: group in config.bias for group in groups},
    }
    return GPTConfig(**fields)


def pair_of_models(
    config: Config, rng: np.random.Generator, backend: str | None = None
) -> tuple[EngineGPT, GPT]:
    """The engine's model and the NumPy one with the same float32 values."""
    model = EngineGPT(engine_config(config), seed=1, backend=backend)
    drawn = random_parameters(config, rng, scale=0.1)
    values = {name: array.astype(np.float32) for name, array in drawn.items()}
    assert set(model.params) == set(values)
    for name, value in values.items():
        model.params[name] = value
    return model, GPT(config, {name: value.astype(np.float64) for name, value in values.items()})


def random_batch(config: Config, rng: np.random.Generator, batch: int = 3) -> Batch:
    """Sequences of two thirds of the context, a fifth of the targets ignored."""
    size = (2, batch, config.context_length * 2 // 3)
    tokens, targets = rng.integers(config.vocab_size, size=size, dtype=np.int32)
    targets[rng.random(targets.shape) < 0.2] = -1
    return tokens, targets


def assert_gradients_agree(grads: Any, reference: dict[str, Array], label: str) -> None:
    whole = gradient_norm(reference)
    assert set(grads) == set(reference)
    for name, expected in reference.items():
        error = float(np.linalg.norm(grads[name].astype(np.float64) - expected))
        limit = 1e-5 * float(np.linalg.norm(expected)) + 1e-6 * whole
        assert error <= limit, f"{label}: {name}: error {error:.3g}, limit {limit:.3g}"


def assert_rows_agree(out: Any, reference: Array, tolerance: float) -> None:
    assert out.shape == reference.shape
    error = np.linalg.norm(out - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
    assert error.max() <= tolerance, f"error {error.max():.3g} of a row's norm"


@pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.slow if b == "reference" else ()) for b in BACKENDS],
)
@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_ten_adamw_steps(config: Config, backend: str) -> None:
    """Losses of every step, gradients of the first, and the final parameters and logits."""
    rng = np.random.default_rng()
    model, reference = pair_of_models(config, rng, backend)
    optimizer = AdamW(model, weight_decay=0.1, betas=(0.9, 0.95), eps=EPS, grad_clip=1.0)
    trainer = Trainer(reference, weight_decay=0.1, betas=(0.9, 0.95), eps=EPS, grad_clip=1.0)
    for step in range(STEPS):
        tokens, targets = random_batch(config, rng)
        loss = model.forward_backward(tokens, targets)
        expected = reference.forward_backward(tokens, targets)
        assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE), step
        if step == 0:
            assert_gradients_agree(model.grads, reference.gradients, f"step {step}")
        optimizer.step(lr=LR)
        trainer.update(LR)
    for name, parameter in reference.parameters.items():
        error = np.abs(model.params[name] - parameter).max()
        assert error <= PARAMETER_TOLERANCE, name
    tokens, _ = random_batch(config, rng)
    logits = model.logits(model.forward(tokens))
    assert_rows_agree(logits, reference.logits(tokens), LOGITS_TOLERANCE)


def test_ten_adamw_steps_with_the_usual_eps() -> None:
    """The losses agree all the same: what noise moves has little part in them."""
    rng = np.random.default_rng()
    model, reference = pair_of_models(BASE, rng)
    optimizer, trainer = AdamW(model, grad_clip=1.0), Trainer(reference)
    for step in range(STEPS):
        batch = random_batch(BASE, rng)
        loss = model.forward_backward(*batch)
        assert loss == pytest.approx(trainer.step([batch], LR), rel=LOSS_TOLERANCE), step
        optimizer.step(lr=LR)


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_gradients_of_a_loss_of_ones_own(config: Config) -> None:
    """forward, logits and backward(d_logits=) give what forward_backward gives."""
    rng = np.random.default_rng()
    model, reference = pair_of_models(config, rng)
    tokens, targets = random_batch(config, rng)
    logits = model.logits(model.forward(tokens))
    assert_rows_agree(logits, reference.logits(tokens), LOGITS_TOLERANCE)

    counted = targets != -1
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    d_logits = shifted / shifted.sum(-1, keepdims=True)
    d_logits[counted, targets[counted]] -= 1
    d_logits *= counted[..., None] / counted.sum()
    model.backward(d_logits=d_logits.astype(np.float32))
    reference.forward_backward(tokens, targets)
    assert_gradients_agree(model.grads, reference.gradients, "d_logits")


def test_micro_batches_with_unequal_padding_are_one_batch() -> None:
    rng = np.random.default_rng()
    model, reference = pair_of_models(BASE, rng)
    batches = [random_batch(BASE, rng, batch=2) for _ in range(4)]
    batches[2][1][:] = -1  # one has nothing to count
    tokens, targets = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    counted = int((targets != -1).sum())

    whole = model.forward_backward(tokens, targets)
    together = {name: np.array(model.grads[name]) for name in model.grads}
    apart = sum(
        model.forward_backward(*batch, accumulate=index > 0, normalizer=counted)
        for index, batch in enumerate(batches)
    )
    assert apart == pytest.approx(whole, rel=1e-6)
    norm = gradient_norm(together)
    for name, gradient in together.items():
        assert np.linalg.norm(model.grads[name] - gradient) <= 1e-6 * norm, name
    reference.forward_backward(tokens, targets)
    assert_gradients_agree(model.grads, reference.gradients, "accumulated")
