"""Every fused kernel against its parts, both passes, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from msltx import backends, kernels

BACKENDS = [backend.name for backend in backends()]
F32 = np.float32
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "not causal": {"causal": False},
    "window": {"window": 5},
    "softcap": {"softcap": 1.5},
    "bias": {"bias": True},
    "alibi": {"alibi": True},
    "documents": {"documents": True},
    "all": {
        "window": 40,
        "softcap": 3.0,
        "bias": True,
        "alibi": True,
        "documents": True,
        "scale": 0.4,
    },
    "dropout": {"dropout": 0.3, "seed": 7, "step": 2},
}


def normal(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(F32)


def close(found: Any, expected: Any) -> None:
    """Within 1e-5 of the size of a row, or 1e-6 of the largest of all."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    if not expected.size:
        return
    size = np.abs(expected).max(-1, keepdims=True) if expected.ndim else np.abs(expected)
    error = np.abs(found - expected)
    assert (error <= 1e-5 * size + 1e-6 * np.abs(expected).max() + 1e-30).all(), error.max()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "gelu", "relu", "silu"])
def test_linear_with_an_activation(activation: Any, backend: str) -> None:
    on: Any = {"backend": backend}
    x, weight, bias, d_out = normal(70, 33), normal(65, 33), normal(65), normal(70, 65)
    alone = kernels.linear_forward(x, weight, bias, **on)
    fused: Any = kernels.linear_forward(x, weight, bias, activation=activation, **on)
    if activation == "none":
        close(fused, x @ weight.T + bias)
        d_pre, pre = d_out, None
    else:
        name, _, form = activation.partition("_")
        form_of: Any = {"approximate": "tanh" if form else "none"} if name == "gelu" else {}
        out, pre = fused
        close(pre, alone)
        close(out, getattr(kernels, f"{name}_forward")(alone, **form_of, **on))
        d_pre = getattr(kernels, f"{name}_backward")(d_out, alone, **form_of, **on)
    found = kernels.linear_backward(d_out, x, weight, pre, activation=activation, **on)
    for a, b in zip(found, kernels.linear_backward(d_pre, x, weight, **on), strict=True):
        close(a, b)
    for a, b in zip(found, (d_pre @ weight, d_pre.T @ x, d_pre.sum(0)), strict=True):
        close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_norm_with_an_addition(kind: str, backend: str) -> None:
    on: Any = {"backend": backend}
    x, residual, gamma, d_out, d_sum = (
        normal(9, 131),
        normal(9, 131, seed=2),
        normal(131),
        normal(9, 131, seed=3),
        normal(9, 131, seed=4),
    )
    out, total, *statistics = getattr(kernels, f"residual_{kind}_forward")(x, residual, gamma, **on)
    np.testing.assert_array_equal(total, kernels.residual_add_forward(x, residual, **on))
    parts = getattr(kernels, f"{kind}_forward")(total, gamma, **on)
    for a, b in zip((out, *statistics), parts, strict=True):
        close(a, b)
    found = getattr(kernels, f"residual_{kind}_backward")(
        d_out, d_sum, total, gamma, *statistics, **on
    )
    d_x, *weights = getattr(kernels, f"{kind}_backward")(d_out, total, gamma, *statistics, **on)
    close(found[0], d_x + d_sum)
    for a, b in zip(found[1:], weights, strict=True):
        close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gate", ["swiglu", "geglu"])
def test_gates(gate: str, backend: str) -> None:
    on: Any = {"backend": backend}
    x, up, d_out = normal(7, 65), normal(7, 65, seed=2), normal(7, 65, seed=3)
    name = "silu" if gate == "swiglu" else "gelu"
    activated = getattr(kernels, f"{name}_forward")(x, **on)
    close(getattr(kernels, f"{gate}_forward")(x, up, **on), activated * up)
    d_gate, d_up = getattr(kernels, f"{gate}_backward")(d_out, x, up, **on)
    close(d_up, d_out * activated)
    close(d_gate, getattr(kernels, f"{name}_backward")(d_out * up, x, **on))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_attention(options: dict[str, Any], backend: str) -> None:
    """Scores, softmax and mix, and their backwards one after the other."""
    B, nh, nkv, T, hs = 2, 4, 2, 90, 16
    options = dict(options)
    q, d_out = normal(B, nh, T, hs), normal(B, nh, T, hs, seed=4)
    k, v = normal(B, nkv, T, hs, seed=2), normal(B, nkv, T, hs, seed=3)
    inputs: Any = {
        "bias": normal(nh, T, T) if options.pop("bias", False) else None,
        "alibi_slopes": np.abs(normal(nh)) if options.pop("alibi", False) else None,
        "document_starts": np.tile(np.arange(T) // 32 * 32, (B, 1))
        if options.pop("documents", False)
        else None,
    }
    drops = {name: options.pop(name) for name in ("dropout", "seed", "step") if name in options}
    given: Any = {**{n: a for n, a in inputs.items() if a is not None}, **options}
    on: Any = {"backend": backend}
    out, lse = kernels.flash_attention_forward(q, k, v, **given, **drops, **on)
    scores = kernels.attention_scores_forward(q, k, **given, **on)
    p = kernels.softmax_forward(scores, **on)
    close(out, kernels.attention_mix_forward(p, v, **drops, **on))
    top = scores.max(-1)
    close(lse, top + np.log(np.exp(scores - top[..., None]).sum(-1)))

    found = kernels.flash_attention_backward(d_out, out, lse, q, k, v, **given, **drops, **on)
    d_p, d_v = kernels.attention_mix_backward(d_out, p, v, **drops, **on)
    d_scores = kernels.softmax_backward(d_p, p, **on)
    without_bias = {n: a for n, a in given.items() if n not in ("bias", "alibi_slopes")}
    d_q, d_k = kernels.attention_scores_backward(d_scores, q, k, **without_bias, **on)
    for a, b in zip(found, (d_q, d_k, d_v), strict=True):
        close(a, b)
    if "bias" in given:
        d_bias = kernels.flash_attention_backward_bias(
            d_out, out, lse, q, k, v, **given, **drops, **on
        )
        close(d_bias, d_scores.astype(float).sum(0))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cap", [0.0, 2.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_head_with_its_loss(with_bias: bool, cap: float, backend: str) -> None:
    on: Any = {"backend": backend}
    hidden, weight = normal(67, 17), normal(300, 17)
    bias = normal(300) if with_bias else None
    targets = np.random.default_rng(5).integers(300, size=67)
    targets[::7] = -1
    counted = int((targets != -1).sum())
    found = kernels.linear_cross_entropy_forward_backward(
        hidden, weight, targets, bias, scale=1 / counted, logit_softcap=cap, **on
    )
    logits = kernels.linear_forward(hidden, weight, bias, **on)
    capped = kernels.softcap_logits(logits, cap=cap, **on) if cap else logits
    loss, lse = kernels.softmax_cross_entropy_forward(capped, targets, **on)
    d = kernels.softmax_cross_entropy_backward(capped, targets, lse, **on)
    if cap:
        d = kernels.softcap_logits_backward(d, capped, cap=cap, **on)
    d_hidden, d_weight, d_bias = kernels.linear_backward(d, hidden, weight, **on)
    expected = (loss, d_hidden, d_weight, d_bias)[: 3 + with_bias]
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    alone = kernels.linear_cross_entropy_forward(
        hidden, weight, targets, bias, scale=1 / counted, logit_softcap=cap, **on
    )
    close(alone, loss)


@pytest.mark.parametrize("backend", BACKENDS)
def test_relative_scores_without_positions_are_scores(backend: str) -> None:
    q, k = normal(2, 4, 30, 8), normal(2, 2, 40, 8)
    r, none = np.zeros((4, 40, 8), F32), np.zeros((4, 8), F32)
    found = kernels.relative_attention_scores_forward(q, k, r, none, none, backend=backend)
    expected = kernels.attention_scores_forward(q, k, backend=backend)
    hidden = np.isneginf(expected)
    np.testing.assert_array_equal(np.isneginf(found), hidden)
    close(np.where(hidden, 0, found), np.where(hidden, 0, expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_adamw_without_decay_is_adam(backend: str) -> None:
    given: Any = (normal(1000), normal(1000, seed=2), normal(1000, seed=3) ** 2, normal(1000))
    on: Any = {"lr": 1e-2, "step": 7, "backend": backend}
    adam = kernels.adam(*given, weight_decay=0.0, **on)
    for a, b in zip(kernels.adamw(*given, weight_decay=0.0, **on), adam, strict=True):
        close(a, b)
