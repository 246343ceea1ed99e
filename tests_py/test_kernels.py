"""Every kernel of every backend against its NumPy definition, on fresh random inputs."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from msltx import _core, backends, kernels
from reference import DEFINITIONS, assert_result, call, split_arguments
from reference.inputs import Arguments
from reference.proof import bfloat16_fields
from reference.result import Anything
from reference.tolerance import BFLOAT16

BACKENDS = [backend.name for backend in backends()]
CASES = [
    pytest.param(name, case, id=f"{name}-{'-'.join(f'{k}={v}' for k, v in case.items())}")
    for name, definition in DEFINITIONS.items()
    for case in definition.cases
]


def outputs_of(result: Anything | tuple[Anything, ...]) -> tuple[Anything, ...]:
    return result if isinstance(result, tuple) else (result,)


def fresh_inputs(name: str, case: Arguments) -> tuple[Arguments, str]:
    """Random inputs, and a label that says how to get them again."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    arguments = DEFINITIONS[name].generate(np.random.default_rng(seed), **case)
    return arguments, f"{name} (seed {seed})"


def poisoned(array: Anything) -> Anything:
    """An output that shows where a kernel has not written."""
    worst = np.iinfo(array.dtype).min if array.dtype.kind == "i" else np.nan
    return np.full_like(array, worst)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "case"), CASES)
def test_kernel_computes_its_definition(name: str, case: Arguments, backend: str) -> None:
    definition = DEFINITIONS[name]
    arguments, label = fresh_inputs(name, case)
    inputs, attributes = split_arguments(definition.function, arguments)
    kept = [a.copy() if isinstance(a, np.ndarray) else a for a in inputs]
    kernel: Any = getattr(kernels, name)
    outs = outputs_of(kernel(*inputs, **attributes, backend=backend))

    for given, before in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(given, before, f"{label} changed an input")
    results = call(definition.function, arguments)
    assert len(outs) == len(results), label
    for output, out, result in zip(definition.outputs, outs, results, strict=False):
        assert out.dtype == {"i": np.int32, "f": np.float32}.get(
            result.value.dtype.kind, ml_dtypes.bfloat16
        )
        assert_result(out, result, definition.tol, f"{label} on {backend}: {output}")


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "case"), [case for case in CASES if bfloat16_fields(str(case.values[0]))]
)
def test_kernel_computes_its_definition_in_bfloat16(
    name: str, case: Arguments, backend: str
) -> None:
    definition = DEFINITIONS[name]
    arguments, label = fresh_inputs(name, case)
    narrow = bfloat16_fields(name)
    for argument in narrow & arguments.keys():
        if arguments[argument] is not None:
            arguments[argument] = arguments[argument].astype(ml_dtypes.bfloat16)
    inputs, attributes = split_arguments(definition.function, arguments)
    kernel: Any = getattr(kernels, name)
    outs = outputs_of(kernel(*inputs, **attributes, backend=backend))
    if definition.outputs[0] in narrow:
        assert outs[0].dtype == ml_dtypes.bfloat16
    results = call(definition.function, arguments)
    for output, out, result in zip(definition.outputs, outs, results, strict=False):
        assert_result(out, result, BFLOAT16, f"{label} on {backend}: {output}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_kernel_writes_all_of_its_outputs(name: str, backend: str) -> None:
    """Into arrays given with out=, full of NaN before, and gives the same bits."""
    definition = DEFINITIONS[name]
    arguments, label = fresh_inputs(name, definition.cases[-1])
    inputs, attributes = split_arguments(definition.function, arguments)
    kernel: Any = getattr(kernels, name)
    outs = outputs_of(kernel(*inputs, **attributes, backend=backend))
    given = tuple(poisoned(out) for out in outs)
    returned = outputs_of(
        kernel(*inputs, **attributes, backend=backend, out=given if len(given) > 1 else given[0])
    )
    for output, out, again, array in zip(definition.outputs, outs, returned, given, strict=False):
        assert again is array, f"{label}: {output}"
        np.testing.assert_array_equal(again, out, f"{label} on {backend}: {output}")


def test_every_op_has_a_definition() -> None:
    """Ops that are half of a backward are covered by the pair."""

    def covered(name: str) -> bool:
        return name.removesuffix("_data").removesuffix("_weights") in DEFINITIONS

    assert [op["name"] for op in _core.ops() if not covered(op["name"])] == []


def test_every_backend_runs_what_it_says_it_has() -> None:
    """A kernel tested above under a backend's name was that backend's, not the fallback."""
    for backend in backends():
        for name, definition in DEFINITIONS.items():
            # A backward that is a pair of ops has no name of its own among them.
            if name not in backend.ops or not backend.supports(name):
                continue
            arguments, label = fresh_inputs(name, definition.cases[0])
            inputs, attributes = split_arguments(definition.function, arguments)
            getattr(kernels, name)(*inputs, **attributes, backend=backend.name)
            assert _core._last_kernel() == (name, backend.name), label
