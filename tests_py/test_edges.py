"""The ends of the range of every kernel: lengths, places in memory, values."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from msltx import _core, backends, kernels
from reference import DEFINITIONS, assert_result, call, split_arguments
from reference.inputs import Arguments
from reference.proof import arguments_of, dtypes_of, run
from reference.tolerance import FLOAT32_LONG_SUMS

BACKENDS = [backend.name for backend in backends()]
OPS = {op["name"]: op for op in _core.ops()}
F32 = np.float32
# Kernels whose cases are rows of C numbers, or of V logits.
ROWS = [name for name, d in DEFINITIONS.items() if set(d.cases[0]) == {"N", "C"}]
LOGITS = [name for name, d in DEFINITIONS.items() if {"N", "V"} <= set(d.cases[0])]


def check(name: str, arguments: Arguments, backend: str, tol: float | None = None) -> None:
    definition = DEFINITIONS[name]
    results = call(definition.function, arguments)
    for output, out, result in zip(
        definition.outputs, run(name, arguments, backend), results, strict=False
    ):
        assert_result(out, result, tol or definition.tol, f"{name} on {backend}: {output}")


# Lengths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", [1, 4096, pytest.param(16384, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_one_and_of_many(name: str, length: int, backend: str) -> None:
    arguments = DEFINITIONS[name].generate(np.random.default_rng(length), N=(3,), C=length)
    check(name, arguments, backend, FLOAT32_LONG_SUMS if length > 4096 else None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("length", [1, 4096, pytest.param(16384, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LOGITS)
def test_logits_of_one_and_of_many(name: str, length: int, backend: str) -> None:
    definition = DEFINITIONS[name]
    case = {**definition.cases[0], "N": 3, "V": length}
    arguments = definition.generate(np.random.default_rng(length), **case)
    check(name, arguments, backend, FLOAT32_LONG_SUMS if length > 4096 else None)


# Values ----------------------------------------------------------------------------------------

FLAT = ["layernorm", "rmsnorm", "residual_layernorm", "residual_rmsnorm"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [0.0, 3.0, -1e4, 1e15])
@pytest.mark.parametrize("name", FLAT)
def test_rows_without_variance_and_without_norm(name: str, value: float, backend: str) -> None:
    """Forward and backward are finite, and what the definition says."""
    rng = np.random.default_rng(7)
    forward, backward = f"{name}_forward", f"{name}_backward"
    arguments = DEFINITIONS[forward].generate(rng, N=(3,), C=40)
    arguments["x"] = np.full((3, 40), value, F32)
    if "residual" in arguments:
        arguments["residual"] = np.zeros((3, 40), F32)
    outs = run(forward, arguments, backend)
    assert all(np.isfinite(out).all() for out in outs)
    if not (name.endswith("layernorm") and abs(value) > 1e3):
        check(forward, arguments, backend)  # rounding of the mean is all the variance there is
    known = {**arguments, **dict(zip(DEFINITIONS[forward].outputs, outs, strict=False))}
    known["d_out"] = rng.standard_normal((3, 40), dtype=F32)
    known["d_sum"] = np.zeros((3, 40), F32)
    given = split_arguments(DEFINITIONS[backward].function, known)
    gradients = getattr(kernels, backward)(*given[0], **given[1], backend=backend)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


HUGE = np.array(
    [[1e30, 0, -1e30, 1e30], [-np.inf, 3, -np.inf, 2], [3e38, 3e38, -3e38, 0], [0, -1e38, 0, 0]],
    F32,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("softmax_forward", {}),
        ("temperature_scale", {"temperature": 2.0}),
        ("topk_mask", {"k": 2}),
        ("topp_mask", {"p": 0.4}),
        ("argmax_sample", {}),
        ("categorical_sample", {"seed": 5, "step": 3}),
        ("repetition_penalty", {"tokens": np.array([[1], [1], [1], [1]], np.int32), "penalty": 2}),
        ("softcap_logits", {"cap": 30.0}),
        ("softmax_cross_entropy_forward", {"targets": np.array([0, 1, 1, 3], np.int32)}),
    ],
)
def test_masked_and_huge_logits(name: str, more: Arguments, backend: str) -> None:
    arguments = {"x" if name == "softmax_forward" else "logits": HUGE, **more}
    check(name, arguments, backend)
    assert not any(np.isnan(out).any() for out in run(name, arguments, backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_of_huge_logits(backend: str) -> None:
    targets = np.array([0, 1, 1, 3], np.int32)
    logits = np.where(np.isinf(HUGE), HUGE, HUGE / F32(1e30))
    _, lse = kernels.softmax_cross_entropy_forward(logits, targets, backend=backend)
    d_logits = kernels.softmax_cross_entropy_backward(logits, targets, lse, backend=backend)
    assert np.isfinite(d_logits).all()
    hidden, weight = np.full((4, 2), 1e15, F32), np.array([[1e14, 0], [0, 0], [-1e14, 0]], F32)
    loss, *gradients = kernels.linear_cross_entropy_forward_backward(
        hidden, weight, [0, 1, 2, -1], scale=1.0, backend=backend
    )
    np.testing.assert_allclose(loss, 3e29, rtol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_is_masked_where_it_comes_after_the_query_strictly(backend: str) -> None:
    q = k = np.zeros((1, 1, 5, 4), F32)
    probabilities = kernels.softmax_forward(
        kernels.attention_scores_forward(q, k, backend=backend), backend=backend
    )
    np.testing.assert_array_equal(probabilities[0, 0] > 0, np.tril(np.ones((5, 5), bool)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["gelu tanh", "gelu none", "silu", "relu", "sigmoid"])
def test_activations_of_huge_numbers(name: str, backend: str) -> None:
    """They reach their limits, as do their slopes; a NaN stays one."""
    kind, _, form = name.partition(" ")
    options: Any = {"approximate": form} if form else {}
    x = np.array([[-3e38, -1e30, -89, -30, 30, 89, 1e30, 3e38, np.nan]], F32)
    forward, backward = getattr(kernels, f"{kind}_forward"), getattr(kernels, f"{kind}_backward")
    out = forward(x, **options, backend=backend)[0]
    slope = backward(np.ones_like(x), x, **options, backend=backend)[0]
    assert np.isnan(out[-1])
    is_sigmoid = kind == "sigmoid"
    np.testing.assert_allclose(out[:4], 0, atol=1e-11)
    np.testing.assert_allclose(out[4:-1], 1 if is_sigmoid else x[0, 4:-1], rtol=1e-6)
    np.testing.assert_allclose(slope[:4], 0, atol=1e-11)
    np.testing.assert_allclose(slope[4:-1], 0 if is_sigmoid else 1, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_query_against_the_cache_depends_on_its_keys_alone(backend: str) -> None:
    """Not on queries or sequences that go with it, nor on the cache's capacity."""
    rng = np.random.default_rng(0)
    q = rng.standard_normal((3, 4, 20, 16), dtype=F32)
    k, v = (rng.standard_normal((3, 2, 200, 16), dtype=F32) for _ in range(2))
    whole = kernels.attention_inference(q, k, v, [150, 20, 90], backend=backend)
    wide = [np.concatenate([x, np.full((3, 2, 100, 16), np.nan, F32)], axis=2) for x in (k, v)]
    found = kernels.attention_inference(q, *wide, [150, 20, 90], backend=backend)
    np.testing.assert_array_equal(found, whole)
    last = np.ascontiguousarray(q[:1, :, -1:])
    alone = kernels.attention_inference(last, k[:1], v[:1], [150], backend=backend)
    np.testing.assert_array_equal(alone, whole[:1, :, -1:])


# Places in memory ------------------------------------------------------------------------------

FAR = 2**31 + 8  # elements between rows: beyond what 32 bits count
MOST_ROWS = 3


def far(array: Any) -> Any:
    """The same values as a view whose first axis steps by FAR elements of a sparse mapping."""
    inner = array[0].size
    elements = FAR * (len(array) - 1) + inner
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        memory = mmap.mmap(-1, elements * array.itemsize, flags=flags)
    except OSError as error:
        pytest.skip(f"this machine maps no {elements * array.itemsize >> 30} GiB: {error}")
    strides = np.zeros(array.shape[1:], array.dtype).strides
    view = np.ndarray(array.shape, array.dtype, memory, 0, (FAR * array.itemsize, *strides))
    view[...] = array
    return view


def is_row_wise(axes: str) -> bool:
    letters = axes.split()
    return len(letters) > 1 and letters[0] in "NBM"


def short_case(case: dict[str, Any]) -> dict[str, Any]:
    """A case of few rows, so that their places need no memory but for a page each."""
    short = dict(case)
    if "N" in short:
        short["N"] = (MOST_ROWS,) if isinstance(short["N"], tuple) else MOST_ROWS
    for letter in ("B", "M"):
        if letter in short:
            short[letter] = 2 if letter == "B" else MOST_ROWS
    return short


WITH_ROWS = [
    name
    for name in OPS
    if name in DEFINITIONS and any(is_row_wise(field["axes"]) for field in OPS[name]["fields"])
]


@pytest.mark.campaign
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in WITH_ROWS for dtype in dtypes_of(name)]
)
def test_rows_may_lie_beyond_32_bits(name: str, dtype: str, backend: str) -> None:
    """Inputs and outputs at strides of more than 2^31 elements give the bits of close ones."""
    definition = DEFINITIONS[name]
    case = short_case(definition.cases[0])
    arguments = arguments_of(name, case, dtype)
    given, attributes = split_arguments(definition.function, arguments)
    fields = [f for f in OPS[name]["fields"] if f["role"] in ("reads", "updates")]
    apart = [
        far(a) if a is not None and f["dtype"] != "int32" and is_row_wise(f["axes"]) else a
        for a, f in zip(given, fields, strict=False)
    ]
    kernel: Any = getattr(kernels, name)
    expected = kernel(*given, **attributes, backend=backend)
    expected = expected if isinstance(expected, tuple) else (expected,)
    outputs = [f for f in OPS[name]["fields"] if f["role"] != "reads"]
    if len(outputs) != len(expected):
        outputs = [f for f in outputs if not f["condition"]]
    out = tuple(
        far(np.full_like(a, -1)) if is_row_wise(f["axes"]) else np.full_like(a, -1)
        for a, f in zip(expected, outputs, strict=True)
    )
    kernel(*apart, **attributes, backend=backend, out=out if len(out) > 1 else out[0])
    for a, b, f in zip(expected, out, outputs, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f["name"])


@pytest.mark.campaign
@pytest.mark.parametrize("backend", BACKENDS)
def test_tables_and_lists_may_have_more_than_2_to_the_31_numbers(backend: str) -> None:
    """A weight must lie close: a sparse one, of which the last row and a middle one are set."""
    rows, width = 2**20 + 3, 2053
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    try:
        memory = mmap.mmap(-1, rows * width * 4, flags=flags)
    except OSError as error:
        pytest.skip(f"this machine maps no 8 GiB: {error}")
    table = np.ndarray((rows, width), F32, memory)
    assert table.size > 2**31
    table[-1], table[rows // 2] = np.arange(width), 7
    out = kernels.embedding_forward([rows - 1, 0, rows // 2], table, backend=backend)
    np.testing.assert_array_equal(out, [np.arange(width), np.zeros(width), np.full(width, 7)])
    norm = kernels.global_norm(table.reshape(-1), backend=backend)
    expected = np.sqrt(np.sum(np.arange(width, dtype=np.float64) ** 2) + 49 * width)
    np.testing.assert_allclose(norm, expected, rtol=1e-6)
