"""Diagnostic mode of models: what is planted in one layer is found there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from families import random_batch, random_config
from msltx import GPT, GPTConfig, backends
from msltx.data import Dataset
from msltx.training import Progress, Run

BACKENDS = [backend.name for backend in backends()]
CONFIG = GPTConfig(vocab_size=31, context_length=12, embedding_dim=16, num_layers=3, num_heads=2)


def batch(config: GPTConfig = CONFIG) -> tuple[Any, Any]:
    return random_batch(config, np.random.default_rng(0), batch=3, length=9)


def plant(model: GPT, name: str, value: float) -> None:
    values = model.params[name].copy()
    values.flat[5] = value
    model.params[name] = values


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "index", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2, 3))]
)
def test_nothing_is_said_of_what_is_right(index: int, backend: str, dtype: str) -> None:
    """And nothing is changed: loss, gradients and generation have the bits they had."""
    rng = np.random.default_rng(index)
    config = random_config(rng)
    tokens, targets = random_batch(config, rng, batch=2, length=9)
    found = []
    for diagnostic in (False, True):
        model = GPT(config, seed=1, backend=backend, dtype=dtype, diagnostic=diagnostic)
        assert model.diagnostic == diagnostic
        optimizer = msltx.optim.AdamW(model, grad_clip=1.0)
        losses = []
        for _ in range(2):
            losses.append(model.forward_backward(tokens, targets))
            optimizer.step(lr=1e-3)
        hidden = model.forward(tokens)
        logits = model.logits(hidden)
        model.backward(d_logits=np.ones_like(logits))
        made = msltx.generate(model, None, tokens[0], max_tokens=5, temperature=0.9, top_k=7)
        found.append(
            [np.array(losses), hidden, logits, made.tokens, *map(np.array, model.grads.values())]
        )
    for plain, checked in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, checked, err_msg=repr(config))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "op"),
    [
        ("blocks.1.attn.qkv.weight", "linear_forward"),
        ("blocks.2.ff.out.bias", "linear_forward"),
        ("blocks.1.norm2.weight", "residual_layernorm_forward"),
        ("norm.bias", "residual_layernorm_forward"),
        ("embed.positions.weight", "positional_embedding_add_forward"),
    ],
)
def test_a_weight_gone_bad_is_named(name: str, op: str, value: float) -> None:
    model = GPT(CONFIG, diagnostic=True)
    plant(model, name, value)
    scope = name.rpartition(".")[0]
    for part in (".qkv", ".out", ".positions"):
        scope = scope.removesuffix(part)
    said = (
        rf"^step 1, {scope}: {op} is given {value} in \w+ \({name}\) at \[[\d, ]+\] of float32 \("
    )
    with pytest.raises(msltx.Error, match=said):
        model.forward_backward(*batch())
    with pytest.raises(msltx.Error, match=said):
        msltx.generate(model, None, [1, 2], max_tokens=2)


def test_what_overflows_is_named_where_it_does() -> None:
    """Every weight is finite; the product of two is not."""
    model = GPT(CONFIG, diagnostic=True)
    for name in ("blocks.1.ff.in.weight", "blocks.1.ff.out.weight"):
        model.params[name] = np.full_like(model.params[name], 1e25)
    model.params["blocks.1.ff.in.bias"] = np.full(64, 1e25, np.float32)
    said = r"blocks\.1\.ff: linear_forward computes, or leaves unwritten, (inf|nan) in out"
    with pytest.raises(msltx.Error, match=said):
        model.forward(batch()[0])
    # It is still a model: the weights put right, it goes on.
    for name in ("blocks.1.ff.in.weight", "blocks.1.ff.out.weight", "blocks.1.ff.in.bias"):
        model.params[name] = np.zeros_like(model.params[name])
    assert np.isfinite(model.forward_backward(*batch()))


def test_gradients_are_watched_too() -> None:
    model = GPT(CONFIG, diagnostic=True)
    d_hidden = np.zeros((3, 9, 16), np.float32)
    d_hidden[2, 8, 15] = np.nan
    model.forward(batch()[0])
    said = r"norm: residual_layernorm_backward_data is given nan in d_out at \[26, 15\]"
    with pytest.raises(msltx.Error, match=said):
        model.backward(d_hidden=d_hidden)


def test_the_step_is_that_of_the_log() -> None:
    model = GPT(CONFIG, diagnostic=True)
    optimizer = msltx.optim.AdamW(model)
    for _ in range(4):
        model.forward_backward(*batch())
        optimizer.step(lr=1e-3)
    plant(model, "blocks.0.ff.in.weight", np.nan)
    with pytest.raises(msltx.Error, match=r"^step 5, blocks\.0\.ff: "):
        model.forward_backward(*batch())


def test_the_parameter_is_that_of_the_number() -> None:
    """The optimizer goes over all of them at once."""
    model = GPT(CONFIG, diagnostic=True)
    optimizer = msltx.optim.AdamW(model, grad_clip=0.0)
    model.forward_backward(*batch())
    plant(model, "blocks.1.ff.in.weight", np.inf)
    said = r"optimizer: adamw is given inf in param \(blocks\.1\.ff\.in\.weight\) at "
    with pytest.raises(msltx.Error, match=said):
        optimizer.step(lr=1e-3)


def test_it_is_turned_on_and_off() -> None:
    """In the midst of a loop of one's own too, whose steps it knows."""
    model = GPT(CONFIG, diagnostic=False)
    optimizer = msltx.optim.AdamW(model)
    for _ in range(2):
        model.forward_backward(*batch())
        optimizer.step(lr=1e-3)
    plant(model, "blocks.0.ff.in.weight", np.nan)
    assert np.isnan(model.forward_backward(*batch()))
    model.diagnostic = True
    with pytest.raises(msltx.Error, match=r"^step 3, blocks\.0\.ff: "):
        model.forward_backward(*batch())
    model.diagnostic = False
    assert np.isnan(model.forward_backward(*batch()))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("diagnostic")
    (folder / "text.txt").write_text("the cat sat on the mat\n" * 200, "utf-8")
    tokenizer = msltx.Tokenizer.train(folder / "text.txt", vocab_size=260)
    return msltx.data.prepare(folder / "text.txt", tokenizer, out=folder / "set", val_fraction=0.0)


@pytest.mark.parametrize("made_with", [False, True])
def test_a_run_names_the_weight_gone_bad(data: Dataset, made_with: bool) -> None:
    """With diagnostic=True, by tensor, step and layer; it goes on with diagnostic=False."""
    config = GPTConfig(**{**CONFIG.to_dict(), "vocab_size": data.vocab_size})
    options: dict[str, Any] = {
        "max_steps": 4,
        "batch_size": 2,
        "eval_every": 0,
        "progress": False,
    }

    def trained(diagnostic: bool | None) -> Run:
        model = GPT(config, seed=1, diagnostic=made_with)

        def spoil(done: Progress) -> None:
            if done.step == 2:
                plant(model, "blocks.1.ff.in.weight", np.nan)

        try:
            return msltx.train(model, data, diagnostic=diagnostic, on_step=spoil, **options)
        finally:
            assert model.diagnostic == made_with

    said = (
        r"^step 3, blocks\.1\.ff: linear_forward is given nan in weight "
        r"\(blocks\.1\.ff\.in\.weight\) at "
    )
    with pytest.raises(msltx.Error, match=said):
        trained(True)
    assert np.isnan(trained(False).losses[2:]).all()
    if made_with:
        with pytest.raises(msltx.Error, match=said):
            trained(None)
    else:
        assert np.isnan(trained(None).losses[2:]).all()


def train(folder: Path, diagnostic: str, steps: int = 3) -> subprocess.CompletedProcess[str]:
    """Train with a rate and a decay whose product is infinite in float32: the first step spoils."""
    code = f"""
import msltx
tok = msltx.Tokenizer.train("text.txt", vocab_size=260)
data = msltx.data.prepare("text.txt", tok, out="data", overwrite=True)
config = msltx.GPTConfig(vocab_size=260, context_length=16, embedding_dim=8, num_layers=2,
                         num_heads=2)
run = msltx.train(msltx.GPT(config), data, max_steps={steps}, batch_size=2, learning_rate=1e38,
                  weight_decay=1e3, warmup_steps=0, schedule="constant", max_skipped_steps=9)
print("trained")
"""
    (folder / "text.txt").write_text("the cat sat on the mat\n" * 200, "utf-8")
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "MSLTX_DIAGNOSTIC": diagnostic,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_environment_turns_it_on(tmp_path: Path) -> None:
    without = train(tmp_path, "0")
    assert without.stdout.endswith("trained\n"), without.stderr
    watched = train(tmp_path, "1")
    assert watched.returncode == 1
    assert "msltx.Error: step 1, optimizer: adamw computes" in watched.stderr
    assert "MSLTX_DIAGNOSTIC is yes; it takes 1 or 0" in train(tmp_path, "yes").stderr
