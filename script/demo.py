"""The main job of msltx, step by step: tokenizer, shards, training, evaluation, generation.

Run by script/demo. Without files it reads text that comes with every Python: the help topics of
pydoc and the docstrings of the standard library.
"""

from __future__ import annotations

import ast
import importlib
import shutil
import sys
import sysconfig
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import msltx
from msltx.data import Dataset
from msltx.progress import duration, loss_curve
from msltx.training import evaluate

OUT = Path("runs/demo")
CORPUS = "python_text.txt"
VOCAB_SIZE = 4096
MAX_STEPS = 800  # about two minutes on two cores
PROMPT = "The function returns"


def docstrings(path: Path) -> Iterator[str]:
    """Give the docstrings of a Python source file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own invalid escapes
            tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, ValueError, OSError):
        return  # test data that is broken on purpose
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


def python_text() -> str:
    """Join the help topics and the standard library's docstrings, a paragraph block each."""
    topics = importlib.import_module("pydoc_data.topics").topics
    documents = [topics[name] for name in sorted(topics)]
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if not {"site-packages", "dist-packages", "test", "tests"} & set(parts):
            documents.extend(docstrings(path))
    return "\n\n".join(documents)


def shards(files: list[Path], tokenizer: msltx.Tokenizer, out: Path) -> Dataset:
    """Prepare the files. Of a short text perhaps nothing is held out; never all of it."""
    sources = [str(path) for path in files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below
        try:
            data = msltx.data.prepare(sources, tokenizer, out=out)
        except msltx.InvalidValueError:  # no text, which is said once more, or all of it held out
            data = msltx.data.prepare(sources, tokenizer, out=out, val_fraction=0)
    print(f"{data.train_tokens:,} training tokens, {data.val_tokens:,} held out")
    if data.val_tokens == 0:
        print("the text is too short to hold some of it out: there will be no validation loss")
    return data


def heading(number: int, text: str) -> None:
    """Announce a step."""
    print(f"\n[{number}/6] {text}", flush=True)


def say(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as a sentence, without the place in the code that gave it."""
    print(message)


def main(arguments: list[str]) -> None:
    """Run the job on files, or on Python's own text."""
    warnings.showwarning = say
    begin = time.perf_counter()
    files = [Path(argument) for argument in arguments]
    for path in files:
        if not path.is_file():
            raise msltx.FileError(f"{path} is no file")
        if path.resolve().is_relative_to(OUT.resolve()) and path.name != CORPUS:
            raise msltx.FileError(f"{path} is in {OUT}, which the demo writes anew")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in ("data", "run", "model"):  # of the demo before
        shutil.rmtree(OUT / name, ignore_errors=True)
    prompt = PROMPT
    if files:
        prompt = ""
    else:
        corpus = OUT / CORPUS
        corpus.write_text(python_text(), "utf-8", errors="replace")
        files = [corpus]
    size = sum(path.stat().st_size for path in files)
    print(f"text: {', '.join(map(str, files))} ({size / 1e6:.1f} MB)")

    heading(1, f"training a byte-level BPE tokenizer ({VOCAB_SIZE} tokens)")
    tokenizer = msltx.Tokenizer.train([str(path) for path in files], vocab_size=VOCAB_SIZE)
    tokenizer.save(OUT / "tokenizer.json")

    heading(2, "writing token shards")
    data = shards(files, tokenizer, OUT / "data")

    heading(3, "training")
    config = msltx.GPTConfig.preset("4m", vocab_size=tokenizer.vocab_size)
    model = msltx.GPT(config, seed=1)
    run = msltx.train(
        model,
        data,
        out=OUT / "run",
        # Best of some twenty settings for this little text: many small steps, a slow start.
        batch_size=8,
        learning_rate=1.5e-3,
        betas=(0.9, 0.99),
        warmup_steps=MAX_STEPS // 4,
        max_steps=MAX_STEPS,
        eval_every=200,
        save_every=400,
        log_every=20,
    )
    print(loss_curve(run.losses.tolist()))
    print(f"{run.tokens_per_s:,.0f} tokens/s")

    heading(4, "evaluating on held-out text")
    result = evaluate(model, data)
    if result.loss is None:
        print("no text was held out")
    else:
        print(f"loss {result.loss:.3f} nats per token, perplexity {result.perplexity:.1f}", end="")
        print(f", {result.bits_per_byte:.3f} bits per byte" if result.bits_per_byte else "")

    heading(5, "saving")
    model.save(OUT / "model", tokenizer)
    print(OUT / "model")

    heading(6, "generating")
    made = msltx.generate(model, tokenizer, prompt, max_tokens=80, temperature=0.8, top_p=0.9)
    print(f"{prompt}{made.text}")

    print(f"\ndone in {duration(time.perf_counter() - begin)}; written:")
    for path in ("tokenizer.json", "data", "run", "model"):
        print(f"  {OUT / path}")
    print("\ntry next:")
    print(f'  .venv/bin/msltx generate {OUT / "model"} --prompt "A list is" --max-tokens 100')
    print(f"  .venv/bin/msltx train --resume --out {OUT / 'run'} --max-steps {2 * MAX_STEPS}")
    print("  script/demo YOUR_TEXT_FILE.txt")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except (msltx.Error, OSError) as error:
        sys.exit(f"demo: {error}")
