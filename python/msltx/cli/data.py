"""``msltx data prepare``."""

from __future__ import annotations

import warnings
from typing import Any

import click

from msltx.cli._text import (
    INTEGER,
    cleaning_options,
    load_tokenizer,
    named_files,
    progress_bar,
    says_flags,
)


@click.group()
def data() -> None:
    """Prepare text for training."""


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
@click.option(
    "--val-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of the documents that is held out for validation.",
)
@click.option(
    "--documents",
    type=click.Choice(["blank_line", "line", "file"]),
    default="blank_line",
    show_default=True,
    help="What ends a document.",
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset that stands at --out.")
@cleaning_options
@says_flags
def prepare(
    sources: tuple[str, ...],
    tokenizer_path: str | None,
    vocab_size: int | None,
    **options: Any,
) -> None:
    """Turn text files into a dataset.

    FILE is a text file, a folder (its .txt and .md files), or a pattern in quotation marks.
    """
    import msltx
    from msltx import _core
    from msltx.data import prepare as prepare_data

    if (tokenizer_path is None) == (vocab_size is None):
        raise click.UsageError("give --tokenizer or --vocab-size, one of them")
    files = named_files(sources)
    _core.check_prepare(
        options["out"], val_fraction=options["val_fraction"], overwrite=options["overwrite"]
    )
    for file in files if vocab_size is not None else []:
        if file.exists() and not file.is_file() and not file.is_dir():
            raise click.UsageError(f"{file} can be read once only; give --tokenizer with it")
    with progress_bar() as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said below
        if vocab_size is not None:
            tokenizer = msltx.Tokenizer.train(
                files,
                vocab_size=vocab_size,
                normalize_whitespace=options["normalize_whitespace"],
                lowercase=options["lowercase"],
                invalid_utf8=options["invalid_utf8"],
                progress=progress,
            )
        else:
            assert tokenizer_path is not None
            tokenizer = load_tokenizer(tokenizer_path)
        dataset = prepare_data(files, tokenizer, progress=progress, **options)
    if options["val_fraction"] > 0 and dataset.val_tokens == 0:
        click.echo("no document fell into the validation split", err=True)
    click.echo(
        f"{dataset.path}: {dataset.train_tokens:,} training and {dataset.val_tokens:,} "
        f"validation tokens (vocabulary {dataset.vocab_size:,})"
    )
