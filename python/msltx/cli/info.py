"""``msltx info``."""

from __future__ import annotations

import csv
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msltx import FileError

if TYPE_CHECKING:
    from msltx import Backend
    from msltx.tokenizer import Tokenizer

_MOST_SOURCES = 10


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


def _mark(backend: Backend, op: str, dtype: str) -> str:
    """Say how a backend runs an op."""
    if not backend.supports(op, dtype):
        return "-"
    return "widened" if dtype == "bfloat16" and op in backend.widened else "yes"


def _kernels() -> None:
    import msltx

    backends = msltx.backends()
    columns = [
        (b, dtype)
        for b in backends
        for dtype in ("float32", "bfloat16")
        if any(b.supports(op, dtype) for op in b.ops)
    ]
    width = max(map(len, backends[0].ops))
    click.echo(f"{'kernel':{width}}" + "".join(f"  {b.name} {d}" for b, d in columns))
    for op in backends[0].ops:
        marks = "".join(f"  {_mark(b, op, d):{len(b.name) + 1 + len(d)}}" for b, d in columns)
        click.echo(f"{op:{width}}{marks}".rstrip())
    if any(b.widened for b in backends):
        click.echo("widened: computed in float32 from copies, then rounded")


def _settings() -> None:
    import msltx
    from msltx.cli._capabilities import capabilities

    rows = [(name, str(value), reason) for name, value, reason in capabilities()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    click.echo(f"{'setting':{widths[0]}}  {'value':{widths[1]}}  runs")
    for name, value, reason in rows:
        runs = f"no: {reason}" if reason else "yes"
        click.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {runs}")
    (default,) = (backend for backend in msltx.backends() if backend.is_default)
    if default.widened:
        click.echo(
            f"with dtype bfloat16, {default.name} computes in float32 from copies: "
            f"{', '.join(sorted(default.widened))}"
        )


def _peaks() -> None:
    import msltx

    click.echo(f"matrix peak: {msltx.matrix_peak('float32') / 1e9:.0f} GFLOP/s float32")
    click.echo(f"read bandwidth: {msltx.read_bandwidth() / 1e9:.1f} GB/s")


def _config(config: object) -> None:
    from msltx import GPTConfig

    assert isinstance(config, GPTConfig)
    click.echo(f"{config.num_parameters():,} parameters")
    for name, value in config.to_dict().items():
        # As the files have it: null, true.
        click.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


def _preset(name: str) -> None:
    from msltx import GPTConfig

    _config(GPTConfig.preset(name))


def _tokenizer(tokenizer: Tokenizer) -> str:
    kind = json.loads(tokenizer.to_json())["model"]["type"]
    return f"{kind}, {tokenizer.vocab_size:,} tokens"


def _dataset(path: Path) -> None:
    import msltx

    dataset = msltx.data.open(path)
    click.echo(f"dataset {path}")
    click.echo(f"train tokens: {dataset.train_tokens:,}")
    click.echo(f"val tokens: {dataset.val_tokens:,}")
    click.echo(f"train documents: {dataset.documents('train'):,}")
    click.echo(f"val documents: {dataset.documents('val'):,}")
    click.echo(f"vocab_size: {dataset.vocab_size}")
    click.echo(f"tokenizer: {_tokenizer(dataset.tokenizer)}")
    sources = dataset.meta["sources"]
    for source in sources[:_MOST_SOURCES]:
        click.echo(f"source: {source['name']}, {source['bytes']:,} bytes")
    if len(sources) > _MOST_SOURCES:
        click.echo(f"sources: {len(sources) - _MOST_SOURCES:,} more")


def _run_state(run: Path, file: Path) -> None:
    try:
        state = json.loads(file.read_text("utf-8"))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise FileError(f"{file} is damaged: it is no JSON object")
    step, best = state.get("step"), state.get("best_val_loss")
    click.echo(f"step: {step}")
    last = _last_val_loss(run / "log.csv", step)
    if last:
        click.echo(f"last validation loss: {last}")
    if isinstance(best, float):
        click.echo(f"best validation loss: {best:.4f}")
    if isinstance(data := state.get("data"), dict):
        click.echo(f"data: {_data_of_run(data)}")


def _data_of_run(data: dict[str, Any]) -> str:
    """Name the datasets of a run, with their shares where given, and its rows if not windows."""
    paths = data.get("paths") or [data.get("path")]
    weights = data.get("weights") or [None] * len(paths)
    named = ", ".join(
        f"{path}" if weight is None else f"{path} (weight {weight:g})"
        for path, weight in zip(paths, weights, strict=False)
    )
    rows = data.get("rows", "windows")
    return named if rows == "windows" else f"{named}; {rows}"


def _last_val_loss(log: Path, step: Any) -> str:
    """Give the newest validation loss of a log up to a step, and when it was."""
    last = ""
    if log.exists() and isinstance(step, int):
        with log.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(line.replace("\0", "") for line in file):
                at, loss = row.get("step") or "", row.get("val_loss")
                if loss and at.isdecimal() and int(at) <= step:
                    last = f"{loss} (step {at})"
    return last


def _path(path: Path) -> None:
    import msltx
    from msltx._checkpoints import find_model

    if (path / "meta.json").exists():
        return _dataset(path)
    if path.suffix == ".json" or (
        (path / "tokenizer.json").exists() and not (path / "config.json").exists()
    ):
        click.echo(f"tokenizer {path}")
        click.echo(_tokenizer(msltx.Tokenizer.load(path)))
        return None
    folder = find_model(path, stacklevel=1)
    model = msltx.GPT.load(folder)
    click.echo(f"model {folder}")
    if (folder / "state.json").exists():
        # RUN/checkpoints/step_00000001
        _run_state(folder.parent.parent, folder / "state.json")
    tokenizer = msltx.Tokenizer.load_from_model(folder)
    if tokenizer is not None:
        click.echo(f"tokenizer: {_tokenizer(tokenizer)}")
    _config(model.config)
    return None


@click.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--preset", help="Show a preset's fields and its exact parameter count.")
@click.option("--kernels", is_flag=True, help="Show which backend has which kernel.")
@click.option("--settings", is_flag=True, help="Show which settings of a model run.")
@click.option("--peaks", is_flag=True, help="Measure matrix peak and memory bandwidth.")
def info(path: Path | None, preset: str | None, kernels: bool, settings: bool, peaks: bool) -> None:
    """Say what this machine and build are, or what a model, run, dataset or tokenizer holds."""
    if (path is not None) + (preset is not None) + (kernels or settings or peaks) > 1:
        raise click.UsageError(
            "PATH, --preset, and --kernels, --settings and --peaks each ask for something else; "
            "give one"
        )
    if path is not None:
        return _path(path)
    if preset is not None:
        return _preset(preset)
    _machine()
    if kernels:
        _kernels()
    if settings:
        _settings()
    if peaks:
        _peaks()
    return None
