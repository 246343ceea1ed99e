"""Which folder the path of a model, a checkpoint or a run means."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from msltx import _core

__all__ = ["find_model", "holds_run"]


def find_model(path: str | os.PathLike[str], stacklevel: int, then: str = "taking") -> Path:
    """Give the folder with a model's files; of a run, its last checkpoint that has them all.

    Warns
    -----
    UserWarning
        Where checkpoints of the run are newer, but lack files.
    """
    found, damaged = _core.resolve_model(os.fspath(path))
    if damaged:
        lacks = ", ".join(f"{folder} lacks {' and '.join(names)}" for folder, names in damaged)
        warnings.warn(f"{lacks}; {then} {Path(found).name}", stacklevel=stacklevel + 1)
    return Path(found)


def holds_run(path: Path) -> bool:
    """Say whether a run has left checkpoints there, even if the last of them is gone."""
    return os.path.lexists(path / "checkpoints" / "last")
