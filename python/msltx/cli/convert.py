"""``msltx convert``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument(
    "source", metavar="IN", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--tokenizer",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's tokenizer, in the same project's format.",
)
@click.option("--overwrite", is_flag=True, help="Replace the model folder that stands at OUT.")
def convert(source: Path, out: Path, tokenizer: Path | None, overwrite: bool) -> None:
    """Write the model IN as the model folder OUT.

    IN is a model of llama2.c in its first format, such as stories260K.bin, whose tokenizer is a
    file such as tok512.bin.
    """
    from msltx import FileError
    from msltx.convert import llama2c

    if out.exists() and not overwrite:
        raise FileError(f"{out} exists already; --overwrite replaces it")
    model = llama2c(source, out, tokenizer)
    click.echo(f"{out}: {model.num_parameters():,} parameters")
