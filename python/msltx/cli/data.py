"""``msltx data prepare | split | inspect``."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msltx.cli._text import (
    CLEANING,
    INTEGER,
    READING,
    cleaning_options,
    load_tokenizer,
    named_files,
    progress_bar,
    reading_options,
    says_flags,
    train_tokenizer,
    unescaped,
)

if TYPE_CHECKING:
    from msltx.data import Dataset, TextReport

_VAL_FRACTION = click.option(
    "--val-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of the documents that is held out for validation.",
)
_OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Replace the dataset that stands at --out."
)
_SHOWN_CHARACTERS = 12


@click.group()
def data() -> None:
    """Prepare text for training, and look at it.

    FILE is a text file (.txt, .md, .jsonl, .parquet; also .gz and .zst), a folder of them, a
    pattern in quotation marks, or - for standard input.
    """


def _say_sizes(dataset: Dataset, val_fraction: float) -> None:
    if val_fraction > 0 and dataset.val_tokens == 0:
        click.echo("no document fell into the validation split", err=True)
    invalid = dataset.meta.get("invalid_utf8", {})
    for count, what in (
        ("replaced", "broken pieces of UTF-8 became U+FFFD"),
        ("skipped", "documents that are not UTF-8 were left out"),
    ):
        if invalid.get(count):
            click.echo(f"{invalid[count]:,} {what}", err=True)
    click.echo(
        f"{dataset.path}: {dataset.train_tokens:,} training and {dataset.val_tokens:,} "
        f"validation tokens (vocabulary {dataset.vocab_size:,})"
    )


@data.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option("--out", required=True, metavar="DIR", help="The dataset to write.")
@click.option(
    "--tokenizer",
    "tokenizer_path",
    metavar="TOKENIZER",
    help="A tokenizer.json, or a dataset, model folder, checkpoint or run that has one.",
)
@click.option(
    "--vocab-size", type=INTEGER, help="Train a tokenizer of this size on FILE... instead."
)
@_VAL_FRACTION
@_OVERWRITE
@reading_options
@cleaning_options
@says_flags
def prepare(
    sources: tuple[str, ...],
    tokenizer_path: str | None,
    vocab_size: int | None,
    **options: Any,
) -> None:
    """Turn text files into a dataset.

    FILE is a text file (.txt, .md, .jsonl, .parquet; also .gz and .zst), a folder of them, a
    pattern in quotation marks, - for standard input, an http address, or the name of a text that
    is known: shakespeare, tinystories. What is fetched is kept in data/downloads.
    """
    from msltx import _core
    from msltx.data import prepare as prepare_data
    from msltx.data._download import fetch_sources

    if (tokenizer_path is None) == (vocab_size is None):
        raise click.UsageError("give --tokenizer or --vocab-size, one of them")
    options["separator"] = unescaped(options["separator"])
    _core.check_prepare(
        options["out"], val_fraction=options["val_fraction"], overwrite=options["overwrite"]
    )
    with progress_bar() as progress:
        fetched, separator = fetch_sources(sources, progress=progress)
    if separator is not None and options["separator"] is None:
        options["separator"] = separator
    files = named_files(fetched)
    for file in files if vocab_size is not None else []:
        once = str(file) == "-" or (file.exists() and not file.is_file() and not file.is_dir())
        if once:
            name = "standard input" if str(file) == "-" else file
            raise click.UsageError(f"{name} can be read once only; give --tokenizer with it")
    with progress_bar() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below
        if vocab_size is not None:
            reading = {name: options[name] for name in (*READING, *CLEANING)}
            tokenizer = train_tokenizer(files, {"vocab_size": vocab_size, **reading}, progress)
        else:
            assert tokenizer_path is not None
            tokenizer = load_tokenizer(tokenizer_path)
        dataset = prepare_data(files, tokenizer, progress=progress, **options)
    _say_sizes(dataset, options["val_fraction"])


@data.command()
@click.argument("dataset_path", metavar="DATASET")
@click.option("--out", required=True, metavar="DIR", help="The dataset to write.")
@click.option(
    "--tokenizer",
    "tokenizer_path",
    metavar="TOKENIZER",
    help="What token files of llm.c or nanoGPT were encoded with.",
)
@_VAL_FRACTION
@_OVERWRITE
@says_flags
def split(
    dataset_path: str, out: str, tokenizer_path: str | None, val_fraction: float, overwrite: bool
) -> None:
    """Deal documents out anew to train and val.

    Nothing is encoded again: a document goes where the hash of its token ids says. DATASET is a
    prepared dataset; or, with --tokenizer, a .bin file of llm.c or nanoGPT, or a folder of them,
    which becomes a dataset this way.
    """
    from msltx.data import open as open_data
    from msltx.data import split as split_data

    tokenizer = None if tokenizer_path is None else load_tokenizer(tokenizer_path)
    dataset = open_data(dataset_path, tokenizer)
    with progress_bar() as progress:
        made = split_data(
            dataset, out=out, val_fraction=val_fraction, overwrite=overwrite, progress=progress
        )
    _say_sizes(made, val_fraction)


@data.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--sample-bytes", type=INTEGER, default=0, help="Stop after so many bytes of text; 0: read all."
)
@click.option(
    "--examples", type=INTEGER, default=3, show_default=True, help="Shown of each cleaning step."
)
@click.option(
    "--tokenizer",
    "tokenizer_path",
    metavar="TOKENIZER",
    help="What token files of llm.c or nanoGPT were encoded with.",
)
@reading_options
@cleaning_options
@says_flags
def inspect(sources: tuple[str, ...], tokenizer_path: str | None, **options: Any) -> None:
    """Say what a cleaning would change.

    What text is made of is told too: characters by kind. The cleaning steps given are applied one
    after the other and compared line by line; nothing is written. Of a prepared dataset instead of
    FILE..., say what is in it.
    """
    from msltx.data import inspect as inspect_text
    from msltx.data import open as open_data

    place = Path(sources[0])
    if len(sources) == 1 and (tokenizer_path or (place / "meta.json").is_file()):
        tokenizer = load_tokenizer(tokenizer_path) if tokenizer_path else None
        _show_dataset(open_data(place, tokenizer))
        return
    options["separator"] = unescaped(options["separator"])
    files = named_files(sources)
    with progress_bar() as progress:
        report = inspect_text(files, progress=progress, **options)
    _show_text(report)


def _name_of(character: str) -> str:
    return unicodedata.name(character, "no name") if character.isprintable() else "not printable"


def _show_text(report: TextReport) -> None:
    click.echo(
        f"{report.documents:,} documents, {report.characters:,} characters, {report.bytes:,} bytes"
    )
    for count, what in (
        (report.replaced, "broken pieces of UTF-8, read as U+FFFD"),
        (report.skipped, "documents that are not UTF-8, left out"),
    ):
        if count:
            click.echo(f"{count:,} {what}")
    total = max(1, report.characters)
    for words, count in report.groups.items():
        click.echo(f"  {words:<20} {count:>15,}  {100 * count / total:7.3f} %")
    foreign = sorted(
        ((n, c) for c, n in report.counts.items() if not (c.isascii() and c.isprintable())),
        reverse=True,
    )
    if foreign:
        click.echo(f"{len(foreign):,} different characters beside printable ASCII; most frequent:")
    for count, character in foreign[:_SHOWN_CHARACTERS]:
        shown = character if character.isprintable() else " "
        click.echo(f"  U+{ord(character):04X} {shown} {count:>12,}  {_name_of(character)}")
    for step in report.steps:
        click.echo(
            f"{step.name}: {step.lines:,} lines of {step.documents:,} documents; "
            f"{step.removed:,} characters go, {step.added:,} come"
        )
        for before, after in step.examples:
            click.echo(f"  - {before!r}\n  + {after!r}")


def _show_dataset(dataset: Dataset) -> None:
    meta = dataset.meta
    click.echo(f"{dataset.path}: vocabulary {dataset.vocab_size:,}, [EOS] {dataset.eos_id}")
    for name, tokens in (("train", dataset.train_tokens), ("val", dataset.val_tokens)):
        documents = dataset.documents(name)
        ratio = dataset.bytes_per_token(name)
        mean = f", {tokens / documents:,.1f} tokens each" if documents else ""
        share = f", {ratio:.3f} bytes a token" if ratio else ""
        click.echo(f"  {name:<5} {tokens:>15,} tokens, {documents:,} documents{mean}{share}")
    steps = [
        f"{step['step']} {step['form']}" if "form" in step else step["step"]
        for step in meta.get("cleaning", [])
    ]
    steps += [name for name in ("normalize_whitespace", "lowercase") if meta.get(name)]
    click.echo(f"  cleaning: {', '.join(steps) or 'none'}")
    for source in meta.get("sources", [])[:_SHOWN_CHARACTERS]:
        click.echo(f"  from {source['name']} ({source['bytes']:,} bytes)")
