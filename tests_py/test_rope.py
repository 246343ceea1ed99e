"""Rotary positions: the table of angles in all its scalings, and what turning by them gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import msltx
from msltx import _core, kernels
from reference.rope import rope_table

BACKENDS = [backend["name"] for backend in _core.backends()]
LAYOUTS = ["interleaved", "half_split"]
SCALINGS: list[dict[str, Any]] = [
    {"kind": "linear", "factor": 4.0, "original_context_length": 128},
    {"kind": "dynamic", "factor": 2.0, "original_context_length": 128},
    {"kind": "dynamic", "factor": 2.0, "original_context_length": 512},
    {"kind": "yarn", "factor": 4.0, "original_context_length": 128},
    {
        "kind": "yarn",
        "factor": 8.0,
        "original_context_length": 64,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "attention_factor": 1.5,
    },
    {
        "kind": "llama3",
        "factor": 8.0,
        "original_context_length": 128,
        "low_frequency_factor": 1.0,
        "high_frequency_factor": 4.0,
    },
]


def config(head_dim: int, scaling: dict[str, Any] | None = None, **more: Any) -> msltx.GPTConfig:
    return msltx.GPTConfig(
        vocab_size=16,
        context_length=512,
        embedding_dim=4 * head_dim,
        num_layers=1,
        num_heads=4,
        positions="rope",
        rope_scaling=scaling,
        **more,
    )


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("head_dim", [4, 16, 64, 130])
@pytest.mark.parametrize("scaling", [None, *SCALINGS], ids=str)
def test_table_is_what_the_formulas_say(
    scaling: dict[str, Any] | None, head_dim: int, theta: float
) -> None:
    table = config(head_dim, scaling, rope_theta=theta).rope_table()
    expected = rope_table(512, head_dim, theta=theta, context_length=512, scaling=scaling)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, rtol=0, atol=1.3e-7)


def test_table_of_fewer_positions_and_of_one_pair() -> None:
    whole = config(16).rope_table()
    np.testing.assert_array_equal(config(16).rope_table(7), whole[:7])
    assert config(16).rope_table(0).shape == (0, 16)
    stretched = config(2, SCALINGS[1]).rope_table()
    np.testing.assert_allclose(stretched, rope_table(512, 2), atol=1e-6)
    with pytest.raises(msltx.InvalidValueError, match=r"positions is 513; .* context_length = 512"):
        config(16).rope_table(513)
    odd = msltx.GPTConfig(
        vocab_size=9, context_length=8, embedding_dim=9, num_layers=1, num_heads=3
    )
    with pytest.raises(msltx.InvalidValueError, match="head_dim is 3"):
        odd.rope_table()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_depend_on_relative_positions_alone(layout: Any, backend: str) -> None:
    rng = np.random.default_rng(1)
    table = config(32).rope_table()
    q, k = (rng.standard_normal((1, 1, 1, 32)).astype(np.float32) for _ in range(2))

    def score(i: int, j: int) -> float:
        at = (
            kernels.rope_forward(v, table, layout=layout, offset=place, backend=backend)
            for v, place in ((q, i), (k, j))
        )
        a, b = at
        return float((a.astype(np.float64) * b).sum())

    for distance in (0, 1, 37):
        scores = [score(distance + j, j) for j in (0, 1, 100, 470)]
        np.testing.assert_allclose(scores, scores[0], atol=3e-5)
    assert abs(score(1, 0) - score(2, 0)) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_turning_in_place_in_a_fused_projection(layout: Any, backend: str) -> None:
    """q and k are views of one buffer; turned back, they are what they were."""
    batch, length, heads, kv_heads, size = 2, 5, 4, 2, 6
    table = config(size).rope_table()
    width = (heads + 2 * kv_heads) * size
    qkv = np.random.default_rng(2).standard_normal((batch, length, width)).astype(np.float32)
    before = qkv.copy()

    def view(array: Any, first: int, count: int) -> Any:
        part = array[:, :, first * size : (first + count) * size]
        return part.reshape(batch, length, count, size).swapaxes(1, 2)

    parts = ((0, heads), (heads, kv_heads))
    for part in parts:
        x = view(qkv, *part)
        assert np.shares_memory(x, qkv)
        apart = kernels.rope_forward(x.copy(), table, layout=layout, offset=3, backend=backend)
        kernels.rope_forward(x, table, layout=layout, offset=3, out=x, backend=backend)
        np.testing.assert_array_equal(x, apart)
    v = slice((heads + kv_heads) * size, None)
    np.testing.assert_array_equal(qkv[..., v], before[..., v])
    for part in parts:
        x = view(qkv, *part)
        kernels.rope_backward(x, table, layout=layout, offset=3, out=x, backend=backend)
    np.testing.assert_allclose(qkv, before, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_offsets_of_sequences(backend: str) -> None:
    x = np.random.default_rng(3).standard_normal((3, 2, 4, 8)).astype(np.float32)
    table = config(8).rope_table(20)
    out = kernels.rope_forward(x, table, [0, 16, 5], backend=backend)
    for b, offset in enumerate((0, 16, 5)):
        alone = kernels.rope_forward(x[b : b + 1], table, offset=offset, backend=backend)
        np.testing.assert_array_equal(out[b : b + 1], alone)
    with pytest.raises(msltx.InvalidValueError, match="offsets has 17 at 1"):
        kernels.rope_forward(x, table, [0, 17, 5], backend=backend)
    with pytest.raises(msltx.InvalidValueError, match="offset is 17; it must be at most"):
        kernels.rope_forward(x, table, offset=17, backend=backend)
    with pytest.raises(msltx.InvalidValueError, match=r"hs is 7; it must be a multiple of 2$"):
        kernels.rope_forward(x[..., :7].copy(), table[:, :7].copy(), backend=backend)
