"""model.trace: every activation under its name, with the values that the NumPy family gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from families import SIZES, pair_of_models, random_batch, random_config
from msltx import GPT, GPTConfig, backends, kernels
from msltx._trace import WITH_INPUTS, named

BACKENDS = [backend.name for backend in backends()]
PAGE = Path(__file__).resolve().parent.parent / "docs" / "seeing.md"
TOLERANCE = 1e-5  # of an activation's norm
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
        "norm_placement": "sandwich",
        "norm_plus_one": True,
        "positions": "rope",
        "activation": "geglu",
        "bias": False,
        "attention_softcap": 2.0,
        "logit_softcap": 3.0,
        "sliding_window": [3, None],
        "embedding_scale": 4.9,
    },
    "post": {"norm_placement": "post", "positions": "sinusoidal", "activation": "relu"},
    "sublayer": {"norm_placement": "sublayer", "positions": "alibi", "qk_norm": True},
    "t5": {"positions": "relative_t5"},
    "xl": {"positions": "relative_xl"},
    "plain": {"attention": "plain", "positions": "rope", "attention_softcap": 2.0},
    "dropout": {"dropout": 0.3},
    "narrow": {"token_embedding_dim": 10, "tie_weights": False, "positions": "none"},
}


def assert_agrees(found: Any, expected: Any, label: str) -> None:
    found = found.astype(np.float64)
    assert found.shape == expected.shape, label
    hidden = np.isneginf(expected)
    np.testing.assert_array_equal(np.isneginf(found), hidden, label)
    found, expected = found[~hidden], expected[~hidden]
    error = np.linalg.norm(found - expected)
    assert error <= TOLERANCE * np.linalg.norm(expected), f"{label}: {error}"


def compare(config: GPTConfig, rng: np.random.Generator, backend: str, length: int) -> set[str]:
    model, reference = pair_of_models(config, rng, backend)
    tokens, _ = random_batch(config, rng, batch=3, length=length)
    logits = reference.logits(tokens)
    found = model.trace(tokens)
    for name, expected in {**reference.activations, "logits": logits}.items():
        turned = name.endswith(("q_norm", "k_norm"))
        value = expected.transpose(0, 2, 1, 3) if turned else expected
        assert_agrees(found[name], value, f"{name} of {config}")
    assert list(found)[-1] == "logits"
    return set(found)


@pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.slow if b == "reference" else ()) for b in BACKENDS],
)
@pytest.mark.parametrize("fields", SETTINGS.values(), ids=SETTINGS)
def test_activations_are_those_of_numpy(fields: dict[str, Any], backend: str) -> None:
    compare(GPTConfig(**SIZES, **fields), np.random.default_rng(), backend, length=9)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(12))
def test_activations_of_random_settings(index: int) -> None:
    rng = np.random.default_rng()
    compare(random_config(rng), rng, BACKENDS[-1], length=int(rng.integers(1, 22)))


def documented() -> list[re.Pattern[str]]:
    """The names of docs/seeing.md, {i} standing for a layer."""
    cells = re.findall(r"^\| ([\w.{},\s]+?) \| \(", PAGE.read_text("utf-8"), re.MULTILINE)
    names = [name for cell in cells for name in cell.split(", ")]
    names = [n for n in names if not n.startswith(".") and " and " not in n]
    patterns = [re.escape(name).replace(re.escape("{i}"), r"\d+") for name in names]
    return [re.compile(pattern) for pattern in patterns]


def test_every_name_is_documented_and_every_documented_name_occurs() -> None:
    found: set[str] = set()
    for fields in SETTINGS.values():
        model = GPT(GPTConfig(**SIZES, **fields), backend=BACKENDS[-1])
        found |= set(model.trace([[1, 2, 3]]))
    patterns = documented()
    assert len(patterns) > 25
    plain = {name for name in found if not name.endswith((".mean", ".rstd"))}
    assert [n for n in plain if not any(p.fullmatch(n) for p in patterns)] == []
    assert [p.pattern for p in patterns if not any(p.fullmatch(n) for n in found)] == []
    statistics = {n.rpartition(".")[0] for n in found - plain}
    assert statistics <= found


def test_a_trace_is_a_forward() -> None:
    """Same bits, copies of its own, and backward may follow."""
    config = GPTConfig(**SIZES)
    model = GPT(config, seed=3)
    tokens, targets = random_batch(config, np.random.default_rng(0), batch=2, length=11)
    hidden = model.forward(tokens)
    logits = model.logits(hidden)
    found = model.trace(tokens)
    np.testing.assert_array_equal(found["norm"], hidden)
    np.testing.assert_array_equal(found["logits"], logits)
    d_logits = np.ones_like(logits)
    model.backward(d_logits=d_logits)
    after_trace = {name: gradient.copy() for name, gradient in model.grads.items()}
    model.forward(tokens)
    model.backward(d_logits=d_logits)
    for name, gradient in model.grads.items():
        np.testing.assert_array_equal(gradient, after_trace[name])
    kept = {name: array.copy() for name, array in found.items()}
    model.forward_backward(targets.clip(0), targets)
    for name, array in found.items():
        np.testing.assert_array_equal(array, kept[name])


def in_parts(traced: Any) -> list[Any]:
    """What fused attention would have been as scores, softmax in place, and mix."""
    read = traced["tensors"]
    scores = kernels.attention_scores_forward(read["q"], read["k"])
    p = kernels.softmax_forward(scores)
    mix = kernels.attention_mix_forward(p, read["v"])
    tensors = {
        "attention_scores_forward": {"q": read["q"], "k": read["k"], "out": scores},
        "softmax_forward": {"out": p.reshape(-1, p.shape[-1])},
        "attention_mix_forward": {"probabilities": p, "v": read["v"], "out": mix},
    }
    return [{**traced, "op": op, "tensors": given} for op, given in tensors.items()]


def test_plain_attention_has_the_names_of_the_fused_one() -> None:
    config = GPTConfig(**SIZES)
    model = GPT(config, seed=3)
    tokens = np.array([[5, 1, 2, 9], [3, 3, 1, 0]], np.int32)
    ops = model._core.trace(tokens, WITH_INPUTS)
    apart: list[Any] = []
    for traced in ops:
        apart += in_parts(traced) if traced["op"] == "flash_attention_forward" else [traced]
    plain = named(apart, config, tokens.shape, model.backend)
    fused = named(ops, config, tokens.shape, model.backend)
    assert set(fused) - set(plain) == {"blocks.0.attn.lse", "blocks.1.attn.lse"}
    assert set(plain) <= set(fused)
    for name, array in plain.items():
        np.testing.assert_allclose(array, fused[name], 1e-5, 1e-6, err_msg=name)


def test_probabilities_are_rows_of_one() -> None:
    model = GPT(GPTConfig(**SIZES), seed=3)
    found = model.trace([5, 1, 2, 9])
    p = found["blocks.1.attn.probabilities"]
    assert p.shape == (1, 4, 4, 4)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-6)
    assert not p[0, 0][np.triu_indices(4, 1)].any()
    mix = p @ found["blocks.1.attn.v"]
    np.testing.assert_allclose(found["blocks.1.attn.mix"], mix, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_relative_positions_are_the_same_for_every_sequence(batch: int) -> None:
    tokens = np.ones((batch, 5), np.int32)
    t5 = GPT(GPTConfig(**SIZES, positions="relative_t5")).trace(tokens)
    assert t5["embed.relative"].shape == (4, 5, 5)
    xl = GPT(GPTConfig(**SIZES, positions="relative_xl")).trace(tokens)
    assert xl["blocks.1.attn.relative"].shape == (5, 24)


def test_bfloat16_activations_are_bfloat16() -> None:
    model = GPT(GPTConfig(**SIZES), seed=3, dtype="bfloat16")
    found = model.trace([[5, 1, 2, 9]])
    assert found["blocks.0.attn.qkv"].dtype.name == "bfloat16"
    assert found["blocks.0.attn.probabilities"].dtype == np.float32
    assert found["blocks.0"].dtype == found["logits"].dtype == np.float32


def test_diagnostic_mode_sees_a_trace() -> None:
    model = GPT(GPTConfig(**SIZES), diagnostic=True)
    model.params["norm.weight"] = np.full(24, np.nan, np.float32)
    with pytest.raises(msltx.Error, match=r"norm: residual_layernorm_forward is given nan"):
        model.trace([[1, 2]])
    with pytest.raises(msltx.Error, match="norm: residual_layernorm_forward is given nan"):
        model.forward([[1, 2]])
