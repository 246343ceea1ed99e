"""Backends of kernels: which runs, in which environment, and threads that call at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import msltx
from kernel_inputs import BACKENDS, BETA, GAMMA, OPS, X, f32
from msltx import kernels


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
    # What computes bfloat16 by itself: on the reference, what is there to convert.
    assert listed[0].widened == {op for op in OPS if listed[0].supports(op, "bfloat16")} - {"cast"}
    for backend in listed[1:]:
        assert backend.widened >= {"attention_mix_forward", "dropout_forward", "transpose"}
        assert not backend.widened & {"cast", "layernorm_forward", "rope_forward", "adamw"}
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
