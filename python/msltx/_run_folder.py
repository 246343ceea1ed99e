"""The folder of a training run: its log, and a lock on it."""

from __future__ import annotations

import csv
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msltx._core import FileError

if TYPE_CHECKING:
    from msltx._trainer import Progress

LOG_COLUMNS = [
    "step",
    "loss",
    "val_loss",
    "grad_norm",
    "learning_rate",
    "tokens_per_s",
    "peak_share",
    "skipped",
]


class Log:
    """log.csv of a run. Resuming drops the lines of steps that are done again."""

    def __init__(self, path: Path, first_step: int) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            kept = self._whole_rows(path, first_step) if path.exists() else []
            with temporary.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([LOG_COLUMNS, *kept])
            temporary.replace(path)
            self._file = path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from None
        self._path = path
        self._writer = csv.writer(self._file)

    @staticmethod
    def _whole_rows(path: Path, first_step: int) -> list[list[str]]:
        """Give the rows up to a step; one that a crash has cut or spoilt is left out."""
        text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        rows = [row for row in csv.reader(text.splitlines()) if len(row) == len(LOG_COLUMNS)]
        return [row for row in rows if row[0].isdecimal() and int(row[0]) <= first_step]

    def write(self, p: Progress) -> None:
        def number(value: float | None, form: str) -> str:
            return "" if value is None else format(value, form)

        row = [
            p.step,
            number(p.loss, ".6f"),
            number(p.val_loss, ".6f"),
            number(p.grad_norm, ".6f"),
            number(p.learning_rate, ".6e"),
            number(p.tokens_per_s, ".0f"),
            number(p.peak_share, ".4f"),
            int(p.skipped),
        ]
        try:
            self._writer.writerow(row)
            self._file.flush()
        except OSError as error:
            raise FileError(f"cannot write {self._path}: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()


@contextmanager
def sole_writer(run: Path | None) -> Iterator[None]:
    """Keep a second training out of a run's folder; the system lets go where a process ends."""
    if run is None:
        yield
        return
    try:
        folder = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise FileError(f"cannot open {run}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise FileError(f"another training writes to {run} now; choose another folder") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(folder)
