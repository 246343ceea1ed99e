"""The checks of a kernel that tests_py/test_proof.py runs and script/proof counts.

Each raises AssertionError naming kernel, case and worst element, or gives how many cases held and
the largest error as a share of what is allowed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import msltx
from msltx import _core, kernels

from . import differences
from .drawn import drawn_cases
from .inputs import Arguments
from .registry import DEFINITIONS, Case, Definition, backward_arguments, call, split_arguments
from .result import Anything, Array
from .tolerance import BFLOAT16, assert_result

THREADS = (1, 2, 3, 8)
_MOST_FOR_THREADS = 4  # drawn cases whose bits are compared, beside the definition's own


@dataclass(frozen=True)
class Proof:
    """Cases that held, and the largest error as a share of the limit."""

    cases: int
    worst: float


def kernel_names() -> list[str]:
    """Name every kernel that has a definition, in the engine's order, pairs beside their halves."""
    order = [op["name"] for op in _core.ops()]

    def place(name: str) -> int:
        parts = (name, f"{name}_data", f"{name}_weights")
        return min(order.index(part) for part in parts if part in order)

    return sorted(DEFINITIONS, key=lambda name: (place(name), name))


def bfloat16_fields(name: str) -> set[str]:
    """Give the tensors of a kernel that may be bfloat16."""
    parts = {name, f"{name}_data", f"{name}_weights"}
    fields = {
        field["name"]
        for op in _core.ops()
        if op["name"] in parts
        for field in op["fields"]
        if field["dtype"] in ("compute", "wide")
    }
    return fields | {"out"} if "forward_out" in fields else fields  # the definitions' name for it


def dtypes_of(name: str) -> Sequence[str]:
    """Give the compute types of a kernel."""
    return ("float32", "bfloat16") if bfloat16_fields(name) else ("float32",)


def arguments_of(name: str, case: Case, dtype: str) -> Arguments:
    """Make the inputs of a case: the same ones every time."""
    seed = zlib.crc32(f"{name} {sorted(case.items(), key=str)}".encode())
    arguments = DEFINITIONS[name].generate(np.random.default_rng(seed), **case)
    if dtype == "bfloat16":
        for field in bfloat16_fields(name) & arguments.keys():
            if arguments[field] is not None:
                arguments[field] = arguments[field].astype(ml_dtypes.bfloat16)
    return arguments


def run(name: str, arguments: Arguments, backend: str) -> tuple[Anything, ...]:
    """Run a kernel on arguments by name."""
    inputs, attributes = split_arguments(DEFINITIONS[name].function, arguments)
    outs = getattr(kernels, name)(*inputs, **attributes, backend=backend)
    return outs if isinstance(outs, tuple) else (outs,)


def against_numpy(name: str, backend: str, dtype: str) -> Proof:
    """Compare a kernel with its float64 definition on every drawn shape."""
    definition, worst = DEFINITIONS[name], 0.0
    cases = drawn_cases(name)
    tol = definition.tol if dtype == "float32" else BFLOAT16
    for case in cases:
        arguments = arguments_of(name, case, dtype)
        outs = run(name, arguments, backend)
        results = call(definition.function, arguments)
        assert len(outs) == len(results), f"{name} {case}"
        for output, out, result in zip(definition.outputs, outs, results, strict=False):
            label = f"{name} {case}, {dtype} on {backend}: {output}"
            worst = max(worst, assert_result(out, result, tol, label))
    return Proof(len(cases), worst)


def _objective(definition: Definition, arguments: Arguments, cotangents: Arguments) -> float:
    """Sum of cotangent x output over all outputs, masked ones (-inf) left out."""
    total = 0.0
    for name, result in zip(definition.outputs, call(definition.function, arguments), strict=False):
        finite = np.isfinite(result.value)
        total += float((np.where(finite, result.value, 0) * cotangents[name])[finite].sum())
    return total


def _row_norms(array: Array) -> Array:
    return np.asarray(np.linalg.norm(np.atleast_1d(array), axis=-1))


def against_differences(name: str, backend: str) -> Proof:
    """Compare the gradients that a kernel's backward gives with central differences in float64.

    Along a random direction of each input, on every drawn shape of the forward: with the errors of
    float32 that each row of a gradient may have, the derivative along it may be off by so much.
    """
    forward, count, worst = DEFINITIONS[name], 0, 0.0
    assert forward.backward is not None
    names = (forward.backward,) if isinstance(forward.backward, str) else forward.backward
    cases = drawn_cases(name)
    for case in cases:
        arguments = arguments_of(name, case, "float32")
        rng = np.random.default_rng(len(cases))
        results = call(forward.function, arguments)
        values = {n: r.value for n, r in zip(forward.outputs, results, strict=False)}
        cotangents: dict[str, Any] = {
            n: rng.standard_normal(value.shape, dtype=np.float32) for n, value in values.items()
        }
        found: dict[str, tuple[Anything, Array]] = {}  # gradient, and its size by element
        taken: set[str] = set()
        for backward_name in names:
            backward = DEFINITIONS[backward_name]
            filled = backward_arguments(forward, backward.function, arguments, cotangents)
            taken |= filled.keys()
            narrow = {
                n: a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == float else a
                for n, a in filled.items()
            }
            outs = run(backward_name, narrow, backend)
            for output, out, result in zip(
                backward.outputs, outs, call(backward.function, filled), strict=False
            ):
                spread = np.zeros(()) if result.magnitude is None else result.magnitude
                found[output] = (out, np.abs(result.value) + spread)
        for output, value in values.items():
            if f"d_{output}" not in taken:  # the loss begins the chain; saved outputs have none
                cotangents[output] = np.full_like(value, float(output == "loss"))
        wide = {
            n: a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a
            for n, a in arguments.items()
        }
        for wanted in forward.differentiable:
            if arguments.get(wanted) is None:
                continue
            direction = rng.standard_normal(wide[wanted].shape)
            expected = differences.derivative_along(
                lambda x, wanted=wanted, wide=wide, cotangents=cotangents: _objective(
                    forward, {**wide, wanted: x}, cotangents
                ),
                wide[wanted],
                direction,
            )
            gradient, size = found[f"d_{wanted}"]
            derivative = float((gradient * direction).sum())
            allowed = float((_row_norms(size) * _row_norms(direction)).sum())
            limit = (forward.tol + differences.TOLERANCE) * allowed + np.finfo(np.float32).tiny
            ratio = abs(derivative - expected) / limit
            assert ratio <= 1, (
                f"{name} {case} on {backend}: d_{wanted} gives {derivative:.9g} along a direction, "
                f"differences {expected:.9g}, {ratio:.3g} times the limit"
            )
            count, worst = count + 1, max(worst, ratio)
    return Proof(count, worst)


@contextmanager
def restored_threads() -> Iterator[None]:
    """Set the number of threads back at the end."""
    before = msltx.get_num_threads()
    try:
        yield
    finally:
        msltx.set_num_threads(before)


def same_bits(name: str, backend: str, dtype: str) -> Proof:
    """Compare the bits that a kernel gives with 1, 2, 3 and 8 threads."""
    definition = DEFINITIONS[name]
    cases = [*definition.cases, *drawn_cases(name)[:_MOST_FOR_THREADS]]
    made = [arguments_of(name, case, dtype) for case in cases]
    first: list[tuple[Anything, ...]] = []
    with restored_threads():
        for threads in THREADS:
            msltx.set_num_threads(threads)
            outs = [run(name, arguments, backend) for arguments in made]
            first = first or outs
            for case, expected, found in zip(cases, first, outs, strict=True):
                for output, a, b in zip(definition.outputs, expected, found, strict=False):
                    same = a.tobytes() == b.tobytes()
                    assert same, f"{name} {case}, {dtype} on {backend}, {threads} threads: {output}"
    return Proof(len(cases), 0.0)
