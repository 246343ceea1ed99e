"""``msltx plot``."""

from __future__ import annotations

from pathlib import Path

import click

from msltx import FileError


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

    figure = msltx.plot.loss(*runs)
    kinds = figure.canvas.get_supported_filetypes()
    if out.suffix[1:].lower() not in kinds:
        raise click.UsageError(f"--out is {out}; it takes a file that ends in .png, .svg or .pdf")
    try:
        figure.savefig(out)
    except OSError as error:
        raise FileError(f"cannot write {out}: {error.strerror}") from None
    click.echo(f"wrote {out}")
