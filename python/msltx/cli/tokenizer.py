"""``msltx tokenizer train | encode | decode``."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from msltx.cli._text import (
    INTEGER,
    check_writable,
    cleaning_options,
    load_tokenizer,
    named_files,
    progress_bar,
    says_flags,
    standard_input,
    train_tokenizer,
)


@click.group()
def tokenizer() -> None:
    """Train a tokenizer, encode and decode text.

    TOKENIZER is a tokenizer.json, or a dataset, model folder, checkpoint or run that has one.
    """


@tokenizer.command()
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--out",
    default="tokenizer.json",
    show_default=True,
    metavar="FILE",
    help="The file to write, or a folder to put tokenizer.json in.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file that stands at --out.")
@click.option("--model", default="bpe", show_default=True, help="Kind of tokenizer: bpe.")
@click.option("--vocab-size", type=INTEGER, default=8192, show_default=True, help="Tokens in all.")
@click.option(
    "--min-frequency",
    type=INTEGER,
    default=2,
    show_default=True,
    help="How often a pair must occur to become a token; 0 counts as 1.",
)
@click.option(
    "--special-token",
    "special_tokens",
    multiple=True,
    metavar="TEXT",
    help="May be given several times; default: [PAD] [UNK] [BOS] [EOS].",
)
@click.option(
    "--field",
    default="text",
    show_default=True,
    metavar="NAME",
    help="Of JSON lines and Parquet files: the field that has the text.",
)
@cleaning_options
@says_flags
def train(
    sources: tuple[str, ...],
    out: str,
    overwrite: bool,
    special_tokens: tuple[str, ...],
    **options: Any,
) -> None:
    """Train a tokenizer on text files.

    FILE is a text file (.txt, .md, .jsonl, .parquet; also .gz and .zst), a folder of them, a
    pattern in quotation marks, or - for standard input. Text is read in constant memory.
    """
    if special_tokens:
        options["special_tokens"] = special_tokens
    files = named_files(sources)
    check_writable(out, overwrite, "tokenizer.json")
    with progress_bar() as progress:
        made = train_tokenizer(files, dict(options), progress)
    path = made.save(out)
    if made.vocab_size < options["vocab_size"]:
        click.echo(
            f"the text has no more pairs that occur at least {max(1, options['min_frequency'])} "
            f"times: {made.vocab_size:,} tokens instead of {options['vocab_size']:,}",
            err=True,
        )
    click.echo(f"{path}: {made.vocab_size:,} tokens")


@tokenizer.command()
@click.argument("tokenizer_path", metavar="TOKENIZER")
@click.argument("text", required=False)
@click.option("--add-special-tokens", is_flag=True, help="[BOS] before and [EOS] after.")
@click.option("--tokens", is_flag=True, help="Show tokens instead of ids.")
def encode(tokenizer_path: str, text: str | None, add_special_tokens: bool, tokens: bool) -> None:
    """Print the token ids of a text.

    Without TEXT, standard input is read.
    """
    tok = load_tokenizer(tokenizer_path)
    ids = tok.encode(standard_input() if text is None else text, add_special_tokens)
    click.echo(" ".join(tok.id_to_token(int(i)) if tokens else str(i) for i in ids))


# -1 is a wrong id, not an unknown option.
@tokenizer.command(context_settings={"ignore_unknown_options": True})
@click.argument("tokenizer_path", metavar="TOKENIZER")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--skip-special-tokens", is_flag=True, help="Leave [EOS] and the like out.")
def decode(tokenizer_path: str, ids: tuple[str, ...], skip_special_tokens: bool) -> None:
    """Print the text of token ids.

    Without an ID, standard input is read.
    """
    for word in (tokenizer_path, *ids):
        if re.match(r"--?[A-Za-z]", word):
            raise click.NoSuchOption(word, possibilities=["--skip-special-tokens"])
    tok = load_tokenizer(tokenizer_path)
    numbers: list[int] = []
    for word in re.split(r"[\s,]+", " ".join(ids) if ids else standard_input()):
        if not word:
            continue
        if not re.fullmatch(r"-?[0-9]{1,18}", word):
            raise click.UsageError(f"{word!r} is no token id")
        numbers.append(int(word))
    text = tok.decode(numbers, skip_special_tokens)
    # Exactly the text, so that it can be compared; a terminal gets its line end.
    sys.stdout.buffer.write(text.encode())
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
