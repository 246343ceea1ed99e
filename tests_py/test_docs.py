"""What the README and docs/ say is so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from msltx import kernels
from msltx._run_folder import LOG_COLUMNS
from msltx.settings import DataSettings, RunSettings, TrainingSettings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
TEXT = "".join(f"Once upon a time a {i}th line was told, and told again.\n\n" for i in range(2000))


def rows(page: str, header: str) -> dict[str, list[str]]:
    """Give the rows of the tables with this header, by their first cell."""
    found = {}
    for table in page.split(f"{header}\n")[1:]:
        for line in table.splitlines()[1:]:
            if not line.startswith("|"):
                break
            first, *others = (cell.strip() for cell in line.strip("|").split("|"))
            found[first] = others
    return found


def shown(default: Any) -> str:
    if default is msgspec.NODEFAULT:
        return "required"
    if default == "":
        return "empty"
    return default if isinstance(default, str) else yaml_text(default)


def yaml_text(value: Any) -> str:
    text = yaml.safe_dump(msgspec.to_builtins(value), default_flow_style=True)
    return text.removesuffix("\n").removesuffix("\n...")


def test_every_setting_is_described_with_its_default() -> None:
    expected = {}
    for prefix, kind in (("", TrainingSettings), ("data.", DataSettings), ("run.", RunSettings)):
        for field in msgspec.structs.fields(kind):
            expected[prefix + field.name] = shown(field.default)
    table = rows(TRAINING, "| name | takes | default | meaning |")
    assert {name: cells[1] for name, cells in table.items()} == expected


def test_every_column_of_the_log_is_described() -> None:
    assert list(rows(TRAINING, "| column | meaning |")) == LOG_COLUMNS


def test_the_kernels_that_are_missing_are_missing() -> None:
    (row,) = (line for line in README.splitlines() if line.startswith("| kernels |"))
    names = re.findall(r"\w+", row.strip("| ").split("|")[-1])
    assert [n for n in names if {n, f"{n}_forward"} & set(kernels.__all__)] == []


def quickly(text: str) -> str:
    """Let an example of the README take seconds."""
    for long, short in (("2000", "3"), ("1000", "2"), ("range(100)", "range(2)"), ("8192", "300")):
        text = text.replace(long, short)
    return text.replace("--max-tokens 100", "--max-tokens 3")


@pytest.mark.slow
def test_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "books.txt").write_text(TEXT, encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    (section,) = re.findall(r"## The command line\n\n```\n(.*?)```", README, re.DOTALL)
    commands = [shlex.split(line) for line in quickly(section).splitlines()]
    assert len(commands) == 7
    assert {command[0] for command in commands} == {"msltx"}
    for arguments in [["-c", quickly(program)], *(["-m", *command] for command in commands)]:
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert run.returncode == 0, (arguments, run.stderr)
    assert (tmp_path / "runs/first/checkpoints/last/model.safetensors").exists()
    assert (tmp_path / "runs/books/checkpoints/step_00000003").exists()
