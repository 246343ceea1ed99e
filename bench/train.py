"""Training speed on fixed GPT-2 shapes, alone or raced against PyTorch.

    python bench/train.py --shape 1m --shape 11m --dtype float32 --peer torch

Every run is a process of its own; contenders take turns, and medians over the rounds are shown:
tokens/s, share of the machine's matrix peak, share of the floor (matrix work at the peak plus the
optimizer's memory traffic), peak memory of the process, and the ratio to the fastest peer. The
peaks are measured before and after training in our own runs; memory is taken from a run without
such probes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from shapes import SHAPES, Shape
from train_worker import CONTENDERS, Measurement

WORKER = Path(__file__).with_name("train_worker.py")
DTYPES = ("float32", "bfloat16")
ROUNDS = 5
SECONDS = 10.0
WORKER_TIMEOUT = 900  # seconds; the largest compiled shape needs a few minutes

# Some machines export values that halve OpenBLAS, which NumPy uses.
MISLEADING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def default_threads() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_worker(
    python: str, contender: str, shape: Shape, dtype: str, threads: int, seconds: float, probe: bool
) -> Measurement:
    """Measure one contender in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k not in MISLEADING_VARIABLES}
    command = [python, str(WORKER), "--contender", contender, "--shape", shape.name]
    command += ["--dtype", dtype, "--threads", str(threads), "--seconds", str(seconds)]
    command += ["--probe"] if probe else []
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, timeout=WORKER_TIMEOUT, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"bench/train.py: the run of {contender} at {shape.name} failed")
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def race(
    shape: Shape,
    dtype: str,
    contenders: Sequence[str],
    pythons: dict[str, str],
    threads: int,
    rounds: int,
    seconds: float,
) -> dict[str, list[Measurement]]:
    """Let contenders take turns; the first element of our list is the run for memory."""
    runs: dict[str, list[Measurement]] = {contender: [] for contender in contenders}
    for turn in range(rounds):
        for contender in contenders:
            print(f"  {shape.name} {dtype} round {turn + 1}/{rounds}: {contender}", file=sys.stderr)
            runs[contender].append(
                run_worker(
                    pythons[contender],
                    contender,
                    shape,
                    dtype,
                    threads,
                    seconds,
                    probe=contender == "msltx",
                )
            )
    runs["msltx memory"] = [
        run_worker(pythons["msltx"], "msltx", shape, dtype, threads, 0.0, probe=False)
    ]
    return runs


def report(shape: Shape, dtype: str, runs: dict[str, list[Measurement]]) -> None:
    """Print one line per contender."""

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    memory = runs.pop("msltx memory")[0].peak_memory
    peak = median([run.peak_flops for run in runs["msltx"] if run.peak_flops])
    bandwidth = median([run.bandwidth for run in runs["msltx"] if run.bandwidth])
    speeds = {name: median([run.tokens_per_s for run in of]) for name, of in runs.items()}
    fastest_peer = max((s for name, s in speeds.items() if name != "msltx"), default=None)

    print(
        f"{shape.name} {dtype}: {shape.parameters:,} parameters, {shape.tokens_per_step:,} tokens "
        f"a step; matrix peak {peak / 1e9:.0f} GFLOP/s, bandwidth {bandwidth / 1e9:.1f} GB/s"
    )
    print(
        f"  {'':14}{'tokens/s':>12}{'spread':>9}{'of peak':>9}{'of floor':>10}{'MB':>8}{'ratio':>8}"
    )
    for name, of in runs.items():
        speed = speeds[name]
        all_speeds = [run.tokens_per_s for run in of]
        spread = (max(all_speeds) - min(all_speeds)) / speed
        share = speed * shape.flops_per_token / peak
        floor = shape.floor_seconds(peak, bandwidth) * speed / shape.tokens_per_step
        used = memory if name == "msltx" else median([run.peak_memory for run in of])
        ratio = f"{speed / fastest_peer:8.2f}" if fastest_peer else ""
        print(
            f"  {name:14}{speed:12,.0f}{spread:9.1%}{share:9.1%}{floor:10.1%}{used / 1e6:8,.0f}"
            + ratio,
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", action="append", choices=SHAPES, help="default: all")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="default: float32")
    parser.add_argument("--peer", choices=("none", "torch"), default="none")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of training in each run")
    parser.add_argument("--threads", type=int, default=default_threads())
    a = parser.parse_args()

    contenders = [c for c in CONTENDERS if c == "msltx" or c.startswith(f"{a.peer} ")]
    pythons = {c: sys.executable if c == "msltx" else a.peer_python for c in contenders}
    print(f"{platform.machine()} {platform.system()}, {a.threads} threads, {a.rounds} rounds")
    for shape in (SHAPES[name] for name in a.shape or SHAPES):
        for dtype in a.dtype or DTYPES[:1]:
            report(
                shape,
                dtype,
                race(shape, dtype, contenders, pythons, a.threads, a.rounds, a.seconds),
            )


if __name__ == "__main__":
    main()
