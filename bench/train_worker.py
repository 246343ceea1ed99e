"""One contender of bench/train.py in a process of its own: trains, then prints one JSON line.

python bench/train_worker.py --contender "torch eager" --shape 1m --dtype float32 ...
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Protocol

from shapes import SETTINGS, SHAPES, Shape, Tokens, random_batches

WARM_UP_STEPS = 3  # compilation, memory and caches
LEAST_STEPS = 5  # of which the median is taken, however slow a step
BATCHES = 16  # different ones, used in turn

# How far the first loss of a fresh model may be from ln(vocab_size): GPT-2's initial values make
# almost even predictions. A contender further away is not training the same model.
FIRST_LOSS_MARGIN = 0.5

CONTENDERS = ("msltx", "torch eager", "torch compile")


class Trainee(Protocol):
    """A model in training."""

    def step(self, tokens: Tokens, targets: Tokens) -> float:
        """One optimizer step, from tokens to new parameters; give its loss."""
        ...


@dataclass(frozen=True)
class Measurement:
    """What a worker reports."""

    tokens_per_s: float  # from the median step
    first_loss: float
    last_loss: float
    peak_memory: int  # bytes, of the whole process since it began
    peak_flops: float | None  # matrix peak, the best of before and after; None where not probed
    bandwidth: float | None  # bytes/s


def make_trainee(contender: str, shape: Shape, dtype: str, threads: int) -> Trainee:
    """Import a contender only now: its peers' libraries must not be in the process."""
    if contender == "msltx":
        from trainee_msltx import MsltxTrainee

        return MsltxTrainee(shape, dtype, threads, SETTINGS)
    from trainee_torch import TorchTrainee

    return TorchTrainee(shape, dtype, threads, SETTINGS, compiled=contender == "torch compile")


def peak_memory() -> int:
    """Most memory the process has held, in bytes; ru_maxrss is in KiB, on macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measure(
    contender: str, shape: Shape, dtype: str, threads: int, seconds: float, probe: bool
) -> Measurement:
    """Train for so many seconds and take the median step."""
    peaks: list[float] = []
    if probe:
        from trainee_msltx import matrix_peak, read_bandwidth

        peaks.append(matrix_peak(dtype, threads))
    trainee = make_trainee(contender, shape, dtype, threads)
    batches = random_batches(shape, BATCHES)
    first_loss = trainee.step(*batches[0])
    if abs(first_loss - math.log(shape.vocab_size)) > FIRST_LOSS_MARGIN:
        raise SystemExit(
            f"{contender}: the first loss is {first_loss:.4f}; an untrained model of "
            f"{shape.vocab_size} tokens gives about {math.log(shape.vocab_size):.2f}"
        )
    for batch in batches[1:WARM_UP_STEPS]:
        trainee.step(*batch)

    times: list[float] = []
    loss = first_loss
    begin = time.perf_counter()
    while len(times) < LEAST_STEPS or time.perf_counter() - begin < seconds:
        batch = batches[(WARM_UP_STEPS + len(times)) % BATCHES]
        start = time.perf_counter()
        loss = trainee.step(*batch)
        times.append(time.perf_counter() - start)
    memory = peak_memory()
    if probe:
        peaks.append(matrix_peak(dtype, threads))
    return Measurement(
        tokens_per_s=shape.tokens_per_step / statistics.median(times),
        first_loss=first_loss,
        last_loss=loss,
        peak_memory=memory,
        peak_flops=max(peaks) if probe else None,
        bandwidth=read_bandwidth(threads) if probe else None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=CONTENDERS, required=True)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--probe", action="store_true", help="measure the machine's peaks too")
    a = parser.parse_args()
    result = measure(a.contender, SHAPES[a.shape], a.dtype, a.threads, a.seconds, a.probe)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
