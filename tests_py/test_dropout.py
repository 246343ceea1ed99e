"""Dropout: its rate, that it changes nothing on average, and that its mask is drawn, not stored."""

from __future__ import annotations

import numpy as np
import pytest

import msltx
from msltx import _core, kernels

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
