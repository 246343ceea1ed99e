"""``msltx info``."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click


def _machine() -> None:
    import msltx
    from msltx import _core

    click.echo(f"msltx {msltx.__version__}, Python {platform.python_version()}, {sys.platform}")
    click.echo(f"processor: {_core.cpu_model()}, {msltx.get_num_threads()} threads in use")
    click.echo(f"memory available: {_core.available_memory() / 1e9:.1f} GB")
    for backend in _core.backends():
        click.echo(f"backend {backend['name']}: {backend['description']}")


def _kernels() -> None:
    from msltx import _core

    backends = _core.backends()
    width = max(len(op["name"]) for op in _core.ops())
    columns = [f"{b['name']} {dtype}" for b in backends for dtype in ("float32", "bfloat16")]
    click.echo(f"{'kernel':{width}}  " + "  ".join(columns))
    for op in _core.ops():
        marks = [
            ("yes" if dtype in b["supports"].get(op["name"], ()) else "-").ljust(
                len(f"{b['name']} {dtype}")
            )
            for b in backends
            for dtype in ("float32", "bfloat16")
        ]
        click.echo(f"{op['name']:{width}}  " + "  ".join(marks).rstrip())


def _peaks() -> None:
    from msltx import _core

    click.echo(f"matrix peak: {_core.matrix_peak('float32') / 1e9:.0f} GFLOP/s float32")
    click.echo(f"read bandwidth: {_core.read_bandwidth() / 1e9:.1f} GB/s")


def _config(config: object) -> None:
    from msltx import GPTConfig

    assert isinstance(config, GPTConfig)
    click.echo(f"{config.num_parameters():,} parameters")
    for name, value in config.to_dict().items():
        click.echo(f"{name}: {value}")


def _path(path: Path) -> None:
    import msltx
    from msltx import _core

    if (path / "meta.json").exists():
        dataset = msltx.data.open(path)
        click.echo(f"dataset {path}")
        click.echo(f"train tokens: {dataset.train_tokens:,}")
        click.echo(f"val tokens: {dataset.val_tokens:,}")
        click.echo(f"vocab_size: {dataset.vocab_size}")
        return
    folder = _core.resolve_model(str(path))
    click.echo(f"model {folder}")
    _config(msltx.GPT.load(folder).config)


@click.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--preset", help="Show a preset's fields and its exact parameter count.")
@click.option("--kernels", is_flag=True, help="Show which backend has which kernel.")
@click.option("--peaks", is_flag=True, help="Measure matrix peak and memory bandwidth.")
def info(path: Path | None, preset: str | None, kernels: bool, peaks: bool) -> None:
    """Say what this machine and build are, or what PATH (a model, run or dataset) holds."""
    from msltx import GPTConfig

    if path is not None:
        return _path(path)
    if preset is not None:
        return _config(GPTConfig.preset(preset))
    _machine()
    if kernels:
        _kernels()
    if peaks:
        _peaks()
    return None
