"""The Python face of the kernels: what they take, what they refuse and how they say it."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import msltx
from msltx import _core, kernels
from reference import DEFINITIONS, split_arguments

ROOT = Path(__file__).resolve().parent.parent
OPS = {op["name"]: op for op in _core.ops()}
BACKENDS = [backend["name"] for backend in _core.backends()]
F32 = np.float32


def f32(*shape: int) -> Any:
    return np.random.default_rng(sum(shape) + 1).standard_normal(shape).astype(F32)


X, GAMMA, BETA = f32(2, 3, 4), f32(4), f32(4)
WEIGHT = f32(5, 4)  # V or O = 5
IDS = np.array([[0, 4, 1], [2, 2, 3]], dtype=np.int32)


# What there is ---------------------------------------------------------------------------------


def test_generated_files_are_up_to_date() -> None:
    pytest.importorskip("ruff", reason="ruff, which lays out the stub, is not installed")
    run = subprocess.run(
        [sys.executable, ROOT / "script" / "generate_kernel_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_kernel_explains_itself(name: str) -> None:
    kernel = getattr(kernels, name)
    parameters = inspect.signature(kernel).parameters
    assert "backend" in parameters
    text = inspect.getdoc(kernel)
    assert text
    for parameter in parameters:
        assert re.search(rf"^(\w+, )?{parameter}(, \w+)* : ", text, re.MULTILINE), parameter
    for section in ("Parameters", "Returns", "Raises"):
        assert f"\n{section}\n---" in text


@pytest.mark.parametrize("op", OPS.values(), ids=list(OPS))
def test_signature_follows_the_op(op: Any) -> None:
    parameters = inspect.signature(getattr(kernels, op["name"])).parameters
    inputs = [f["name"] for f in op["fields"] if f["role"] in ("reads", "updates")]
    assert list(parameters) == [
        *inputs,
        *(attribute["name"] for attribute in op["attributes"]),
        "out",
        "backend",
    ]
    for attribute in op["attributes"]:
        default = parameters[attribute["name"]].default
        assert (default is inspect.Parameter.empty) == attribute["required"]
        assert attribute["required"] or default == attribute["default"]


OLDER = {
    "softmax_inplace": None,
    "embedding_lookup": "embedding_forward",
    "apply_positional_encoding": "positional_embedding_add_forward",
    "qkv_projection": "linear_forward",
    "scaled_dot_product_attention": "flash_attention_forward",
    "mhsa_output_projection": "linear_forward",
    "layer_norm": "layernorm_forward",
    "feed_forward_network": None,
    "output_logits_projection": "linear_forward",
    "cross_entropy_loss": "softmax_cross_entropy_forward",
    "loss_gradient": "softmax_cross_entropy_backward",
    "zero_gradients": "zero",
    "adamw_optimizer": "adamw",
    "gradient_clipping": "clip",
    "qkv_projection_inference": "linear_forward",
    "scaled_dot_product_attention_inference": "attention_inference",
    "argmax_sample_forward": "argmax_sample",
    "adamw_forward": "adamw",
}


@pytest.mark.parametrize(("older", "now"), OLDER.items())
def test_older_names(older: str, now: str | None) -> None:
    assert callable(getattr(kernels, older))
    if now:
        assert getattr(kernels, older) is getattr(kernels, now)
        assert kernels.ALIASES[older] == now


def test_softmax_inplace_writes_over_its_input() -> None:
    x = X.copy()
    assert kernels.softmax_inplace(x) is x
    np.testing.assert_array_equal(x, kernels.softmax_forward(X))


@pytest.mark.parametrize("activation", ["none", "gelu_tanh", "relu", "silu"])
def test_feed_forward_network_is_two_linears(activation: Any) -> None:
    w_in, b_in, w_out, b_out = f32(6, 4), f32(6), f32(4, 6), f32(4)
    hidden: Any = kernels.linear_forward(X, w_in, b_in, activation=activation)
    if activation != "none":
        hidden, _ = hidden
    np.testing.assert_array_equal(
        kernels.feed_forward_network(X, w_in, b_in, w_out, b_out, activation=activation),
        kernels.linear_forward(hidden, w_out, b_out),
    )


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


def spread(array: Any) -> Any:
    """The same values as a view with gaps of NaN between the rows."""
    wide = np.full((*array.shape[:-1], array.shape[-1] + 3), np.nan, array.dtype)
    view = wide[..., : array.shape[-1]]
    view[...] = array
    return view


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


# Refusals --------------------------------------------------------------------------------------

read_only = X.copy()
read_only.flags.writeable = False
Q, KV = f32(1, 4, 3, 2), f32(1, 2, 3, 2)
CACHE = f32(2, 2, 6, 4)
REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "float64": (
        lambda: kernels.gelu_forward(X.astype(np.float64)),  # type: ignore[arg-type]
        "gelu_forward: x is float64; expected float32 or bfloat16",
    ),
    "big-endian": (
        lambda: kernels.gelu_forward(X.astype(">f4")),
        "gelu_forward: x is >f4; expected float32 or bfloat16",
    ),
    "integers for floats": (
        lambda: kernels.gelu_forward(IDS),  # type: ignore[arg-type]
        "gelu_forward: x is int32; expected float32 or bfloat16",
    ),
    "list for floats": (
        lambda: kernels.gelu_forward([1.0]),  # type: ignore[arg-type]
        "gelu_forward: x is a list; expected a NumPy array of float32 or bfloat16",
    ),
    "bfloat16 for statistics": (
        lambda: kernels.layernorm_forward(X, GAMMA.astype(ml_dtypes.bfloat16)),
        "layernorm_forward: gamma is bfloat16; expected float32",
    ),
    "size": (
        lambda: kernels.layernorm_forward(X, f32(3)),
        "layernorm_forward: gamma has shape (3,); expected (C) with C = 4",
    ),
    "rank": (
        lambda: kernels.layernorm_forward(X, f32(1, 4)),
        "layernorm_forward: gamma has shape (1, 4); expected 1 dimension (C)",
    ),
    "too few dimensions": (
        lambda: kernels.gelu_forward(F32(1)),  # type: ignore[arg-type]
        "gelu_forward: x has shape (); expected (N C), N any number of dimensions",
    ),
    "too many dimensions": (
        lambda: kernels.merge_heads_forward(f32(1, 1, 1, 1, 1)),
        "merge_heads_forward: x has shape (1, 1, 1, 1, 1); expected 4 dimensions (B nh T hs)",
    ),
    "other leading dimensions": (
        lambda: kernels.residual_add_forward(X, X.reshape(3, 2, 4)),
        "residual_add_forward: residual has shape (3, 2, 4); expected (N C) with N = (2, 3) as in "
        "the arguments before it",
    ),
    "heads do not divide": (
        lambda: kernels.split_heads_forward(X, num_heads=3),
        "split_heads_forward: x has shape (2, 3, 4); expected (B T nh*hs) with nh*hs a multiple "
        "of 3",
    ),
    "key heads do not divide": (
        lambda: kernels.flash_attention_forward(f32(1, 3, 3, 2), KV, KV),
        "flash_attention_forward: nh is 3; it must be a multiple of nkv = 2",
    ),
    "nothing to choose from": (
        lambda: kernels.argmax_sample(np.empty((2, 0), F32)),
        "argmax_sample: logits has shape (2, 0); expected (N V) with V at least 1",
    ),
    "transposed": (
        lambda: kernels.gelu_forward(X.swapaxes(1, 2)),
        "gelu_forward: x has strides (12, 1, 4) in elements; expected a contiguous last "
        "dimension, which numpy.ascontiguousarray gives",
    ),
    "weight with gaps": (
        lambda: kernels.linear_forward(X, spread(WEIGHT)),
        "linear_forward: weight has strides (7, 1) in elements; expected a C-contiguous array, "
        "which numpy.ascontiguousarray gives",
    ),
    "broadcast": (
        lambda: kernels.gelu_forward(np.broadcast_to(GAMMA, (3, 4))),
        "gelu_forward: x has strides (0, 1) in elements; expected positive strides and elements "
        "that share no memory, which numpy.ascontiguousarray gives",
    ),
    "backwards": (
        lambda: kernels.gelu_forward(X[:, ::-1]),
        "gelu_forward: x has strides (12, -4, 1) in elements; expected positive strides and "
        "elements that share no memory, which numpy.ascontiguousarray gives",
    ),
    "rows that do not flatten": (
        lambda: kernels.gelu_forward(f32(2, 5, 4)[:, :3]),
        "gelu_forward: x has strides (20, 4, 1) in elements; expected rows at one distance from "
        "each other, which numpy.ascontiguousarray gives",
    ),
    "misaligned": (
        lambda: kernels.gelu_forward(np.frombuffer(bytearray(17), F32, offset=1)),
        "gelu_forward: x is misaligned in memory; expected an aligned array, which "
        "numpy.ascontiguousarray gives",
    ),
    "id too large": (
        lambda: kernels.embedding_forward([[0, 1], [5, 0]], WEIGHT),
        "embedding_forward: tokens has 5 at 2; it must be at least 0 and below V = 5",
    ),
    "id negative": (
        lambda: kernels.embedding_forward([-1], WEIGHT),
        "embedding_forward: tokens has -1 at 0; it must be at least 0 and below V = 5",
    ),
    "id outside int32": (
        lambda: kernels.embedding_forward([2**40], WEIGHT),
        "embedding_forward: tokens has 1099511627776; it must fit int32, -2147483648 to 2147483647",
    ),
    "ids of float": (
        lambda: kernels.embedding_forward([0.5], WEIGHT),
        "embedding_forward: tokens is float64; expected integers",
    ),
    "ids of bool": (
        lambda: kernels.embedding_forward([True], WEIGHT),
        "embedding_forward: tokens is bool; expected integers",
    ),
    "ids of str": (
        lambda: kernels.embedding_forward("ab", WEIGHT),
        "embedding_forward: tokens is a str; expected a NumPy array or list of integers",
    ),
    "target": (
        lambda: kernels.softmax_cross_entropy_forward(WEIGHT, [0, 1, 2, 3, -2]),
        "softmax_cross_entropy_forward: targets has -2 at 4; it must be at least 0 and below "
        "V = 4, or ignore_index = -1",
    ),
    "cache row": (
        lambda: kernels.kv_cache_gather(CACHE, CACHE, [0, 2]),
        "kv_cache_gather: rows has 2 at 1; it must be at least 0 and below B = 2",
    ),
    "cache length": (
        lambda: kernels.attention_inference(f32(2, 2, 1, 4), CACHE, CACHE, [6, 7]),
        "attention_inference: lengths has 7 at 1; it must be at least 0 and at most S = 6",
    ),
    "cache position": (
        lambda: kernels.kv_cache_append(CACHE, CACHE.copy(), KV, KV, [0]),
        "kv_cache_append: k has shape (1, 2, 3, 2); expected (B nkv T hs) with B = 2",
    ),
    "past the last position": (
        lambda: kernels.positional_embedding_add_forward(X, f32(4, 4), offset=2),
        "positional_embedding_add_forward: offset is 2; it must be at most S - T = 1",
    ),
    "choice": (
        lambda: kernels.gelu_forward(X, approximate="erf"),  # type: ignore[arg-type]
        "gelu_forward: approximate is 'erf'; expected one of 'tanh', 'none'",
    ),
    "number": (
        lambda: kernels.layernorm_forward(X, GAMMA, eps="a"),  # type: ignore[arg-type]
        "layernorm_forward: eps is 'a'; expected a number",
    ),
    "nan": (
        lambda: kernels.layernorm_forward(X, GAMMA, eps=float("nan")),
        "layernorm_forward: eps is nan; it must be finite",
    ),
    "temperature": (
        lambda: kernels.temperature_scale(X, temperature=0),
        "temperature_scale: temperature is 0; it must be above 0",
    ),
    "k": (
        lambda: kernels.topk_mask(X, k=0),
        "topk_mask: k is 0; it must be at least 1",
    ),
    "k of float": (
        lambda: kernels.topk_mask(X, k=2.5),  # type: ignore[arg-type]
        "topk_mask: k is 2.5; expected an integer",
    ),
    "k too large": (
        lambda: kernels.topk_mask(X, k=10**20),
        "topk_mask: k is 100000000000000000000; it must fit 64 bits",
    ),
    "p": (
        lambda: kernels.topp_mask(X, p=1.5),
        "topp_mask: p is 1.5; it must be in (0, 1]",
    ),
    "softcap": (
        lambda: kernels.flash_attention_forward(Q, KV, KV, softcap=1e-40),
        "flash_attention_forward: softcap is 1e-40; it must be 0 or at least 1e-06",
    ),
    "softcap below 0": (
        lambda: kernels.attention_scores_forward(Q, KV, softcap=-1.0),
        "attention_scores_forward: softcap is -1; it must be 0 or at least 1e-06",
    ),
    "cap": (
        lambda: kernels.softcap_logits(X, cap=0),
        "softcap_logits: cap is 0; it must be at least 1e-06",
    ),
    "switch": (
        lambda: kernels.flash_attention_forward(Q, KV, KV, causal=1),  # type: ignore[arg-type]
        "flash_attention_forward: causal is 1; expected True or False",
    ),
    "backend": (
        lambda: kernels.gelu_forward(X, backend="abacus"),
        f"backend is abacus; the backends here are: {', '.join(BACKENDS)}",
    ),
    "activation without pre": (
        lambda: kernels.linear_backward_data(f32(6, 5), WEIGHT, activation="gelu"),
        "linear_backward_data: pre is missing; it is needed with activation",
    ),
    "accumulate without out": (
        lambda: kernels.embedding_backward(IDS, X, vocab_size=5, accumulate=True),
        "embedding_backward: accumulate is True and out= has no d_weight; expected the array to "
        "add to",
    ),
    "out dtype": (
        lambda: kernels.gelu_forward(X, out=X.astype(np.float64)),  # type: ignore[arg-type]
        "gelu_forward: out= for out is float64; expected float32",
    ),
    "out shape": (
        lambda: kernels.gelu_forward(X, out=X.reshape(6, 4)),
        "gelu_forward: out= for out has shape (6, 4); expected (2, 3, 4)",
    ),
    "out read-only": (
        lambda: kernels.gelu_forward(X, out=read_only),
        "gelu_forward: out= for out is read-only; expected a writable array",
    ),
    "out of another kind": (
        lambda: kernels.gelu_forward(X, out=[1.0]),  # type: ignore[arg-type]
        "gelu_forward: out= for out is a float; expected a NumPy array of float32",
    ),
    "out count": (
        lambda: kernels.layernorm_forward(X, GAMMA, out=(X, X)),  # type: ignore[arg-type]
        "layernorm_forward: out= has 2 arrays; expected 3: out, mean, rstd",
    ),
    "out count of a pair": (
        lambda: kernels.layernorm_backward(X, X, GAMMA, out=X),  # type: ignore[arg-type]
        "layernorm_backward: out= is ndarray; expected 3 arrays: d_x, d_gamma, d_beta",
    ),
    "out over an input": (
        lambda: kernels.residual_add_forward(X, Y, out=Y),
        "residual_add_forward: out overlaps residual, which it may not",
    ),
    "out half over an input": (
        lambda: kernels.gelu_forward(Y.reshape(6, 4)[1:], out=Y.reshape(6, 4)[:-1]),
        "gelu_forward: out overlaps x, which it may not",
    ),
    "outputs over each other": (
        lambda: kernels.residual_add_backward(X, out=(Y, Y)),
        "residual_add_backward: d_x overlaps d_residual, which it may not",
    ),
}
Y = f32(2, 3, 4)


@pytest.mark.parametrize(("call", "message"), REFUSALS.values(), ids=list(REFUSALS))
def test_refusal(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(msltx.InvalidValueError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernels.gelu_forward(), "needs x; it takes: x, approximate, out, backend"),  # type: ignore[call-arg]
        (lambda: kernels.gelu_forward(None), "needs x; it takes: x, approximate, out, backend"),  # type: ignore[arg-type]
        (
            lambda: kernels.gelu_forward(X, "tanh"),  # type: ignore[misc]
            "takes 1 array, but 2 were given; attributes are given by name: x, approximate, out, "
            "backend",
        ),
        (
            lambda: kernels.gelu_forward(X, approx="tanh"),  # type: ignore[call-arg]
            "has no argument approx; it takes: x, approximate, out, backend",
        ),
        (lambda: kernels.gelu_forward(X, x=X), "got x twice"),  # type: ignore[misc]
        (lambda: kernels.topk_mask(X), "needs k="),  # type: ignore[call-arg]
        (lambda: kernels.gelu_forward(X, backend=1), "takes backend as a string"),  # type: ignore[arg-type]
    ],
)
def test_wrong_call(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=rf"^\w+\(\) {re.escape(message)}$"):
        call()


@pytest.mark.parametrize("backend", msltx.backends(), ids=lambda backend: backend.name)
def test_bfloat16_where_the_backend_has_it(backend: msltx.Backend) -> None:
    x = X.astype(ml_dtypes.bfloat16)
    if backend.supports("gelu_forward", "bfloat16"):
        out: Any = kernels.gelu_forward(x, backend=backend.name)
        assert out.dtype == ml_dtypes.bfloat16
    else:
        with pytest.raises(msltx.InvalidValueError, match="does not compute in bfloat16"):
            kernels.gelu_forward(x, backend=backend.name)


def test_inputs_and_attributes_by_name() -> None:
    expected = kernels.layernorm_forward(X, GAMMA, BETA, eps=1e-3)
    found = kernels.layernorm_forward(beta=BETA, x=X, eps=np.float64(1e-3), gamma=GAMMA)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found[0], expected[0])
    default = kernels.flash_attention_forward(Q, KV, KV)[0]
    np.testing.assert_array_equal(
        default,
        kernels.flash_attention_forward(Q, KV, KV, scale=None)[0],  # type: ignore[arg-type]
    )


# Backends --------------------------------------------------------------------------------------


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


LAST_KERNEL = """
import numpy as np
from msltx import _core, kernels
kernels.gelu_forward(np.ones((2, 3), np.float32))
print(*_core._last_kernel())
"""


@pytest.mark.parametrize("backend", msltx.backends(), ids=lambda backend: backend.name)
def test_the_environment_forces_a_backend(backend: msltx.Backend) -> None:
    run = run_python(LAST_KERNEL, MSLTX_BACKEND=backend.name)
    ran = backend.name if backend.supports("gelu_forward") else "reference"
    assert run.stdout.split() == ["gelu_forward", ran], run.stderr
    # A fallback is said, and nothing else.
    said = f"backend {backend.name} has no gelu_forward; reference runs it\n"
    assert run.stderr == ("" if ran == backend.name else said)


def test_an_unknown_backend_in_the_environment() -> None:
    run = run_python(LAST_KERNEL, MSLTX_BACKEND="abacus")
    assert run.returncode == 1
    names = ", ".join(BACKENDS)
    assert run.stderr.endswith(
        f"InvalidValueError: MSLTX_BACKEND is abacus; the backends here are: {names}\n"
    )


def test_backends_lists_every_op() -> None:
    listed = msltx.backends()
    assert [backend.name for backend in listed] == BACKENDS
    assert [backend.is_default for backend in listed].count(True) == 1
    for backend in listed:
        assert set(backend.ops) == set(OPS)
    assert listed[0].name == "reference"
    assert all(listed[0].supports(name) for name in OPS)
    with pytest.raises(msltx.InvalidValueError, match="there is no op 'nonsense'"):
        listed[0].supports("nonsense")


def test_the_gil_is_released() -> None:
    x = f32(1500, 1500)
    done = threading.Event()

    def work() -> None:
        kernels.linear_forward(x[:500], x, backend="reference")
        done.set()

    thread = threading.Thread(target=work)
    begin = time.perf_counter()
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.005)
    thread.join()
    assert turns > 5, f"in {time.perf_counter() - begin:.3f} s"


def test_threads_may_call_at_once() -> None:
    expected = kernels.layernorm_forward(X, GAMMA, BETA)[0]
    failures = []

    def work() -> None:
        for _ in range(50):
            if not np.array_equal(kernels.layernorm_forward(X, GAMMA, BETA)[0], expected):
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("backend", [b.name for b in msltx.backends()])
def test_adamw_follows_float64_over_many_steps(backend: str) -> None:
    # 1 - 0.999f is off by 1.3e-5 of itself, and so would be the second moment.
    lr, beta1, beta2, eps, decay = 1e-3, 0.9, 0.999, 1e-8, 0.1
    rng = np.random.default_rng(5)
    param = rng.standard_normal(257, dtype=np.float32)
    m, v = np.zeros_like(param), np.zeros_like(param)
    exact = [x.astype(np.float64) for x in (param, m, v)]
    for step in range(1, 301):
        grad = rng.standard_normal(257, dtype=np.float32)
        param, m, v = kernels.adamw(
            param,
            m,
            v,
            grad,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=decay,
            step=step,
            backend=backend,
        )
        exact[1] = beta1 * exact[1] + (1 - beta1) * grad.astype(np.float64)
        exact[2] = beta2 * exact[2] + (1 - beta2) * grad.astype(np.float64) ** 2
        m_hat, v_hat = exact[1] / (1 - beta1**step), exact[2] / (1 - beta2**step)
        exact[0] = (1 - lr * decay) * exact[0] - lr * m_hat / (np.sqrt(v_hat) + eps)
        if step in (1, 300):
            for got, want in zip((param, m, v), exact, strict=True):
                assert np.linalg.norm(got - want) <= 1e-6 * np.linalg.norm(want)
