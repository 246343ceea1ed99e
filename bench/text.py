#!/usr/bin/env python3
"""Tokenizers side by side on one text, in one run: training, encoding, one short string.

    python bench/text.py encode books.txt --tokenizers DIR --peer-python PYTHON
    python bench/text.py train books.txt --vocab-size 30000
    python bench/text.py short

Every contender runs in a process of its own (bench/text_worker.py), in turns; medians over the
rounds are shown. "cold" is the first call of a tokenizer just loaded, "warm" the median of the
calls after it. All get the text in memory and all threads; what a library can share out to them
only as several texts gets it cut before words. Ids are compared with ours, and a figure of other
ids says so. Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("text_worker.py")
WORKER_TIMEOUT = 1800  # seconds
# Some machines export values that halve OpenBLAS, which NumPy uses.
MISLEADING_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

#: Tokenizer files and who reads them besides us; a share of the text for the slow ones. With "file"
#: it is measured from a file's name to the ids, else from the text in memory.
ENCODERS: dict[str, dict[str, float]] = {
    "gpt2.json": {"gigatoken": 1, "gigatoken, file": 1, "tiktoken": 0.5, "tokenizers": 0.2},
    "llama3.json": {"gigatoken": 1, "gigatoken, file": 1, "tokenizers": 0.2},
    "cl100k_base.tiktoken": {"gigatoken": 1, "gigatoken, file": 1, "tiktoken": 0.5},
    "llama2.json": {"gigatoken": 1, "gigatoken, file": 1, "tokenizers": 0.05},
    "bert_base_cased.json": {"tokenizers": 0.2},
    "xlnet_base_cased.json": {"tokenizers": 0.2},
}
TRAINERS: dict[str, tuple[str, ...]] = {
    "bpe": ("tokenizers", "rustbpe", "gigatoken", "sentencepiece"),
    "unigram": ("sentencepiece",),
}


class Runner:
    """Workers, and what they answered."""

    def __init__(self, peer_python: str, threads: int) -> None:
        self.peer_python = peer_python
        self.threads = threads
        self.missing: set[str] = set()

    def run(self, contender: str, *arguments: object) -> dict[str, Any] | None:
        """Return the answer of a worker; None where the library is not installed."""
        library = contender.partition(",")[0]
        if library in self.missing:
            return None
        environment = {k: v for k, v in os.environ.items() if k not in MISLEADING_VARIABLES}
        # Read by the libraries when they start their threads.
        environment |= {"RAYON_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "true"}
        python = sys.executable if library == "msltx" else self.peer_python
        command = [python, str(WORKER), contender, str(self.threads), *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, timeout=WORKER_TIMEOUT, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"bench/text.py: {contender} failed: {' '.join(command)}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if "missing" in answer:
            self.missing.add(library)
            print(f"{library} is not installed ({answer['missing']})", flush=True)
            return None
        return answer


def encode(runner: Runner, args: argparse.Namespace) -> None:
    print(f"{'tokenizer':24} {'library':16} {'cold':>8} {'warm':>8} MB/s   ours / it   ids")
    for name, peers in ENCODERS.items():
        path = args.tokenizers / name
        if not path.exists():
            print(f"{name:24} is not in {args.tokenizers}")
            continue
        shares = {"msltx": 1.0, "msltx, file": 1.0, **peers}
        answers: dict[str, list[dict[str, Any]]] = {}
        for _ in range(args.rounds):
            for contender, share in shares.items():
                others = sorted(set(peers.values())) if contender == "msltx" else []
                answer = runner.run(contender, "encode", path, args.file, share, *others)
                if answer:
                    answers.setdefault(contender, []).append(answer)
        for contender, theirs in answers.items():
            cold, warm = (statistics.median(a[k] for a in theirs) for k in ("cold", "warm"))
            line = f"{name:24} {contender:16} {cold:8.1f} {warm:8.1f}"
            if contender in peers:
                ours = answers["msltx, file" if contender.endswith(", file") else "msltx"]
                mine = [statistics.median(a[k] for a in ours) for k in ("cold", "warm")]
                key = str(peers[contender])
                equal = answers["msltx"][0]["ids"][key] == theirs[0]["ids"][str(shares[contender])]
                line += f"      {mine[0] / cold:5.2f}  {mine[1] / warm:5.2f}"
                line += "   equal" if equal else "   OTHER IDS"
            print(line, flush=True)


def train(runner: Runner, args: argparse.Namespace) -> None:
    print(f"{'model':10} {'vocabulary':>10} {'library':14} {'MB/s':>8}   ours / it")
    for model, peers in TRAINERS.items():
        speeds: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            for contender in ("msltx", *peers):
                answer = runner.run(contender, "train", model, args.file, args.vocab_size)
                if answer:
                    speeds.setdefault(contender, []).append(answer["speed"])
        ours = statistics.median(speeds["msltx"])
        for contender, measured in speeds.items():
            speed = statistics.median(measured)
            ratio = "" if contender == "msltx" else f"       {ours / speed:5.2f}"
            print(f"{model:10} {args.vocab_size:10} {contender:14} {speed:8.2f}{ratio}", flush=True)


def short(runner: Runner, args: argparse.Namespace) -> None:
    print('encode("Hello world"), one call from Python')
    for _ in range(args.rounds):
        for contender in ("msltx", "tiktoken", "tokenizers"):
            answer = runner.run(contender, "short", args.tokenizers / "gpt2.json")
            if answer:
                print(f"{contender:14} {answer['nanoseconds']:8.0f} ns", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("encode", "train", "short"))
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--tokenizers", type=Path, default=Path("../shared/tokenizers"))
    parser.add_argument("--vocab-size", type=int, default=30000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable, help="the peers' interpreter")
    args = parser.parse_args()
    if args.what != "short" and args.file is None:
        parser.error("the following arguments are required: file")
    print(f"{platform.machine()}, {args.threads} threads, {args.rounds} rounds")
    {"encode": encode, "train": train, "short": short}[args.what](
        Runner(args.peer_python, args.threads), args
    )


if __name__ == "__main__":
    main()
