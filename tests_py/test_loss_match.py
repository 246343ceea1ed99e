"""bench/loss_match.py: a run beside the losses that a peer had on the same batches."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import msltx

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("match")
    license = ROOT / "LICENSE"
    tok = msltx.Tokenizer.train(license, vocab_size=300)
    data = msltx.data.prepare(license, tok, out=folder / "data", val_fraction=0)
    config = msltx.GPTConfig(
        vocab_size=tok.vocab_size, context_length=16, embedding_dim=16, num_layers=1, num_heads=2
    )
    options = {"max_steps": 4, "warmup_steps": 1, "batch_size": 2, "log_every": 1}
    msltx.train(msltx.GPT(config), data, out=folder / "run", **options)
    return folder / "run"


def match(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "bench" / "loss_match.py"
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.slow
def test_what_a_run_trained_on_is_written_for_the_peer(run: Path, tmp_path: Path) -> None:
    done = match("--run", run, "--steps", "3", "--export", tmp_path / "given.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "given.npz") as given:
        assert any(given[name].shape[:1] == (3,) for name in given.files)
    done = match("--run", run, "--steps", "9", "--export", tmp_path / "given.npz")
    assert done.returncode == 1
    assert "lacks some of the first 9 steps" in done.stderr


@pytest.mark.slow
def test_losses_that_differ_fail(run: Path, tmp_path: Path) -> None:
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    theirs = tmp_path / "losses.json"
    options = ("--run", run, "--steps", "4", "--tolerance", "0.01", "--losses", theirs)
    for factor, code in ((1.0, 0), (1.009, 0), (1.011, 1)):
        theirs.write_text(json.dumps([losses[0] * factor, *losses[1:]]), "utf-8")
        done = match(*options)
        assert done.returncode == code, done.stdout + done.stderr
