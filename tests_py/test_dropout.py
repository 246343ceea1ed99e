"""Dropout: its rate, that it changes nothing on average, and that its mask is drawn, not stored;
in a model that it is training's alone and that a run keeps its bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import msltx
from families import SIZES, random_batch
from msltx import GPTConfig, _core, kernels
from msltx.model import GPT

BACKENDS = [backend["name"] for backend in _core.backends()]
ONES = np.ones((64, 8, 257), dtype=np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_mean(p: float, backend: str) -> None:
    out = kernels.dropout_forward(ONES, p=p, seed=3, step=2, backend=backend)
    kept = out != 0
    # Five standard deviations of a share of so many.
    bound = 5 * np.sqrt(p * (1 - p) / out.size)
    assert abs(kept.mean() - (1 - p)) < bound
    assert abs(out.mean() - 1) < bound / (1 - p)
    np.testing.assert_allclose(out[kept], 1 / (1 - p), rtol=1e-6)
    # No sequence, place or neighbour knows of another.
    bound = 5 * np.sqrt(p * (1 - p) / 2056)
    assert abs(kept.mean(axis=(1, 2)) - (1 - p)).max() < bound
    both = (kept[:, :, 1:] & kept[:, :, :-1]).mean()
    assert abs(both - (1 - p) ** 2) < 5 * np.sqrt(2 * p * (1 - p) / out.size)
    assert (kept[0] != kept[1]).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_backward_draws_the_forward_mask(backend: str) -> None:
    rng = np.random.default_rng(0)
    x, d_out = (rng.standard_normal((3, 5, 33)).astype(np.float32) for _ in range(2))
    options = {"p": 0.3, "seed": -7, "step": 11, "first_sequence": 4, "backend": backend}
    kept = kernels.dropout_forward(x, **options) != 0
    d_x = kernels.dropout_backward(d_out, **options)
    np.testing.assert_array_equal(d_x, np.where(kept, d_out * np.float32(1 / np.float32(0.7)), 0))
    others = [{**options, **change} for change in ({"seed": 1}, {"step": 12}, {"p": 0.31})]
    for other in others:
        assert (kernels.dropout_forward(x, **other) != kernels.dropout_forward(x, **options)).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sequence_has_its_mask_wherever_it_lies(backend: str) -> None:
    """In another batch, cut off, or under its number; the same on both backends."""
    x = ONES[:6, :, :31]
    whole = kernels.dropout_forward(x, p=0.5, seed=9, first_sequence=10, backend=backend)
    np.testing.assert_array_equal(
        kernels.dropout_forward(x[2:], p=0.5, seed=9, first_sequence=12, backend=backend), whole[2:]
    )
    picked = kernels.dropout_forward(x[:2], [15, 11], p=0.5, seed=9, backend=backend)
    np.testing.assert_array_equal(picked, whole[[5, 1]])
    np.testing.assert_array_equal(
        kernels.dropout_forward(x[:, :3], p=0.5, seed=9, first_sequence=10, backend=backend),
        whole[:, :3],
    )
    np.testing.assert_array_equal(
        kernels.dropout_forward(x, p=0.5, seed=9, first_sequence=10, backend="reference"), whole
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_dropped_with_p_0(backend: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(kernels.dropout_forward(x, p=0, backend=backend), x)
    with pytest.raises(msltx.InvalidValueError, match=r"p is 1; it must be in \[0, 1\)"):
        kernels.dropout_forward(x, p=1, backend=backend)


def test_generation_and_evaluation_never_drop() -> None:
    config = GPTConfig(**SIZES, dropout=0.5, norm_placement="sandwich")
    model, plain = GPT(config, seed=3), GPT(config.replace(dropout=0), seed=3)
    batch = random_batch(config, np.random.default_rng(0), batch=3, length=7)
    assert model.evaluate(*batch) == plain.evaluate(*batch)
    np.testing.assert_array_equal(model.forward(batch[0]), plain.forward(batch[0]))
    made, other = (msltx.generate(m, None, [1, 2], max_tokens=9, seed=4) for m in (model, plain))
    np.testing.assert_array_equal(made.tokens, other.tokens)
    assert model.forward_backward(*batch) == plain.forward_backward(*batch)
    dropped = model.forward_backward(*batch, dropout_seed=1)
    assert dropped != plain.forward_backward(*batch)
    assert dropped == model.forward_backward(*batch, dropout_seed=1)
    assert dropped != model.forward_backward(*batch, dropout_seed=1, step=1)


def test_a_backward_of_ones_own_draws_what_its_forward_drew() -> None:
    config = GPTConfig(**SIZES, dropout=0.4)
    model = GPT(config, seed=3)
    tokens, targets = random_batch(config, np.random.default_rng(0), batch=3, length=7)
    draw = {"dropout_seed": 6, "step": 2, "first_sequence": 9}
    model.forward_backward(tokens, targets, **draw)
    expected = {name: grad.copy() for name, grad in model.grads.items()}
    logits = model.logits(model.forward(tokens, **draw)).reshape(-1, config.vocab_size)
    flat = targets.reshape(-1)
    _, lse = kernels.softmax_cross_entropy_forward(logits, flat)
    d_logits = kernels.softmax_cross_entropy_backward(logits, flat, lse)
    model.backward(d_logits=d_logits.reshape(*tokens.shape, -1))
    whole = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in expected.values()))
    for name, grad in expected.items():
        assert np.linalg.norm(model.grads[name] - grad) < 1e-5 * whole, name


def test_wrong_draws_are_named() -> None:
    model = GPT(GPTConfig(**SIZES, dropout=0.4))
    with pytest.raises(msltx.InvalidValueError, match="step is 4294967296; it takes a whole"):
        model.forward_backward([1], [2], dropout_seed=1, step=2**32)
    with pytest.raises(msltx.InvalidValueError, match="dropout_seed is -1; it takes a whole"):
        model.forward([1], dropout_seed=-1)


@pytest.mark.slow
def test_a_resumed_run_and_one_of_micro_batches_drop_the_same(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"line {i} of a text, {i * i} long\n\n" for i in range(900)), "utf-8")
    tokenizer = msltx.Tokenizer.train(text, vocab_size=300)
    data = msltx.data.prepare(text, tokenizer, out=tmp_path / "set")
    sizes = {**SIZES, "vocab_size": tokenizer.vocab_size, "dropout": 0.2}
    options = {
        "max_steps": 6,
        "warmup_steps": 0,
        "schedule": "constant",
        "progress": False,
        "save_every": 3,
        "eval_every": 0,
        "seed": 8,
    }
    runs = {}
    for name, shape in (("whole", (4, 1)), ("micro", (2, 2))):
        model = GPT(GPTConfig(**sizes), seed=1)
        batch_size, accumulation = shape
        runs[name] = msltx.train(
            model,
            data,
            out=tmp_path / name,
            batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            **options,
        ).losses
    np.testing.assert_allclose(runs["micro"], runs["whole"], rtol=1e-5)

    model = GPT(GPTConfig(**sizes), seed=1)
    msltx.train(model, data, out=tmp_path / "cut", batch_size=4, **{**options, "max_steps": 3})
    rest = msltx.train(
        GPT(GPTConfig(**sizes), seed=2),
        data,
        out=tmp_path / "cut",
        resume=True,
        batch_size=4,
        **options,
    )
    np.testing.assert_array_equal(rest.losses, runs["whole"][3:])
