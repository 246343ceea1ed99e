"""The text study: does cleaning pay, and which vocabulary suits a small model?

Trains a 1m model for each cleaning and for each vocabulary on the same text and compares bits per
original byte on the same held-out documents: a loss per token could not be compared, since tokens
differ, and a cleaning that throws text away makes what is left easier to predict without being
better. A cleaned model's bits are therefore shown beside the share of the bytes that it still has
to predict.

    PYTHONPATH=python python bench/text_study.py FILE... [--steps 2000] [--vocabularies 2048,8192]

Every model sees the same number of original bytes: steps times batch times length tokens of the
first vocabulary, in bytes. Prints a Markdown table and, with --out, writes it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msltx
from msltx import data
from msltx.training import evaluate

LENGTH, BATCH = 128, 16
CLEANINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "whitespace": {"normalize_whitespace": True},
    "lowercase": {"lowercase": True},
    "nfkc": {"normalize_unicode": "nfkc"},
    "accents": {"strip_accents": True},
    "punctuation": {"remove_punctuation": True},
    "all": {
        "remove_control": True,
        "normalize_unicode": "nfkc",
        "strip_accents": True,
        "lowercase": True,
        "remove_punctuation": True,
        "normalize_whitespace": True,
    },
}
VOCABULARIES = (2048, 4096, 8192, 16384, 32768, 50257)


def cleaned_share(files: list[Path], cleaning: Mapping[str, Any], documents: str) -> float:
    """Share of the bytes that a cleaning leaves."""
    engine = msltx._core.Cleaning(**cleaning)
    before = after = 0
    for text in data.documents(files, documents=documents):
        before += len(text.encode())
        after += len(engine.clean(text).encode())
    return after / before


def study(
    name: str, files: list[Path], vocab_size: int, cleaning: Mapping[str, Any], options: Any,
    folder: Path, bytes_to_see: float | None,
) -> tuple[dict[str, Any], float]:  # fmt: skip
    """Train and evaluate one model; give its row and the bytes that it has seen."""
    texts = data.documents(files, documents=options.documents)
    engine = msltx._core.Cleaning(**cleaning)
    tok = msltx.Tokenizer.train(texts=(engine.clean(text) for text in texts), vocab_size=vocab_size)
    made = data.prepare(
        files, tok, out=folder / name, documents=options.documents, val_fraction=0.05, **cleaning
    )
    per_token = made.bytes_per_token("train") or 1.0
    steps = options.steps
    if bytes_to_see is not None:
        steps = max(1, round(bytes_to_see / (per_token * LENGTH * BATCH)))
    config = msltx.GPTConfig.preset("1m", vocab_size=tok.vocab_size, context_length=LENGTH)
    model = msltx.GPT(config, seed=1)
    begin = time.perf_counter()
    msltx.train(
        model, made, max_steps=steps, batch_size=BATCH, learning_rate=2e-3, eval_every=0,
        progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    result = evaluate(model, made, max_tokens=options.eval_tokens)
    row = {
        "run": name,
        "vocabulary": tok.vocab_size,
        "parameters": model.num_parameters(),
        "bytes a token": per_token,
        "steps": steps,
        "bits per original byte": result.bits_per_byte,
        "bytes left": cleaned_share(files, cleaning, options.documents),
        "seconds": seconds,
    }
    return row, steps * per_token * LENGTH * BATCH


def rows(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of both parts of the study, as they are done."""
    files = data.text_files(options.files)
    seen: float | None = None
    for name in options.cleanings:
        row, here = study(
            f"cleaning {name}", files, options.cleaning_vocabulary, CLEANINGS[name], options,
            folder, seen,
        )  # fmt: skip
        seen = seen or here
        yield row
    for vocab_size in options.vocabularies:
        row, here = study(f"vocabulary {vocab_size}", files, vocab_size, {}, options, folder, seen)
        seen = seen or here
        yield row


def line(cells: Any) -> str:
    """Give a row of a Markdown table."""
    shown = (f"{c:,.4f}" if isinstance(c, float) else f"{c:,}" if isinstance(c, int) else str(c)
             for c in cells)  # fmt: skip
    return f"| {' | '.join(shown)} |"


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--steps", type=int, default=2000, help="of the first run")
    parser.add_argument("--documents", default="blank_line")
    parser.add_argument("--eval-tokens", type=int, default=200_000)
    parser.add_argument("--cleaning-vocabulary", type=int, default=8192)
    parser.add_argument(
        "--vocabularies", default=list(VOCABULARIES),
        type=lambda text: [int(n) for n in text.split(",") if n],
    )  # fmt: skip
    parser.add_argument(
        "--cleanings", default=list(CLEANINGS), type=lambda text: [n for n in text.split(",") if n]
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(options, Path(folder)):
            if not lines:
                lines = [line(row), line("---" for _ in row)]
                print("\n".join(lines), flush=True)
            lines.append(line(row.values()))
            print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main()
    except msltx.Error as error:
        sys.exit(f"text_study: {error}")
