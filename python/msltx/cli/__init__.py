"""The command line: ``msltx COMMAND``. One module per command, loaded when it is called.

Progress goes to stderr, results to stdout. Exit codes: 0 done, 1 failed, 2 wrong usage, 130
interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

import click

import msltx
from msltx import Error, InvalidValueError

__all__ = ["main"]

# Command -> one line of help. The command `name` is the object of that name in msltx.cli.name.
_COMMANDS = {
    "tokenizer": "Train a tokenizer, encode and decode text.",
    "data": "Prepare text for training.",
    "train": "Train a model on a prepared dataset.",
    "eval": "Give a model's loss on a split of a dataset.",
    "generate": "Continue a text with a model.",
    "plot": "Draw the losses of runs.",
    "convert": "Make a model folder of another project's model.",
    "info": "Say what this machine, this build or a file is.",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"msltx.cli.{cmd_name}")
        command = getattr(module, cmd_name, None) or module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(msltx.__version__, prog_name="msltx")
def _msltx() -> None:
    """Train tokenizers and GPTs on your own text, and generate with them."""


def _open_closed_streams() -> None:
    """Give the standard streams that the caller closed (``<&-``) nothing to read or to say."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _show(error: click.ClickException) -> None:
    """Say what was wrong as all of msltx does, and for wrong usage what is right."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # the help of a group that was called without a command
        return
    message = " ".join(error.format_message().split())
    click.echo(f"msltx: {message[:1].lower()}{message[1:].removesuffix('.')}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        usage = error.ctx.get_usage().replace("Usage:", "usage:", 1)
        click.echo(f"{usage}\nhelp: {error.ctx.command_path} --help", err=True)


def _finish_output() -> None:
    """Write what waits; what cannot be written is dropped, or the interpreter would try at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code."""
    click.echo(f"msltx: {message}", err=True)


def _run(arguments: Sequence[str] | None) -> int:
    _open_closed_streams()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _warn
            result: Any = _msltx.main(arguments, prog_name="msltx", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("msltx: interrupted", err=True)
        return 130
    except InvalidValueError as error:
        click.echo(f"msltx: {error}", err=True)
        return 2
    except BrokenPipeError:  # the reader of our output has gone
        _finish_output()
        return 1
    except MemoryError as error:
        click.echo(f"msltx: {error if isinstance(error, Error) else 'out of memory'}", err=True)
        return 1
    except UnicodeEncodeError as error:
        bad = error.object[error.start]
        click.echo(f"msltx: the output's encoding, {error.encoding}, has no {bad!a}", err=True)
        return 1
    except Error as error:
        click.echo(f"msltx: {error}", err=True)
        return 1
    except OSError as error:  # of Python's own files, standard output first of all
        name = f"{error.filename}: " if error.filename else ""
        click.echo(f"msltx: {name}{error.strerror or error}", err=True)
        _finish_output()
        return 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, by default this process's, and exit with its code."""
    sys.exit(_run(arguments))
