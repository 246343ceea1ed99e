#!/usr/bin/env python3
"""Memory of tokenizer training: a text of a million word types, then the same twice as long.

    python bench/text_memory.py [--gigabytes 4] [--folder DIR]

Writes the text (4 GB, then 4 GB more) into DIR, trains byte-level BPE of 30,000 tokens on it in a
process of its own each time, and prints the peak memory of that process and what the second half
added. Memory is bounded by distinct words: 300 MB at most, 5 MB more at most for the second half
(exit status 1 otherwise).
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = 1_000_000
LINE = 16  # words
LIMIT, MORE = 300.0, 5.0  # MB

TRAIN = """
import resource, sys
import msltx
msltx.Tokenizer.train(sys.argv[1:], vocab_size=30000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""


def words() -> list[str]:
    """Return words of 3 to 9 letters, every one different."""
    draw = random.Random(5)
    made: dict[str, None] = {}
    while len(made) < WORDS:
        made["".join(draw.choices("etaoinshrdlu", k=draw.randrange(3, 10)))] = None
    return list(made)


def write_text(path: Path, size: float, seed: int) -> None:
    """Write all words again and again, in a few orders, until the file has `size` bytes."""
    draw = random.Random(seed)
    types = words()
    orders = []
    for _ in range(4):
        draw.shuffle(types)
        lines = (" ".join(types[i : i + LINE]) for i in range(0, WORDS, LINE))
        orders.append(("\n".join(lines) + "\n").encode())
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(draw.choice(orders))


def train(*files: Path) -> float:
    """Return the peak memory of training on the files in MB."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *map(str, files)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - begin
    memory = float(done.stdout.split()[-1])
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{size:9,.0f} MB of text: {memory:6.1f} MB, {size / seconds:5.1f} MB/s", flush=True)
    return memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        files = [Path(folder) / f"{half}.txt" for half in ("first", "second")]
        for seed, file in enumerate(files):
            write_text(file, args.gigabytes * 1e9, seed)
        first = train(files[0])
        more = train(*files) - first
    print(f"the second half added {more:.1f} MB; limits are {LIMIT:g} and {MORE:g} MB")
    return 1 if first > LIMIT or more > MORE else 0


if __name__ == "__main__":
    sys.exit(main())
