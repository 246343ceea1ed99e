"""What the commands for text share: a progress bar, and options with one wording."""

from __future__ import annotations

import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from msltx.tokenizer import ProgressFunction, Tokenizer


class _Integer(click.types.IntParamType):
    """An integer that the engine can take: 64 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = super().convert(value, param, ctx)
        if not -(2**63) <= number < 2**63:
            self.fail(f"{value} does not fit in 64 bits.", param, ctx)
        return number


INTEGER = _Integer()

Command = TypeVar("Command", bound=Callable[..., Any])

_STAGES = {
    "read": "reading",
    "merge": "merging",
    "encode": "encoding",
    "inspect": "reading",
    "split": "splitting",
    "download": "downloading",
}


@contextmanager
def progress_bar() -> Iterator[ProgressFunction | None]:
    """Give a progress function that draws bars on stderr; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            in_tokens = stage in ("merge", "split")
            amount = f"{done:,} tokens" if in_tokens else f"{done / 1e6:,.1f} MB"
            if stage not in tasks:
                tasks[stage] = bar.add_task(_STAGES.get(stage, stage), amount=amount)
            bar.update(tasks[stage], completed=done, total=total or None, amount=amount)

        yield show


def _add(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):  # so that help lists them in this order
        command = option(command)
    return command


def reading_options(command: Command) -> Command:
    """Add the options that say how documents are read."""
    return _add(
        command,
        (
            click.option(
                "--documents",
                type=click.Choice(["blank_line", "line", "file", "text", "record"]),
                default="blank_line",
                show_default=True,
                help="What ends a document; record: files of JSON lines, whatever their name.",
            ),
            click.option(
                "--separator",
                metavar="TEXT",
                help="The text between documents, as <|endoftext|>; \\n is a line end.",
            ),
            click.option(
                "--field",
                default="text",
                show_default=True,
                metavar="NAME",
                help="Of JSON lines and Parquet files: the field that has the text.",
            ),
        ),
    )


def cleaning_options(command: Command) -> Command:
    """Add the options that say what is done to text before it is encoded."""
    return _add(
        command,
        (
            click.option(
                "--invalid-utf8",
                type=click.Choice(["refuse", "replace", "skip"]),
                default="refuse",
                show_default=True,
                help="Bytes that are not UTF-8: an error with file and offset, U+FFFD in their "
                "place, or the document left out.",
            ),
            click.option(
                "--remove-control", is_flag=True, help="Drop control characters but white space."
            ),
            click.option(
                "--normalize-unicode",
                type=click.Choice(["none", "nfc", "nfd", "nfkc", "nfkd"]),
                default="none",
                show_default=True,
                help="Bring text to a Unicode normalization form.",
            ),
            click.option("--strip-accents", is_flag=True, help="Drop accents: é becomes e."),
            click.option("--lowercase", is_flag=True, help="Turn text to lowercase."),
            click.option(
                "--remove-punctuation", is_flag=True, help="Drop punctuation, but no symbols."
            ),
            click.option(
                "--normalize-whitespace",
                is_flag=True,
                help="Runs of white space become one space; lines are trimmed, CRLF becomes LF.",
            ),
        ),
    )


READING = ("documents", "separator", "field", "invalid_utf8")
CLEANING = (
    "remove_control",
    "normalize_unicode",
    "strip_accents",
    "lowercase",
    "remove_punctuation",
    "normalize_whitespace",
)


def unescaped(separator: str | None) -> str | None:
    r"""Read \n and \t in a separator as a shell user means them."""
    return separator and separator.replace("\\n", "\n").replace("\\t", "\t")


def train_tokenizer(
    files: list[Path], options: dict[str, Any], progress: ProgressFunction | None
) -> Tokenizer:
    """Train a tokenizer on files; where they hold records, on the texts in them."""
    from msltx import Tokenizer
    from msltx.data import documents, has_records

    reading = {name: options.pop(name) for name in READING if name in options}
    if has_records(files) or reading.get("documents") == "record":
        texts = documents(files, **reading)
        return Tokenizer.train(texts=texts, progress=progress, **options)
    return Tokenizer.train(
        files, invalid_utf8=reading["invalid_utf8"], progress=progress, **options
    )


def says_flags(command: Command) -> Command:
    """Let the engine's errors call settings what the command line calls them."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from msltx import FileError, InvalidValueError

        try:
            return command(*args, **kwargs)
        except (FileError, InvalidValueError) as error:
            message = str(error)
            name = re.match(r"[a-z_0-9]+(?= is )", message)
            if name and isinstance(error, InvalidValueError):
                for option in click.get_current_context().command.params:
                    if isinstance(option, click.Option) and option.name == name.group():
                        message = option.opts[0] + message[name.end() :]
            for said, flag in _FLAGS.items():
                if message.endswith(said):
                    message = message.removesuffix(said) + flag
            raise type(error)(message) from None

    return cast(Command, run)


# How the engine's sentences end -> with the names of the command line.
_FLAGS = {
    "; invalid_utf8=replace reads it with U+FFFD instead": (
        "; --invalid-utf8 replace reads it with U+FFFD instead"
    ),
    "; overwrite replaces it": "; --overwrite replaces it",
}


def named_files(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the text files that arguments stand for, and say on stderr which are given twice."""
    from msltx.data import text_files

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        files = text_files(sources)
    for warning in found:
        click.echo(str(warning.message), err=True)
    return files


def check_writable(path: str, overwrite: bool, name: str) -> None:
    """Raise FileError where a file cannot be put, before the work that gives its content.

    Of an existing folder, the place is the file `name` in it.
    """
    from msltx import FileError, InvalidValueError

    if not path:
        raise InvalidValueError('--out is ""; it takes the name of a file')
    if Path(path).is_dir():
        path = str(Path(path) / name)
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileError(f"cannot write {path}: the folder {folder} is not writable")
    if Path(path).exists() and not Path(path).is_file():
        raise FileError(f"cannot write {path}: it is no regular file")
    if Path(path).exists() and not overwrite:
        raise FileError(f"{path} exists already; --overwrite replaces it")


def standard_input() -> str:
    """Read all of standard input, which must be UTF-8."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"standard input has invalid UTF-8 at byte {error.start} (0x{data[error.start]:02x})"
        ) from None


def load_tokenizer(path: str) -> Tokenizer:
    """Load a tokenizer.json, or that of a dataset, a model folder, a checkpoint or a run."""
    from msltx import FileError, Tokenizer

    place = Path(path)
    if not place.is_dir() or (place / "tokenizer.json").exists():
        return Tokenizer.load(path)
    tokenizer = Tokenizer.load_from_model(path)
    if tokenizer is None:
        raise FileError(f"{path} has no tokenizer.json")
    return tokenizer
