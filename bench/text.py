#!/usr/bin/env python3
"""Tokenizers side by side: msltx and the Hugging Face library, on one text, in one run.

    python bench/text.py books.txt --vocab-size 8192 30000 --threads 2

Training is compared in merges, encoding in ids: a figure stands only where they are equal. "cold"
is the first call of a fresh tokenizer, "warm" the median of the later ones. The library encodes one
text on one thread; whole texts are therefore timed at one thread, batches of lines at all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]


def seconds(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - begin, result


def merges_of(tokenizer_json: str) -> list[tuple[str, ...]]:
    merges = json.loads(tokenizer_json)["model"]["merges"]
    return [tuple(m.split(" ") if isinstance(m, str) else m) for m in merges]


class Table:
    def __init__(self, megabytes: float) -> None:
        self.megabytes = megabytes
        print(f"{'work':42} {'msltx':>9} {'HF':>9}  {'ratio':>6}   MB/s")

    def row(self, name: str, ours: float, theirs: float) -> None:
        a, b = self.megabytes / ours, self.megabytes / theirs
        print(f"{name:42} {a:9.1f} {b:9.1f}  {a / b:5.1f}x", flush=True)


def train_ours(path: Path, vocab_size: int) -> Any:
    import msltx

    return msltx.Tokenizer.train(path, vocab_size=vocab_size)


def train_theirs(path: Path, vocab_size: int) -> Any:
    import tokenizers as hf

    tokenizer = hf.Tokenizer(hf.models.BPE())
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=SPECIAL,
        initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(path)], trainer)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--vocab-size", type=int, nargs="+", default=[8192, 30000])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    # Read by the library when it starts its threads.
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"

    import tokenizers as hf

    import msltx

    text = args.file.read_bytes().decode()
    documents = [d for d in text.split("\n") if d]
    megabytes = args.file.stat().st_size / 1e6
    print(
        f"{args.file.name}: {megabytes:.1f} MB, {len(documents):,} lines; {args.threads} threads; "
        f"{platform.machine()}; msltx {msltx.__version__}, tokenizers {hf.__version__}"
    )
    table = Table(megabytes)
    for vocab_size in args.vocab_size:
        msltx.set_num_threads(args.threads)
        ours_times, theirs_times = [], []
        for _ in range(args.repeats):
            t, ours = seconds(train_ours, args.file, vocab_size)
            ours_times.append(t)
            t, theirs = seconds(train_theirs, args.file, vocab_size)
            theirs_times.append(t)
        if merges_of(ours.to_json()) != merges_of(theirs.to_str()):
            raise SystemExit(f"merges differ at vocab_size {vocab_size}")
        table.row(
            f"train {vocab_size}", statistics.median(ours_times), statistics.median(theirs_times)
        )

        with tempfile.TemporaryDirectory() as folder:
            file = str(ours.save(folder))
            for name, threads, work in (
                ("whole text, 1 thread", 1, "whole"),
                (f"batch of lines, {args.threads} threads", args.threads, "batch"),
            ):
                msltx.set_num_threads(threads)
                mine, other = msltx.Tokenizer.load(file), hf.Tokenizer.from_file(file)
                calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
                    "whole": (
                        lambda t=mine: t.encode(text),
                        lambda t=other: t.encode(text, add_special_tokens=False),
                    ),
                    "batch": (
                        lambda t=mine: t.encode_batch(documents),
                        lambda t=other: t.encode_batch_fast(documents, add_special_tokens=False),
                    ),
                }
                ours_times, theirs_times = [], []
                for _ in range(args.repeats + 1):
                    t, a = seconds(calls[work][0])
                    ours_times.append(t)
                    t, b = seconds(calls[work][1])
                    theirs_times.append(t)
                if work == "whole":
                    equal = a.tolist() == b.ids
                else:
                    equal = all(x.tolist() == y.ids for x, y in zip(a, b, strict=True))
                if not equal:
                    raise SystemExit(f"ids differ at vocab_size {vocab_size}, {name}")
                label = f"encode {vocab_size}, {name}"
                table.row(f"{label}, cold", ours_times[0], theirs_times[0])
                table.row(
                    f"{label}, warm",
                    statistics.median(ours_times[1:]),
                    statistics.median(theirs_times[1:]),
                )


if __name__ == "__main__":
    main()
