#!/usr/bin/env python3
"""Ids, places and decoded text beside the original libraries: strings compared, differences.

    python bench/exactness.py ../shared/tokenizers --corpora ../shared/corpora --strings 1000000

Sources: every file of the corpora (whole), every code point (alone, and between letters), and
seeded random strings of all planes, with runs of one character, combining marks, emoji sequences
and special tokens glued to text. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msltx

PIECES = [
    *("a", "B", "the", " the", "  ", " ", "\n", "\r\n", "\t", "'s", "'LL", "'", ".", ",", "!?"),
    *("1", "234", "\u00e9", "e\u0301", "\u0301", "\u0308\u0323", "\u00df", "\u0130", "\u01c5"),
    *("\u4e2d\u6587", "\u3042", "\u30fc", "\uac00", "\u1100\u1161", "\u0928\u0940", "\u0e33"),
    *("\u0664", "\u00b2", "\u2460", "\u00bd", "\ufb01", "\uff21", "\u00a0", "\u3000", "\u200b"),
    *("\u200d", "\ufeff", "\ufffd", "\u2581", "\u0120", "\x00", "\x07", "\x85", "\u2028", "/"),
    *("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd"),
    *("\u2764\ufe0f", "\U0001d400", "\U0001d7d9", "\U00020000", "\U000e0041", "\U0010ffff"),
    *("<0x0A>", "``", "''", "##ing", "do not", " ' ", "n't", "</w>"),
]


def code_points() -> Iterator[int]:
    return (code for code in range(0x110000) if not 0xD800 <= code < 0xE000)


def random_strings(count: int, special: list[str], seed: int) -> Iterator[str]:
    draw = random.Random(seed)
    pieces = PIECES + special * (1 + 4 // max(1, len(special)))
    for _ in range(count):
        parts = []
        for _ in range(draw.randrange(1, 14)):
            kind = draw.random()
            if kind < 0.75:
                part = draw.choice(pieces)
            elif kind < 0.9:
                part = chr(draw.randrange(0x20, 0x3000))
            else:
                code = draw.randrange(0x110000)
                part = chr(code if not 0xD800 <= code < 0xE000 else 0x61)
            parts.append(part * (draw.choice((2, 3, 9, 40)) if draw.random() < 0.1 else 1))
        yield "".join(parts)


class Table:
    """Counts by tokenizer and source."""

    def __init__(self) -> None:
        self.failed = 0
        print(f"{'tokenizer':28} {'source':24} {'strings':>10} {'differences':>11}")

    def row(self, tokenizer: str, source: str, pairs: Iterable[tuple[str, Any, Any]]) -> None:
        count = differences = 0
        first = ""
        for text, ours, theirs in pairs:
            count += 1
            if ours != theirs:
                differences += 1
                first = first or f"   first: {text[:60]!r}: {str(ours)[:150]} / {str(theirs)[:150]}"
        self.failed += differences
        print(f"{tokenizer:28} {source:24} {count:10,} {differences:11,}{first}", flush=True)


def hugging_face(path: Path, args: argparse.Namespace, table: Table) -> None:
    import tokenizers

    ours, theirs = msltx.Tokenizer.load(path), tokenizers.Tokenizer.from_file(str(path))
    special = [t.content for t in theirs.get_added_tokens_decoder().values()][:6]

    def fully(texts: list[str]) -> Iterator[tuple[str, Any, Any]]:
        for text, their in zip(texts, theirs.encode_batch(texts), strict=True):
            our = ours.encode_fully(text, add_special_tokens=True)
            ids = our.ids.tolist()
            yield (
                text,
                (
                    ids,
                    ours.encode(text, add_special_tokens=True).tolist(),
                    [tuple(o) for o in our.offsets.tolist()],
                    our.special_tokens_mask.tolist(),
                    ours.decode(ids),
                    ours.decode(ids, skip_special_tokens=True),
                ),
                (
                    their.ids,
                    their.ids,
                    their.offsets,
                    their.special_tokens_mask,
                    theirs.decode(their.ids, skip_special_tokens=False),
                    theirs.decode(their.ids, skip_special_tokens=True),
                ),
            )

    def ids_only(texts: list[str]) -> Iterator[tuple[str, Any, Any]]:
        for text in texts:
            yield (
                text,
                ours.encode(text).tolist(),
                theirs.encode(text, add_special_tokens=False).ids,
            )

    run(path.name, ids_only, fully, special, args, table)


def run(
    name: str, whole: Any, many: Any, special: list[str], args: argparse.Namespace, table: Table
) -> None:
    for file in args.files:
        table.row(name, file.name, whole([file.read_bytes().decode()]))

    def batches(texts: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
        batch: list[str] = []
        for text in texts:
            batch.append(text)
            if len(batch) == 2000:
                yield from many(batch)
                batch = []
        yield from many(batch)

    step = args.every
    table.row(name, "code points", batches(chr(c) for c in code_points() if c % step == 0))
    between = (f"a{chr(c)}b {chr(c)}{chr(c)}1" for c in code_points() if c % step == 0)
    table.row(name, "between letters", batches(between))
    table.row(name, "random strings", batches(random_strings(args.strings, special, args.seed)))


def openai(path: Path, args: argparse.Namespace, table: Table) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext import openai_public

    known = {"cl100k_base": openai_public.cl100k_base, "o200k_base": openai_public.o200k_base}
    if path.stem not in known:
        return
    # The definition of the encoding, with its ranks from the file here.
    openai_public.load_tiktoken_bpe = lambda *_, **__: load_tiktoken_bpe(str(path))
    theirs = tiktoken.Encoding(**known[path.stem]())
    ours = msltx.Tokenizer.load(path)

    def compare(texts: list[str]) -> Iterator[tuple[str, Any, Any]]:
        for text in texts:
            ids = ours.encode(text).tolist()
            expected = theirs.encode(text, allowed_special="all")
            yield text, (ids, ours.decode(ids)), (expected, theirs.decode(expected))

    special = sorted(theirs.special_tokens_set)
    run(path.name, compare, compare, special, args, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizers", type=Path, help="a file, or a folder of them")
    parser.add_argument("--corpora", type=Path, help="a folder; its .txt and .md files are read")
    parser.add_argument("--strings", type=int, default=20000)
    parser.add_argument("--every", type=int, default=1, help="take every N-th code point")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.files = []
    if args.corpora:
        args.files = sorted(p for p in args.corpora.rglob("*") if p.suffix in (".txt", ".md"))
    folder = args.tokenizers if args.tokenizers.is_dir() else args.tokenizers.parent
    args.files += sorted(folder.glob("*_input.txt"))
    paths = [args.tokenizers] if args.tokenizers.is_file() else sorted(args.tokenizers.iterdir())
    table = Table()
    for path in paths:
        compare = {".json": hugging_face, ".tiktoken": openai}.get(path.suffix)
        if compare is None:
            continue
        try:
            compare(path, args, table)
        except ImportError as error:
            print(f"{path.name:28} left out: {error.name} is not installed")
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
