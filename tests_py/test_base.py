"""The package itself: errors, threads, signals, import."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import msltx
from msltx import _core

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("name", "own", "builtin"),
    [
        ("ValueError", msltx.InvalidValueError, ValueError),
        ("FileError", msltx.FileError, OSError),
        ("MemoryLimitError", msltx.MemoryLimitError, MemoryError),
        ("BusyError", msltx.BusyError, RuntimeError),
        ("Error", msltx.Error, Exception),
    ],
)
def test_cpp_errors_are_both_ours_and_pythons(
    name: str, own: type[Exception], builtin: type[Exception]
) -> None:
    for expected in (own, builtin, msltx.Error):
        with pytest.raises(expected, match=f"^this is {name}$") as caught:
            _core._raise_error(name)
        assert type(caught.value) is own
        assert type(caught.value).__module__ == "msltx"


def test_cancelled_is_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        _core._raise_error("Cancelled")


def test_thread_count() -> None:
    before = msltx.get_num_threads()
    try:
        msltx.set_num_threads(3)
        assert msltx.get_num_threads() == 3
        with pytest.raises(ValueError, match="threads is 0; it takes a whole number from 1 to"):
            msltx.set_num_threads(0)
        with pytest.raises(ValueError, match="threads is 'a'; it takes a whole number"):
            msltx.set_num_threads("a")  # type: ignore[arg-type]
        assert msltx.get_num_threads() == 3
    finally:
        msltx.set_num_threads(before)


class _RaisedByHandlerError(Exception):
    pass


@pytest.mark.parametrize("cancellable", [True, False])
def test_a_signal_ends_the_work_and_its_exception_arrives(cancellable: bool) -> None:
    def handler(signum: int, frame: object) -> None:
        raise _RaisedByHandlerError

    previous = signal.signal(signal.SIGINT, handler)
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    seconds = 20.0 if cancellable else 0.6
    begin = time.monotonic()
    try:
        timer.start()
        with pytest.raises(_RaisedByHandlerError):
            _core._work_for(seconds, cancellable=cancellable)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, previous)
    taken = time.monotonic() - begin
    assert taken < 5 if cancellable else taken >= 0.6
    assert _core._work_for(0.001) >= 0.001  # the executor is whole afterwards


@pytest.mark.slow
@pytest.mark.parametrize("call", [lambda: _core._work_for(0.001), lambda: msltx.set_num_threads(1)])
def test_a_signal_ends_the_wait_for_another_threads_work(call: Callable[[], object]) -> None:
    def handler(signum: int, frame: object) -> None:
        raise _RaisedByHandlerError

    begun = threading.Event()
    worked: list[float] = []

    def work() -> None:
        begun.set()
        worked.append(_core._work_for(1.5))

    other = threading.Thread(target=work)
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    previous = signal.signal(signal.SIGINT, handler)
    threads = msltx.get_num_threads()
    try:
        other.start()
        begun.wait()
        time.sleep(0.1)
        timer.start()
        with pytest.raises(_RaisedByHandlerError):
            call()
        assert not worked  # the caller left at once
    finally:
        timer.join()
        signal.signal(signal.SIGINT, previous)
        other.join()
    assert worked[0] >= 1.5  # and the other's work went on to its end
    assert msltx.get_num_threads() == threads


def test_a_handler_that_does_not_raise_leaves_the_work_alone() -> None:
    seen = []
    previous = signal.signal(signal.SIGINT, lambda signum, frame: seen.append(signum))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        assert _core._work_for(0.4) >= 0.4
    finally:
        timer.join()
        signal.signal(signal.SIGINT, previous)
    assert seen == [signal.SIGINT]


def test_the_gil_is_released() -> None:
    done = threading.Event()
    thread = threading.Thread(target=lambda: (_core._work_for(0.4), done.set()))
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.01)
    thread.join()
    assert turns > 5


def test_public_names() -> None:
    assert len(set(msltx.__all__)) == len(msltx.__all__)
    for name in [*msltx.__all__, *msltx._LAZY]:
        assert hasattr(msltx, name), name
    assert dir(msltx) == sorted(msltx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = msltx.nonsense


def test_one_version() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(r"project\(msltx VERSION ([0-9.]+)", cmake)
    assert found
    assert msltx.__version__ == found[1]


@pytest.mark.parametrize("module", ["msltx._core", "click", "msltx.cli"])
def test_ctrl_c_while_the_command_is_loaded_is_no_traceback(module: str) -> None:
    code = f"""
import runpy, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
sys.argv = ["-m", "--version"]
runpy.run_module("msltx", run_name="__main__", alter_sys=False)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (130, "msltx: interrupted\n")


def test_ctrl_c_while_a_script_imports_msltx_is_the_scripts() -> None:
    code = """
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "msltx._core":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
try:
    import msltx
except KeyboardInterrupt:
    print("mine")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "mine\n"


def test_missing_extension_says_how_to_build(tmp_path: Path) -> None:
    package = tmp_path / "msltx"
    package.mkdir()
    source = ROOT / "python" / "msltx" / "__init__.py"
    (package / "__init__.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    # -S leaves site-packages out, where an installed msltx would answer instead.
    run = subprocess.run(
        [sys.executable, "-S", "-c", "import msltx"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "ImportError: msltx has no compiled engine" in run.stderr
    assert "script/setup" in run.stderr
