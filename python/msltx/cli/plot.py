"""``msltx plot``."""

from __future__ import annotations

import io
import os
from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Picture to write; its ending (.png, .svg, .pdf) says which kind.",
)
def plot(runs: tuple[Path, ...], out: Path) -> None:
    """Draw the losses of one run or several over their steps."""
    import msltx
    from msltx import _core

    figure = msltx.plot.loss(*runs)
    kinds = figure.canvas.get_supported_filetypes()
    if out.suffix[1:].lower() not in kinds:
        raise click.UsageError(f"--out is {out}; it takes a file that ends in .png, .svg or .pdf")
    picture = io.BytesIO()
    figure.savefig(picture, format=out.suffix[1:].lower())
    _core.write_file(os.fspath(out), picture.getvalue())
    click.echo(f"wrote {out}")
