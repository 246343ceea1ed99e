"""The notebooks run from top to bottom, and are kept without outputs. Needs no Jupyter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STRIP = ROOT / "script" / "strip_notebooks.py"
SECONDS = 60  # a limit for a busy machine; alone each takes a few


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return cells


def program_of(path: Path) -> str:
    """The code cells as one program."""
    return "\n\n".join(
        "".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"
    )


def test_all_five_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_first_model",
        "02_inside_a_block",
        "03_kernels_and_gradients",
        "04_tokenizers",
        "05_a_loss_of_your_own",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program_of(path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_explains_itself(path: Path) -> None:
    cells = cells_of(path)
    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ")
    assert sum(cell["cell_type"] == "markdown" for cell in cells) >= 5


def strip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, STRIP, *arguments], capture_output=True, text=True, check=False
    )


def test_outputs_are_stripped() -> None:
    run = strip("--check")
    assert (run.returncode, run.stdout) == (0, ""), run.stdout


def test_the_hook_strips_and_the_check_sees(tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOKS[0].read_text("utf-8"))
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code.update(execution_count=3, outputs=[{"output_type": "stream", "text": ["hello"]}])
    notebook["metadata"]["language_info"]["version"] = "3.99"
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook), "utf-8")
    assert strip("--check", path).returncode == 1
    assert "hello" in path.read_text("utf-8")
    assert strip(path).returncode == 1  # pre-commit stops where a hook has changed a file
    assert path.read_text("utf-8") == NOTEBOOKS[0].read_text("utf-8")
    assert strip(path).returncode == strip("--check", path).returncode == 0
