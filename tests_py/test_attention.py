"""What attention promises beyond its formula: what it does not see, and how its forms agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from msltx import backends, kernels

BACKENDS = [backend.name for backend in backends()]
F32 = np.float32


def heads(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(F32)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0}, {"window": 11}])
def test_packed_documents_are_documents_apart(options: Any, backend: str) -> None:
    lengths = (70, 1, 64, 30, 5)
    T = sum(lengths)
    q, d_out = heads(1, 4, T, 16), heads(1, 4, T, 16, seed=4)
    k, v = heads(1, 2, T, 16, seed=2), heads(1, 2, T, 16, seed=3)
    begins = np.cumsum((0, *lengths[:-1]))
    starts = np.repeat(begins, lengths)[None]
    out, lse = kernels.flash_attention_forward(
        q, k, v, document_starts=starts, **options, backend=backend
    )
    gradients = kernels.flash_attention_backward(
        d_out, out, lse, q, k, v, document_starts=starts, **options, backend=backend
    )
    for begin, length in zip(begins, lengths, strict=True):
        own = [x[:, :, begin : begin + length] for x in (q, k, v, d_out, out, *gradients)]
        alone, alone_lse = kernels.flash_attention_forward(*own[:3], **options, backend=backend)
        close(own[4], alone)
        expected = kernels.flash_attention_backward(
            own[3], alone, alone_lse, *own[:3], **options, backend=backend
        )
        for a, b in zip(own[5:], expected, strict=True):
            close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("causal", [True, False])
def test_a_window_over_everything_is_none(causal: bool, backend: str) -> None:
    q, k, v, d_out = (heads(2, 2, 90, 8, seed=i) for i in range(4))
    plain = kernels.flash_attention_forward(q, k, v, causal=causal, backend=backend)
    d_plain = kernels.flash_attention_backward(
        d_out, *plain, q, k, v, causal=causal, backend=backend
    )
    for window in (90, 2**62):
        option: Any = {"window": window, "causal": causal, "backend": backend}
        found = kernels.flash_attention_forward(q, k, v, **option)
        d_found = kernels.flash_attention_backward(d_out, *plain, q, k, v, **option)
        for a, b in zip((*found, *d_found), (*plain, *d_plain), strict=True):
            close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("option", ["window", "document_starts"])
def test_tiles_outside_of_window_and_document_are_not_touched(option: str, backend: str) -> None:
    T = 640
    q, k, v, d_out = (heads(1, 2, T, 8, seed=i) for i in range(4))
    given: Any = {"window": 64} if option == "window" else {option: np.arange(T)[None] // 64 * 64}
    clean = kernels.flash_attention_forward(q, k, v, **given, backend=backend)
    d_clean = kernels.flash_attention_backward(d_out, *clean, q, k, v, **given, backend=backend)
    k[:, :, :128] = v[:, :, :128] = np.nan
    found = kernels.flash_attention_forward(q, k, v, **given, backend=backend)
    d_found = kernels.flash_attention_backward(d_out, *clean, q, k, v, **given, backend=backend)
    for a, b in zip((*found, d_found[0]), (*clean, d_clean[0]), strict=True):
        np.testing.assert_array_equal(a[:, :, 256:], b[:, :, 256:])
    for a, b in zip(d_found[1:], d_clean[1:], strict=True):
        np.testing.assert_array_equal(a[:, :, 320:], b[:, :, 320:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_later_token_changes_nothing_earlier(backend: str) -> None:
    T = 150
    q, k, v = (heads(1, 2, T, 8, seed=i) for i in range(3))
    options: Any = {
        "bias": heads(2, T, T),
        "alibi_slopes": np.array([0.5, 0.25], F32),
        "document_starts": np.maximum(np.arange(T)[None] - 50, 0) // 30 * 30,
        "window": 40,
        "softcap": 5.0,
        "backend": backend,
    }
    before = kernels.flash_attention_forward(q, k, v, **options)
    for x in (q, k, v):
        x[:, :, 77:] = heads(1, 2, T - 77, 8, seed=9)
    after = kernels.flash_attention_forward(q, k, v, **options)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a[:, :, :77], b[:, :, :77])
    assert (before[0][:, :, 77:] != after[0][:, :, 77:]).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_that_sees_nothing_gives_zeros(backend: str) -> None:
    q, k, v, d_out = (heads(1, 1, 70, 8, seed=i) for i in range(4))
    bias = np.zeros((1, 70, 70), F32)
    bias[0, 33] = bias[0, 69] = -np.inf
    out, lse = kernels.flash_attention_forward(q, k, v, bias, softcap=2.0, backend=backend)
    hidden = np.isin(np.arange(70), (33, 69))
    assert not out[0, 0, hidden].any()
    assert (lse[0, 0] == -np.inf).tolist() == hidden.tolist()
    gradients = kernels.flash_attention_backward(
        d_out, out, lse, q, k, v, bias, softcap=2.0, backend=backend
    )
    assert all(np.isfinite(g).all() for g in gradients)
    assert not gradients[0][0, 0, hidden].any()
    d_bias = kernels.flash_attention_backward_bias(
        d_out, out, lse, q, k, v, bias, softcap=2.0, backend=backend
    )
    assert np.isfinite(d_bias).all()
    assert not d_bias[0, hidden].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_soft_cap_bounds_any_score(backend: str) -> None:
    q = np.full((1, 1, 3, 4), 1e15, F32)
    k = np.concatenate([q[:, :, :2], -q[:, :, :1]], axis=2)
    v = heads(1, 1, 3, 4)
    out, lse = kernels.flash_attention_forward(q, k, v, softcap=2.0, backend=backend)
    weights = np.exp([2.0, 2.0, -2.0])
    close(out[0, 0, 2], weights @ v[0, 0] / weights.sum())
    close(lse[0, 0, 2], np.log(weights.sum()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_of_the_bias_adds_to_out(backend: str) -> None:
    q, k, v, d_out = (heads(3, 2, 9, 8, seed=i) for i in range(4))
    bias = heads(2, 9, 9)
    saved = kernels.flash_attention_forward(q, k, v, bias, backend=backend)
    once = kernels.flash_attention_backward_bias(d_out, *saved, q, k, v, bias, backend=backend)
    twice = kernels.flash_attention_backward_bias(
        d_out, *saved, q, k, v, bias, accumulate=True, out=once.copy(), backend=backend
    )
    close(twice, 2 * once)
    assert not once[:, np.triu_indices(9, 1)[0], np.triu_indices(9, 1)[1]].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_cache_gives_the_rows_of_the_whole(backend: str) -> None:
    """Token by token against a cache, with every option, as the fused form over all of them."""
    T = 45
    q, k, v = (heads(2, 4, T, 8, seed=i) for i in range(3))
    row = heads(4, T)
    slopes = np.array([0.5, 0.25, 0.125, 0.0625], F32)
    by_distance = np.arange(T)[:, None] - np.arange(T)
    bias = np.ascontiguousarray(row[:, np.clip(T - 1 - by_distance, 0, T - 1)])
    shared: Any = {"alibi_slopes": slopes, "window": 13, "softcap": 1.5, "backend": backend}
    whole = kernels.flash_attention_forward(q, k, v, bias, **shared)[0]
    for t in range(T):
        lengths = np.array([t + 1, t + 1])
        one = kernels.attention_inference(
            q[:, :, t : t + 1], k, v, lengths, relative_bias=row, **shared
        )
        close(one[:, :, 0], whole[:, :, t])
