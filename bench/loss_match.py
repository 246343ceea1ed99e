"""Losses of msltx and PyTorch, step by step, from the same initial values on the same batches.

    python bench/loss_match.py --shape 1m --shape 25m --steps 50 --peer-python PYTHON
    python bench/loss_match.py --run runs/books --steps 500 --tolerance 0.01 --peer-python PYTHON

--shape trains one of bench/shapes.py's models in both. --run takes a run of `msltx train` with
`log_every: 1`, rebuilds its initial values, batches and learning rates, has PyTorch train on them,
and compares with the run's own log. --export FILE only writes what the peer needs, for a machine
of its own: `python bench/loss_match_torch.py FILE LOSSES.json --device cuda` there, then again here
with --losses LOSSES.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import msltx
from msltx import _core
from shapes import SETTINGS, SHAPES, random_batches
from train import MISLEADING_VARIABLES, default_threads

PEER = Path(__file__).with_name("loss_match_torch.py")
LINES = 11  # of the table

Tokens = npt.NDArray[np.int32]


@dataclass
class Problem:
    """What both sides train: a model's initial values, the batches and the rates of its steps."""

    name: str
    model: msltx.GPT
    batches: list[tuple[Tokens, Tokens]]
    learning_rates: list[float]
    weight_decay: float
    betas: tuple[float, float]
    grad_clip: float

    def write(self, path: Path) -> None:
        """Write it for the peer, ids as 16 bits where they fit."""
        config = self.model.config
        small = config.vocab_size <= 1 << 16
        windows = np.stack([np.concatenate([t, y[:, -1:]], axis=1) for t, y in self.batches])
        settings = {
            "sizes": {
                "vocab_size": config.vocab_size,
                "context_length": config.context_length,
                "embedding_dim": config.embedding_dim,
                "num_layers": config.num_layers,
                "num_heads": config.num_heads,
            },
            "weight_decay": self.weight_decay,
            "betas": self.betas,
            "grad_clip": self.grad_clip,
        }
        arrays: dict[str, Any] = {f"p.{n}": np.asarray(p) for n, p in self.model.params.items()}
        arrays["windows"] = windows.astype(np.uint16 if small else np.int32)
        arrays["learning_rates"] = np.array(self.learning_rates)
        arrays["settings"] = np.array(json.dumps(settings))
        with path.open("wb") as file:
            np.savez(file, **arrays)


def shape_problem(name: str, steps: int) -> Problem:
    """One of the measured shapes, on tokens distributed as the words of a text."""
    shape = SHAPES[name]
    config = msltx.GPTConfig(
        vocab_size=shape.vocab_size,
        context_length=shape.context_length,
        embedding_dim=shape.embedding_dim,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
    )
    return Problem(
        name,
        msltx.GPT(config, seed=1),
        random_batches(shape, steps),
        [SETTINGS.lr] * steps,
        SETTINGS.weight_decay,
        SETTINGS.betas,
        SETTINGS.grad_clip,
    )


def train_here(problem: Problem) -> list[float]:
    """Train with the call that msltx.train makes; give the losses."""
    tokens = problem.batches[0][0]
    step = _core.TrainStep(
        problem.model._core,
        batch_size=tokens.shape[0],
        length=tokens.shape[1],
        gradient_accumulation_steps=1,
        weight_decay=problem.weight_decay,
        betas=problem.betas,
        eps=SETTINGS.eps,
        grad_clip=problem.grad_clip,
        learning_rate=problem.learning_rates[0],
        min_learning_rate=problem.learning_rates[0],
        warmup_steps=0,
        max_steps=len(problem.batches),
        schedule="constant",
        source=lambda n: problem.batches[n],
    )
    return [float(step.run()["loss"]) for _ in problem.batches]


def logged(run: Path, steps: int) -> tuple[list[float], list[float]]:
    """Losses and learning rates of a run's first steps."""
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:steps]
    if [int(row["step"]) for row in rows] != list(range(1, steps + 1)):
        raise SystemExit(f"{run}/log.csv lacks some of the first {steps} steps: set log_every to 1")
    return [float(r["loss"]) for r in rows], [float(r["learning_rate"]) for r in rows]


def run_problem(run: Path, steps: int) -> tuple[Problem, list[float]]:
    """What a run trained on, and its losses."""
    last = run / "checkpoints" / "last"
    saved = json.loads((last / "state.json").read_text("utf-8"))
    settings, place = saved["settings"], saved["data"]
    if place["path"] is None or place["rows"] != "windows" or place["inside_documents"]:
        raise SystemExit(f"{run} was not trained on windows of one dataset")
    data = msltx.data.open(place["path"])
    config = msltx.GPT.load(last).config
    losses, rates = logged(run, steps)
    count = settings["batch_size"] * settings["gradient_accumulation_steps"]
    batches = [
        data.batch(step, count, config.context_length, seed=settings["seed"])
        for step in range(steps)
    ]
    problem = Problem(
        str(run),
        msltx.GPT(config, seed=settings["seed"]),
        batches,
        rates,
        settings["weight_decay"],
        tuple(settings["betas"]),
        settings["grad_clip"],
    )
    return problem, losses


def train_peer(problem: Problem, python: str, threads: int) -> list[float]:
    """Have PyTorch train in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in MISLEADING_VARIABLES}
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "problem.npz", Path(folder) / "losses.json"
        problem.write(given)
        command = [python, str(PEER), str(given), str(made), "--threads", str(threads)]
        if subprocess.run(command, env=environment).returncode != 0:
            raise SystemExit("bench/loss_match.py: the peer failed")
        return list(json.loads(made.read_text("utf-8")))


def report(name: str, ours: list[float], theirs: list[float], relative: float | None) -> bool:
    """Print some steps and the largest difference; give whether it is within bounds."""
    a, b = np.array(ours), np.array(theirs)
    difference = np.abs(a - b)
    print(f"{name}: {len(a)} steps\n  {'step':>6}{'msltx':>10}{'PyTorch':>10}{'difference':>12}")
    for i in np.unique(np.linspace(0, len(a) - 1, LINES).astype(int)):
        print(f"  {i + 1:6}{a[i]:10.5f}{b[i]:10.5f}{difference[i]:12.2e}")
    share = difference / np.abs(b)
    worst = int(difference.argmax())
    print(
        f"  largest difference {difference[worst]:.2e} (step {worst + 1}), "
        f"largest share {share.max():.4%}",
        flush=True,
    )
    within: bool = bool((share <= relative).all() if relative else (difference <= 1e-3).all())
    return within


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--shape", action="append", choices=SHAPES)
    what.add_argument("--run", type=Path, help="folder of a run with log_every: 1")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tolerance", type=float, help="share of the loss; default: 1e-3 absolute")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--export", type=Path, metavar="FILE", help="with --run: only write it")
    parser.add_argument("--losses", type=Path, help="with --run: what the peer made of the export")
    a = parser.parse_args()

    within = True
    if a.run:
        problem, ours = run_problem(a.run, a.steps)
        if a.export:
            problem.write(a.export)
            return
        if a.losses:
            theirs = json.loads(a.losses.read_text("utf-8"))
        else:
            theirs = train_peer(problem, a.peer_python, a.threads)
        within = report(problem.name, ours, theirs, a.tolerance)
    for name in a.shape or []:
        msltx.set_num_threads(a.threads)
        problem = shape_problem(name, a.steps)
        theirs = train_peer(problem, a.peer_python, a.threads)
        within &= report(name, train_here(problem), theirs, a.tolerance)
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
