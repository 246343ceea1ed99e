#!/usr/bin/env python3
"""Whether encoding stays linear on text made to break it: ten times the text, how much more time.

    python bench/text_linear.py ../shared/tokenizers [--megabytes 10]

For every tokenizer file of the folder and every kind of text: seconds for a tenth of the size and
for all of it, and their ratio, 12 at most (exit status 1 otherwise). The first call of a tokenizer
just loaded, on one thread.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msltx

LIMIT = 12.0
READ = (".json", ".tiktoken", ".model")


def random_characters(size: int) -> str:
    draw = random.Random(1)
    return "".join(chr(draw.randrange(0x20, 0x3000)) for _ in range(size // 2))


#: From a size in bytes to about so much text.
TEXTS: dict[str, Callable[[int], str]] = {
    "one letter": lambda size: "a" * size,
    "one letter, then a word": lambda size: "a" * size + " the",
    "letters and digits": lambda size: "a1" * (size // 2),
    "spaces": lambda size: " " * size,
    "newlines and spaces": lambda size: " \n" * (size // 2),
    "random bytes": lambda size: random.Random(2).randbytes(size).decode("latin-1")[: size // 2],
    "random characters": random_characters,
    "combining marks": lambda size: "\u0301\u0323" * (size // 4),
    "a letter with marks": lambda size: "a" + "\u0301\u0323" * (size // 4),
    "apostrophes": lambda size: "'" * size,
    "contractions": lambda size: "'s" * (size // 2),
    "ideographs": lambda size: "\u4e2d\u6587" * (size // 6),
    "space marks": lambda size: "\u2581" * (size // 3),
    "opened special tokens": lambda size: "<|" * (size // 2),
}


def seconds(path: Path, text: str) -> float:
    tokenizer = msltx.Tokenizer.load(path)
    begin = time.perf_counter()
    tokenizer.encode(text)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=10.0)
    args = parser.parse_args()
    msltx.set_num_threads(1)
    size = int(args.megabytes * 1e6)
    worst = 0.0
    print(f"{'tokenizer':24} {'text':24} {'tenth s':>8} {'all s':>8} ratio")
    for path in sorted(args.folder.iterdir()):
        if path.suffix not in READ:
            continue
        for name, text in TEXTS.items():
            # Of three, the least: what else the machine does is not the tokenizer's.
            tenth = min(seconds(path, text(size // 10)) for _ in range(3))
            whole = min(seconds(path, text(size)) for _ in range(2))
            ratio = whole / max(tenth, 1e-9)
            worst = max(worst, ratio)
            mark = "  TOO SLOW" if ratio > LIMIT else ""
            print(
                f"{path.name:24} {name:24} {tenth:8.3f} {whole:8.3f} {ratio:5.1f}{mark}", flush=True
            )
    print(f"at most {worst:.1f} times the time for ten times the text; the limit is {LIMIT:g}")
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
