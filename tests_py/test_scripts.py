"""The scripts of the checkout, with stand-ins for what they start."""

from __future__ import annotations

import fcntl
import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import msltx

ROOT = Path(__file__).resolve().parent.parent
BASH = shutil.which("bash")

pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


def checkout(path: Path, *scripts: str) -> Path:
    """Make a checkout of some scripts alone."""
    (path / "script").mkdir(parents=True)
    for name in ("common.sh", *scripts):
        shutil.copy(ROOT / "script" / name, path / "script" / name)
    return path


def stub(path: Path, text: str) -> None:
    """Make a program of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(0o755)


def some_tools(path: Path, *more: str) -> Path:
    """Make a folder of what script/setup needs to come to its first question, the system's name."""
    path.mkdir()
    for name in ("dirname", "basename", "nproc", "mkdir", "cat", "rm", "sleep", *more):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"there is no {name}")
        (path / name).symlink_to(found)
    stub(path / "uname", "echo Other")
    return path


@pytest.mark.parametrize("has_flock", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_second_set_up_waits_and_says_so(tmp_path: Path, has_flock: bool) -> None:
    root = checkout(tmp_path / "checkout", "setup")
    tools = some_tools(tmp_path / "tools", *(["flock"] if has_flock else []))
    build = root / "build"
    build.mkdir()
    lock = (build / "setup.lock").open("w")
    if has_flock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    else:
        (build / "setup.lock.d").mkdir()
        (build / "setup.lock.d" / "process").write_text(f"{os.getpid()}\n")
    command = [BASH, root / "script" / "setup"]
    environment = {"PATH": str(tools), "CXX": "c++"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as second:
        assert second.stderr is not None
        give_up = threading.Timer(30, second.kill)
        give_up.start()
        try:
            assert second.stderr.readline() == (
                "== another script/setup is at work in this checkout: waiting for it\n"
            )
            assert second.poll() is None
            lock.close()
            if not has_flock:
                shutil.rmtree(build / "setup.lock.d")
            assert second.stderr.read() == (
                "setup: Other is not supported; msltx runs on Linux and macOS\n"
            )
        finally:
            give_up.cancel()
    assert second.returncode == 1
    assert not (build / "setup.lock.d").exists()


def test_a_lock_of_a_killed_set_up_holds_nobody(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout", "setup")
    tools = some_tools(tmp_path / "tools")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as gone:
        gone.send_signal(signal.SIGKILL)
    left = root / "build" / "setup.lock.d"
    left.mkdir(parents=True)
    (left / "process").write_text(f"{gone.pid}\n")
    done = subprocess.run(
        [BASH, root / "script" / "setup"],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": str(tools), "CXX": "c++"},
    )
    assert done.stderr == "setup: Other is not supported; msltx runs on Linux and macOS\n"
    assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "out"),
    [
        ([], {}, "{root}/data/text"),
        (["--out", "here"], {}, "{there}/here"),
        (["--out=here"], {}, "{there}/here"),
        (["--out", "/any/where"], {}, "/any/where"),
        ([], {"OUT": "here"}, "{there}/here"),
    ],
)
def test_prepare_data_names_the_dataset_from_where_it_was_started(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], out: str
) -> None:
    root, there = checkout(tmp_path / "checkout", "prepare_data"), tmp_path / "there"
    stub(root / ".venv" / "bin" / "msltx", "printf '%s\\n' \"$@\"")
    there.mkdir()
    (there / "text.txt").write_text("text")
    done = subprocess.run(
        [BASH, root / "script" / "prepare_data", "text.txt", *arguments],
        cwd=there,
        capture_output=True,
        text=True,
        check=True,
        env={**{k: v for k, v in os.environ.items() if k != "OUT"}, **environment},
    )
    said = done.stdout.replace("--out=", "--out\n").splitlines()
    assert said[:3] == ["data", "prepare", str(there / "text.txt")]
    assert said[said.index("--out") + 1] == out.format(root=root, there=there)


def test_prepare_data_keeps_names_short_in_the_checkout(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout", "prepare_data")
    stub(root / ".venv" / "bin" / "msltx", "printf '%s\\n' \"$@\"")
    done = subprocess.run(
        [BASH, root / "script" / "prepare_data", "shakespeare"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if k != "OUT"},
    )
    assert done.stdout.splitlines()[3:5] == ["--out", "data/shakespeare"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["a short text", "short text 2"])
def test_the_demo_takes_a_short_text(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "script")
    demo = importlib.import_module("demo")
    (tmp_path / "text.txt").write_text(text)  # the second one would be held out whole
    tokenizer = msltx.Tokenizer.train(ROOT / "LICENSE", vocab_size=300)
    data = demo.shards([tmp_path / "text.txt"], tokenizer, tmp_path / "data")
    assert data.train_tokens > 0
    said = capsys.readouterr().out
    assert "training tokens, 0 held out\nthe text is too short to hold some of it out" in said


def test_the_demo_says_where_there_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "script")
    demo = importlib.import_module("demo")
    (tmp_path / "text.txt").write_text("\n")
    tokenizer = msltx.Tokenizer.train(ROOT / "LICENSE", vocab_size=300)
    with pytest.raises(msltx.InvalidValueError, match="there is no text to prepare"):
        demo.shards([tmp_path / "text.txt"], tokenizer, tmp_path / "data")
