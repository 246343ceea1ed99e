"""Arrays given to kernels: shapes, gaps between rows, what is written over, and ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import msltx
from kernel_inputs import BACKENDS, BETA, F32, GAMMA, IDS, OPS, WEIGHT, X, f32, spread
from msltx import kernels
from reference import DEFINITIONS, split_arguments

# Shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_leading_dimensions_are_rows(backend: str) -> None:
    flat = kernels.layernorm_forward(X.reshape(6, 4), GAMMA, BETA, backend=backend)
    for leading in [(6,), (2, 3), (1, 2, 1, 3)]:
        outs = kernels.layernorm_forward(X.reshape(*leading, 4), GAMMA, BETA, backend=backend)
        assert [out.shape for out in outs] == [(*leading, 4), leading, leading]
        for out, expected in zip(outs, flat, strict=True):
            np.testing.assert_array_equal(out.reshape(expected.shape), expected)
    one = kernels.layernorm_forward(X[0, 0], GAMMA, BETA, backend=backend)
    assert [out.shape for out in one] == [(4,), (), ()]
    np.testing.assert_array_equal(one[0], flat[0][0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_at_all(backend: str) -> None:
    none = np.empty((0, 4), F32)
    assert kernels.layernorm_forward(none, GAMMA, backend=backend)[0].shape == (0, 4)
    assert kernels.linear_forward(none, WEIGHT, backend=backend).shape == (0, 5)
    d_x, d_weight, d_bias = kernels.linear_backward(
        np.empty((0, 5), F32), none, WEIGHT, backend=backend
    )
    assert d_x.shape == (0, 4)
    assert not d_weight.any()
    assert not d_bias.any()
    assert kernels.embedding_forward([], WEIGHT, backend=backend).shape == (0, 4)
    loss, lse = kernels.softmax_cross_entropy_forward(np.empty((0, 5), F32), [], backend=backend)
    assert loss == 0
    assert lse.shape == (0,)


def test_numbers_have_no_dimensions_and_may_be_numpy_scalars() -> None:
    norm = kernels.global_norm(X)
    assert norm.shape == ()
    assert norm.dtype == F32
    np.testing.assert_allclose(norm, np.linalg.norm(X), rtol=1e-6)
    for given in (norm, norm * F32(1), norm.reshape(1)):
        out, scale, skip = kernels.clip(X, given, max_norm=float(norm) / 2)
        np.testing.assert_allclose(scale, 0.5, rtol=1e-6)
        np.testing.assert_allclose(out, X / 2, rtol=1e-5)
        assert skip == 0


def is_row_wise(axes: str) -> bool:
    letters = axes.split()
    return len(letters) > 1 and letters[0] in "NBM"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in OPS if name in DEFINITIONS])
def test_views_with_gaps_between_rows_give_the_same_bits(name: str, backend: str) -> None:
    definition = DEFINITIONS[name]
    arguments = definition.generate(np.random.default_rng(3), **definition.cases[-1])
    given, attributes = split_arguments(definition.function, arguments)
    fields = [f for f in OPS[name]["fields"] if f["role"] in ("reads", "updates")]
    gappy = [
        spread(a) if a is not None and f["dtype"] != "int32" and is_row_wise(f["axes"]) else a
        for a, f in zip(given, fields, strict=False)
    ]
    kernel: Any = getattr(kernels, name)
    expected = kernel(*given, **attributes, backend=backend)
    found = kernel(*gappy, **attributes, backend=backend)
    expected, found = (r if isinstance(r, tuple) else (r,) for r in (expected, found))
    outputs = [f for f in OPS[name]["fields"] if f["role"] != "reads"]
    if len(outputs) != len(expected):
        outputs = [f for f in outputs if not f["condition"]]
    wide = tuple(
        spread(np.full_like(a, -1)) if is_row_wise(f["axes"]) else np.full_like(a, -1)
        for a, f in zip(expected, outputs, strict=True)
    )
    kernel(*gappy, **attributes, backend=backend, out=wide)
    for a, b, c in zip(expected, found, wide, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        if c.base is not None:
            assert np.isnan(c.base[..., c.shape[-1] :]).all(), "a gap was written"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["swiglu", "geglu"])
def test_gates_read_and_write_halves_of_one_projection(name: str, backend: str) -> None:
    fused, d_out = f32(2, 5, 14), f32(2, 5, 7)
    gate, up = fused[..., :7], fused[..., 7:]
    forward, backward = getattr(kernels, f"{name}_forward"), getattr(kernels, f"{name}_backward")
    apart = gate.copy(), up.copy()
    np.testing.assert_array_equal(
        forward(gate, up, backend=backend), forward(*apart, backend=backend)
    )
    expected = backward(d_out, *apart, backend=backend)
    for d_fused in (np.full_like(fused, np.nan), fused):  # elsewhere, and in place
        d_gate, d_up = backward(
            d_out, gate, up, out=(d_fused[..., :7], d_fused[..., 7:]), backend=backend
        )
        np.testing.assert_array_equal(d_fused, np.concatenate(expected, -1))
        assert np.shares_memory(d_gate, d_fused)
        assert np.shares_memory(d_up, d_fused)


@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_reads_and_writes_a_fused_projection(backend: str) -> None:
    batch, length, heads, size = 2, 5, 2, 4
    qkv, d_qkv = f32(batch, length, 3 * heads * size), np.full((batch, length, 24), np.nan, F32)

    def parts(fused: Any) -> list[Any]:
        return [
            part.reshape(batch, length, heads, size).swapaxes(1, 2)
            for part in np.split(fused, 3, axis=-1)
        ]

    whole = [np.ascontiguousarray(part) for part in parts(qkv)]
    mix, lse = kernels.flash_attention_forward(*parts(qkv), backend=backend)
    np.testing.assert_array_equal(mix, kernels.flash_attention_forward(*whole, backend=backend)[0])
    d_out = f32(*mix.shape)
    expected = kernels.flash_attention_backward(d_out, mix, lse, *whole, backend=backend)
    kernels.flash_attention_backward(
        d_out, mix, lse, *parts(qkv), backend=backend, out=tuple(parts(d_qkv))
    )
    for a, b in zip(expected, parts(d_qkv), strict=True):
        np.testing.assert_array_equal(a, b)


# out= ------------------------------------------------------------------------------------------


def test_out_is_written_and_returned() -> None:
    expected = kernels.layernorm_forward(X, GAMMA, BETA)
    given = (np.full_like(X, np.nan), None, np.full((2, 3), np.nan, F32))
    found = kernels.layernorm_forward(X, GAMMA, BETA, out=given)
    assert found[0] is given[0]
    assert found[2] is given[2]
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_out_may_be_an_input_where_the_op_says_so() -> None:
    x = X.copy()
    assert kernels.gelu_forward(x, out=x) is x
    np.testing.assert_array_equal(x, kernels.gelu_forward(X))


def test_updated_inputs_are_copied_unless_out_is_the_input() -> None:
    param, m, v, grad = f32(7), np.zeros(7, F32), np.zeros(7, F32), f32(7)[::-1].copy()
    before = param.copy()
    new = kernels.adamw(param, m, v, grad, lr=0.1)
    np.testing.assert_array_equal(param, before)
    assert not m.any()
    elsewhere = np.full(7, np.nan, F32)
    assert kernels.adamw(param, m, v, grad, lr=0.1, out=(elsewhere, None, None))[0] is elsewhere
    np.testing.assert_array_equal(elsewhere, new[0])
    np.testing.assert_array_equal(param, before)
    kernels.adamw(param, m, v, grad, lr=0.1, out=(param, m, v))
    for a, b in zip((param, m, v), new, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (param != before).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_accumulate_adds_to_out(backend: str) -> None:
    d_out = f32(2, 3, 5)
    d_x, d_weight, d_bias = kernels.linear_backward(d_out, X, WEIGHT, backend=backend)
    sums = (None, d_weight.copy(), d_bias.copy())
    again = kernels.linear_backward(d_out, X, WEIGHT, accumulate=True, out=sums, backend=backend)
    assert again[1] is sums[1]
    np.testing.assert_allclose(again[1], 2 * d_weight, rtol=1e-6)
    np.testing.assert_allclose(again[2], 2 * d_bias, rtol=1e-6)
    np.testing.assert_array_equal(again[0], d_x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_accumulate_of_rmsnorm(backend: str) -> None:
    d_out = f32(3, 4)
    x, d_sum = X[0], f32(1, 3, 4)[0]
    _, d_gamma = kernels.rmsnorm_backward(d_out, x, GAMMA, backend=backend)
    sums = (None, d_gamma.copy())
    kernels.residual_rmsnorm_backward(
        d_out, d_sum, x, GAMMA, accumulate=True, out=sums, backend=backend
    )
    np.testing.assert_allclose(sums[1], 2 * d_gamma, rtol=1e-6)
    with pytest.raises(msltx.InvalidValueError, match="expected 2 arrays: d_x, d_gamma"):
        kernels.rmsnorm_backward(d_out, x, GAMMA, out=(None,))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sgd_keeps_a_velocity_where_given_one(backend: str) -> None:
    param, grad, m = f32(7), f32(8)[:7].copy(), np.zeros(7, F32)
    for _ in range(2):
        kernels.sgd(param, grad, m, lr=0.5, momentum=0.5, out=(param, m), backend=backend)
    np.testing.assert_allclose(m, 1.5 * grad, rtol=1e-6)
    np.testing.assert_allclose(param, f32(7) - 1.25 * grad, rtol=1e-5, atol=1e-6)
    alone = kernels.sgd(param, grad, lr=0.5, momentum=0.5, nesterov=True, backend=backend)
    np.testing.assert_allclose(alone, param - 0.75 * grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_repetition_penalty_in_place_counts_a_token_once(backend: str) -> None:
    logits = np.array([[2, -2, 3, 4], [1, 1, 1, 1]], F32)
    tokens = [[0, 1, 1, 0, -1], [3, 3, 3, -1, -1]]
    out = kernels.repetition_penalty(logits, tokens, penalty=2, out=logits, backend=backend)
    assert out is logits
    assert logits.tolist() == [[1, -4, 3, 4], [1, 1, 1, 0.5]]
    with pytest.raises(msltx.InvalidValueError, match="tokens has 4 at 0"):
        kernels.repetition_penalty(logits[:1], [[4]], penalty=2, backend=backend)


def test_outputs_that_belong_to_an_attribute_or_input() -> None:
    assert isinstance(kernels.linear_forward(X, WEIGHT), np.ndarray)
    assert len(kernels.linear_forward(X, WEIGHT, activation="gelu")) == 2
    targets = IDS.ravel()
    hidden = X.reshape(6, 4)
    assert len(kernels.linear_cross_entropy_forward_backward(hidden, WEIGHT, targets)) == 3
    assert len(kernels.linear_cross_entropy_forward_backward(hidden, WEIGHT, targets, f32(5))) == 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "gelu", "relu", "silu"])
def test_a_pair_is_its_halves(activation: Any, backend: str) -> None:
    d_out, pre = f32(2, 3, 5), f32(2, 3, 5)
    data: Any = kernels.linear_backward_data(
        d_out, WEIGHT, pre, activation=activation, backend=backend
    )
    d_pre = d_out if activation == "none" else data[1]
    expected = (
        data[0],
        *kernels.linear_backward_weights(X, d_pre, data[-1], backend=backend),
    )
    out = (np.empty_like(X), np.empty_like(WEIGHT), np.empty(5, F32))
    found = kernels.linear_backward(
        d_out, X, WEIGHT, pre, activation=activation, out=out, backend=backend
    )
    for a, b, c in zip(expected, found, out, strict=True):
        np.testing.assert_array_equal(a, b)
        assert b is c


# Ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        IDS.tolist(),
        tuple(map(tuple, IDS.tolist())),
        IDS.astype(np.int64),
        IDS.astype(np.uint8),
        IDS.astype(np.uint64),
        IDS.astype(">i2"),
        np.asfortranarray(IDS),
        np.repeat(IDS, 2, axis=1)[:, ::2],
    ],
    ids=["list", "tuple", "int64", "uint8", "uint64", "big-endian", "fortran", "strided"],
)
def test_ids_may_be_any_integers(ids: Any) -> None:
    expected = kernels.embedding_forward(IDS, WEIGHT)
    np.testing.assert_array_equal(kernels.embedding_forward(ids, WEIGHT), expected)
    np.testing.assert_array_equal(expected, WEIGHT[IDS])


def test_one_id() -> None:
    np.testing.assert_array_equal(kernels.embedding_forward(3, WEIGHT), WEIGHT[3])
