"""``msltx info``."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click


def _processor() -> str:
    """Name the processor, as the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _machine() -> None:
    import msltx
    from msltx import _core

    click.echo(f"msltx {msltx.__version__}, Python {platform.python_version()}, {sys.platform}")
    click.echo(f"processor: {_processor()}, {msltx.get_num_threads()} threads in use")
    click.echo(f"memory available: {_core.available_memory() / 1e9:.1f} GB")
    for backend in msltx.backends():
        default = ", the default" if backend.is_default else ""
        click.echo(f"backend {backend.name}: {backend.description}{default}")


def _kernels() -> None:
    import msltx

    backends = msltx.backends()
    columns = [(b, dtype) for b in backends for dtype in ("float32", "bfloat16")]
    width = max(map(len, backends[0].ops))
    click.echo(f"{'kernel':{width}}" + "".join(f"  {b.name} {d}" for b, d in columns))
    for op in backends[0].ops:
        marks = "".join(
            f"  {'yes' if b.supports(op, d) else '-':{len(b.name) + 1 + len(d)}}"
            for b, d in columns
        )
        click.echo(f"{op:{width}}{marks}".rstrip())


def _peaks() -> None:
    import msltx

    click.echo(f"matrix peak: {msltx.matrix_peak('float32') / 1e9:.0f} GFLOP/s float32")
    click.echo(f"read bandwidth: {msltx.read_bandwidth() / 1e9:.1f} GB/s")


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
