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
def test_a_window_reaches_from_places_before_the_first(backend: str) -> None:
    """With fewer keys than queries the first queries stand before key 0."""
    q, k, v = heads(1, 1, 6, 4), heads(1, 1, 2, 4, seed=2), heads(1, 1, 2, 4, seed=3)
    out, _ = kernels.flash_attention_forward(q, k, v, causal=False, window=3, backend=backend)
    places, keys = np.arange(6) - 4, np.arange(2)
    scores = np.where(abs(places[:, None] - keys) < 3, (q[0, 0] @ k[0, 0].T) / 2, -np.inf)
    weights = np.exp(scores)
    total = weights.sum(-1, keepdims=True)
    close(out[0, 0], weights @ v[0, 0] / np.where(total > 0, total, 1))
    assert out[0, 0].any(-1).tolist() == [False, False, True, True, True, True]


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


OPTIONS: dict[str, Any] = {
    "none": {},
    "not causal": {"causal": False},
    "window": {"window": 20},
    "softcap": {"softcap": 1.5, "scale": 0.5},
    "all": {"window": 40, "softcap": 2.0, "inputs": True},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_flash_is_plain(options: Any, dropout: float, backend: str) -> None:
    """Outputs and all gradients of the fused form and of scores, softmax and mix."""
    B, T = 2, 75
    q, d_out = heads(B, 4, T, 8), heads(B, 4, T, 8, seed=2)
    k, v = heads(B, 2, T, 8, seed=3), heads(B, 2, T, 8, seed=4)
    options = {**options, "backend": backend}
    starts: Any = None
    inputs: Any = {}
    if options.pop("inputs", False):
        starts = np.tile(np.arange(T) // 25 * 25, (B, 1))
        inputs = {"bias": heads(4, T, T), "alibi_slopes": heads(4, seed=5) ** 2}
    inputs["document_starts"] = starts
    drops: Any = {"dropout": dropout, "seed": 2**40 + 3, "step": 5, "first_sequence": 11}

    out, lse = kernels.flash_attention_forward(q, k, v, **inputs, **options, **drops)
    saved = (d_out, out, lse, q, k, v)
    d_q, d_k, d_v = kernels.flash_attention_backward(*saved, **inputs, **options, **drops)
    d_bias = kernels.flash_attention_backward_bias(*saved, **inputs, **options, **drops)

    scores = kernels.attention_scores_forward(q, k, **inputs, **options)
    p = kernels.softmax_forward(scores, backend=backend)
    close(kernels.attention_mix_forward(p, v, **drops, backend=backend), out)
    d_p, plain_d_v = kernels.attention_mix_backward(d_out, p, v, **drops, backend=backend)
    d_scores = kernels.softmax_backward(d_p, p, backend=backend)
    plain_d_q, plain_d_k = kernels.attention_scores_backward(
        d_scores, q, k, document_starts=starts, **options
    )
    mask = {name: options[name] for name in ("causal", "window", "backend") if name in options}
    plain_d_bias = kernels.attention_scores_backward_bias(d_scores, document_starts=starts, **mask)
    for flash, plain in (
        (d_q, plain_d_q),
        (d_k, plain_d_k),
        (d_v, plain_d_v),
        (d_bias, plain_d_bias),
    ):
        np.testing.assert_allclose(flash, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_of_probabilities(backend: str) -> None:
    """At its rate, unbiased, and other numbers for another seed, step, sequence, head and query."""
    B, nh, T, S, rate = 3, 2, 40, 500, 0.25
    probabilities = np.full((B, nh, T, S), 1 / S, F32)
    v = np.broadcast_to(np.eye(S, dtype=F32), (B, nh, S, S)).copy()

    def kept(**options: Any) -> Any:
        out = kernels.attention_mix_forward(
            probabilities, v, dropout=rate, **options, backend=backend
        )
        np.testing.assert_allclose(out[out != 0], 1 / S / (1 - rate), rtol=1e-6)
        return out != 0

    first = kept(seed=1)
    # Five standard deviations of a share of 120,000 draws.
    assert abs(first.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / first.size)
    rows = first.reshape(-1, S)
    others = [np.roll(first, 1, axis) for axis in range(3)]
    for other in (kept(seed=2), kept(seed=1, step=1), *others):
        share = (first != other).mean()
        assert abs(share - 2 * rate * (1 - rate)) < 0.02
    assert len(np.unique(rows, axis=0)) == len(rows)
    np.testing.assert_array_equal(kept(seed=1, first_sequence=1)[:-1], first[1:])
    np.testing.assert_array_equal(kept(seed=1, sequences=[2, 0, 1]), first[[2, 0, 1]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_relative_scores_depend_on_the_distance_alone(backend: str) -> None:
    T, shift = 12, 3
    q, k = np.ones((1, 1, T, 8), F32), np.ones((1, 1, T, 8), F32)
    r, u, v = heads(1, T, 8), heads(1, 8, seed=2), heads(1, 8, seed=3)
    scores = kernels.relative_attention_scores_forward(q, k, r, u, v, backend=backend)[0, 0]
    rows, columns = np.tril_indices(T - shift)
    close(scores[rows, columns], scores[rows + shift, columns + shift])
    assert (scores[np.triu_indices(T, 1)] == -np.inf).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_row_of_a_relative_bias_serves_the_cache(backend: str) -> None:
    T = 20
    q, k, v = (heads(1, 2, T, 8, seed=i) for i in range(3))
    weight = heads(6, 2)
    whole, row = (
        kernels.relative_position_bias_forward(
            weight, num_queries=n, num_keys=T, max_distance=9, backend=backend
        )
        for n in (T, 1)
    )
    np.testing.assert_array_equal(whole[:, -1:], row)
    expected = kernels.flash_attention_forward(q, k, v, whole, backend=backend)[0]
    found = kernels.attention_inference(
        q, k, v, [T], relative_bias=row[:, 0].copy(), backend=backend
    )
    close(found, expected)
