"""Every kernel, in every dtype and on every backend, on shapes that hypothesis draws: against NumPy
float64, its gradient against central differences, and with the same bits at any thread count.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from msltx import backends
from reference import DEFINITIONS
from reference.drawn import SHAPES, drawn_cases
from reference.proof import (
    against_differences,
    against_numpy,
    dtypes_of,
    kernel_names,
    same_bits,
)

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = [backend.name for backend in backends()]
KERNELS = [(name, dtype) for name in kernel_names() for dtype in dtypes_of(name)]
DIFFERENTIABLE = [name for name in kernel_names() if DEFINITIONS[name].backward]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "dtype"), KERNELS)
def test_drawn_shapes_agree_with_numpy(name: str, dtype: str, backend: str) -> None:
    assert against_numpy(name, backend, dtype).cases >= SHAPES


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_agree_with_differences(name: str, backend: str) -> None:
    assert against_differences(name, backend).cases >= SHAPES


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "dtype"), KERNELS)
def test_bits_are_the_same_at_any_thread_count(name: str, dtype: str, backend: str) -> None:
    same_bits(name, backend, dtype)


def test_shapes_are_the_same_in_every_run() -> None:
    """And different from each other."""
    name = "linear_forward"
    here = drawn_cases(name)
    assert len({str(case) for case in here}) == SHAPES
    code = f"from reference.drawn import drawn_cases; print(drawn_cases({name!r}))"
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests_py",
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout == f"{here}\n"


def test_an_error_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a gradient that is a thousandth off, one bit at three threads."""
    import msltx
    from msltx import kernels

    right = kernels.gelu_backward
    monkeypatch.setattr(kernels, "gelu_backward", lambda *a, **k: right(*a, **k) * 1.001)
    with pytest.raises(AssertionError, match=r"gelu_backward .* times the limit"):
        against_numpy("gelu_backward", BACKENDS[-1], "float32")
    with pytest.raises(AssertionError, match=r"gelu_forward .* d_x gives .* times the limit"):
        against_differences("gelu_forward", BACKENDS[-1])

    def depends(*a: object, **k: object) -> object:
        out = right(*a, **k)  # type: ignore[arg-type]
        return out + (msltx.get_num_threads() == 3) * out.dtype.type(1e-6)

    monkeypatch.setattr(kernels, "gelu_backward", depends)
    with pytest.raises(AssertionError, match=r"gelu_backward .* 3 threads: d_x"):
        same_bits("gelu_backward", BACKENDS[-1], "float32")
