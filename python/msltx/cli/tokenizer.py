"""``msltx tokenizer train | encode | decode | inspect | convert | compare``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    _Number = click.ParamType[float]
else:  # not generic before click 8.2
    _Number = click.ParamType


class _Sample(_Number):
    """A share as a float, or a number of bytes as an int."""

    name = "sample"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = re.fullmatch(r"([0-9]*\.?[0-9]+) ?(%|[kmgt]?b|)", str(value).lower())
        if not found:
            self.fail(f"{value!r} is no share (0.1, 10%) and no size (500MB)", param, ctx)
        number, unit = found[1], found[2]
        if len(number) > 18:
            self.fail(f"{value!r} has more digits than a size takes", param, ctx)
        if unit == "%":
            return float(number) / 100
        if not unit and "." in number:
            return float(number)
        powers = {"": 0, "b": 0, "kb": 3, "mb": 6, "gb": 9, "tb": 12}
        return int(float(number) * 10 ** powers[unit])


@click.group()
def tokenizer() -> None:
    """Train, look at and compare tokenizers, encode and decode text.

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
@click.option(
    "--model",
    default="bpe",
    show_default=True,
    help="Kind of tokenizer: bpe, bytes, char_bpe, wordpiece, unigram, word_level or chars.",
)
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
@click.option(
    "--split",
    metavar="NAME|REGEX",
    help="How text is cut before tokens are made: gpt2, cl100k, o200k, llama3, qwen2, bert, "
    "whitespace, metaspace, digits or a regular expression; by default what is usual for --model.",
)
@click.option(
    "--max-token-length",
    type=INTEGER,
    metavar="N",
    help="Make no token of N bytes or characters, unless of two single ones.",
)
@click.option(
    "--alphabet-limit",
    type=INTEGER,
    metavar="N",
    help="Over characters: begin with the N most frequent ones.",
)
@click.option(
    "--character-coverage",
    type=float,
    metavar="SHARE",
    help="Begin with the characters that cover this share of the text (unigram: 0.9995).",
)
@click.option("--byte-fallback", is_flag=True, help="Write other characters as their bytes.")
@click.option(
    "--continuing-prefix", metavar="TEXT", help="Before what does not begin a word (wordpiece: ##)."
)
@click.option("--word-suffix", metavar="TEXT", help="After what ends a word (char_bpe: </w>).")
@click.option(
    "--sample",
    type=_Sample(),
    metavar="BYTES|SHARE",
    help="Train on a part, drawn by line from all files: 500MB, 0.1 or 10%.",
)
@click.option(
    "--sample-seed", type=INTEGER, default=0, show_default=True, help="Draws the lines of --sample."
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
    if options["model"] != "bytes" and made.vocab_size < options["vocab_size"]:
        click.echo(
            f"the text has nothing more that occurs at least {max(1, options['min_frequency'])} "
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


@tokenizer.command()
@click.argument("tokenizer_path", metavar="TOKENIZER")
@click.argument("text", required=False)
def inspect(tokenizer_path: str, text: str | None) -> None:
    """Show a tokenizer, or the tokens of a text.

    With TEXT, or text on standard input, every token has a line: id, place in characters, token.
    """
    tok = load_tokenizer(tokenizer_path)
    if text is None and not sys.stdin.isatty():
        text = standard_input()
    if text:
        encoding = tok.encode_fully(text)
        for i, token in enumerate(encoding.tokens):
            begin, end = encoding.offsets[i].tolist()
            click.echo(f"{int(encoding.ids[i]):>8}  {begin:>6}-{end:<6}  {token}")
        return
    click.echo(repr(tok))
    for name, id in tok.special_tokens.items():
        click.echo(f"{id:>8}  {name}")


@tokenizer.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--split", metavar="NAME", help="Split pattern of a .tiktoken file.")
@click.option("--pad-token", metavar="TEXT", help="The token that fills up batches.")
@click.option("--unk-token", metavar="TEXT", help="The token of what is unknown.")
@click.option("--bos-token", metavar="TEXT", help="The token before a text.")
@click.option("--eos-token", metavar="TEXT", help="The token after a text.")
@click.option("--overwrite", is_flag=True, help="Replace the file that stands at OUT.")
def convert(source: str, out: str, overwrite: bool, **options: Any) -> None:
    """Write a tokenizer of another format as a tokenizer.json.

    IN is a .tiktoken file, a SentencePiece .model or a tokenizer.json. An OUT that ends in .model
    becomes a SentencePiece file, where the tokenizer was trained here with the split metaspace.
    """
    from msltx import Tokenizer

    check_writable(out, overwrite, "tokenizer.json")
    tok = Tokenizer.load(source, **options)
    click.echo(f"{tok.save(out)}: {tok.vocab_size:,} tokens")


@tokenizer.command()
@click.argument("paths", nargs=-1, required=True, metavar="TOKENIZER...")
@click.option("--text", "file", required=True, metavar="FILE", help="The text to compare on.")
@click.option("--embedding-dim", type=INTEGER, default=768, show_default=True)
def compare(paths: tuple[str, ...], file: str, embedding_dim: int) -> None:
    """Tabulate tokenizers on a text.

    Bytes per token, the share of words that are one token, the parameters of the token table at
    the given width, and the operations per byte that a tied output layer of it costs in training.
    """
    from pathlib import Path

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}") from None
    size = len(text.encode())
    words = sorted({f" {word}" for word in text.split()})
    if not words:
        raise click.ClickException(f"{file} has no words")
    header = ("tokenizer", "tokens", "bytes/token", "one-token words", "table", "output ops/byte")
    click.echo("{:32} {:>9} {:>12} {:>16} {:>13} {:>16}".format(*header))
    for path in paths:
        tok = load_tokenizer(path)
        per_token = size / max(1, len(tok.encode(text)))
        whole = sum(len(ids) == 1 for ids in tok.encode_batch(words)) / len(words)
        table = tok.vocab_size * embedding_dim
        click.echo(
            f"{path[-32:]:32} {tok.vocab_size:9,} {per_token:12.3f} {whole:16.1%} {table:13,} "
            f"{6 * table / per_token:16,.0f}"
        )
