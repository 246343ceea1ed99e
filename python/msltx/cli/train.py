"""``msltx train``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from msltx import FileError, InvalidValueError, set_num_threads
from msltx._checkpoints import holds_run
from msltx.settings import CONFIG_FILE, DataSettings, Settings, load_settings, parse_setting

if TYPE_CHECKING:
    from msltx.data import Dataset, Mixture

_LEAST_STEPS_OF_A_CURVE = 20


def _model_config(fields: dict[str, Any], vocab_size: int) -> Any:
    """Build the model's configuration; the dataset gives vocab_size where nothing else does."""
    from msltx import GPTConfig

    given = {"vocab_size": vocab_size, **fields}
    preset = given.pop("preset", None)
    if preset is not None and not isinstance(preset, str):
        raise InvalidValueError(f"model.preset is {preset!r}; it takes the name of a preset")
    if preset is None and "context_length" not in given:
        raise InvalidValueError(
            "context_length is missing; --preset 4m gives a whole model, and the group model of a "
            "configuration file its fields"
        )
    return GPTConfig(**given) if preset is None else GPTConfig.preset(preset, **given)


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--data", "data_path", metavar="DIR", help="Prepared dataset (data.path).")
@click.option("--out", metavar="DIR", help="Folder of the run (run.out).")
@click.option("--preset", help="Model preset (model.preset): 1m, 4m, 11m, gpt2, ...")
@click.option("--max-steps", type=int, help="Steps in all.")
@click.option("--batch-size", type=int, help="Sequences of a micro-batch.")
@click.option("--gradient-accumulation-steps", type=int, help="Micro-batches of a step.")
@click.option("--learning-rate", type=float, help="After the warmup.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Compute type; what is learned is float32 always.",
)
@click.option("--seed", type=int, help="Of initial values, batches and samples.")
@click.option("--threads", type=int, help="Default: what the machine gives.")
@click.option(
    "--diagnostic",
    is_flag=True,
    help="Check every op, and stop at the first number gone bad (slow; as MSLTX_DIAGNOSTIC=1).",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="GROUP.NAME=VALUE",
    help="Any other setting: training.weight_decay=0.05, model.num_layers=8.",
)
def train(
    config: str | None,
    resume: bool,
    data_path: str | None,
    out: str | None,
    preset: str | None,
    threads: int | None,
    diagnostic: bool,
    changes: tuple[str, ...],
    **training: Any,
) -> None:
    """Train a model as CONFIG (a YAML file) and the flags say.

    With --resume and --out alone, the run's own configuration is used. Groups of settings in
    CONFIG: model, data, training, run.
    """
    flags: dict[str, dict[str, Any]] = {
        "model": {"preset": preset},
        "data": {"path": data_path},
        "run": {"out": out, "threads": threads},
        "training": training,
    }
    for change in changes:
        group, dot, rest = change.partition(".")
        name, equals, value = rest.partition("=")
        if not dot or not equals or group not in flags:
            raise click.UsageError(
                f"--set takes GROUP.NAME=VALUE with a group of {', '.join(flags)}; got {change}"
            )
        flags[group][name] = parse_setting(group, name, value, f"{group}.{name}")
    if config is None and resume:
        out = out or flags["run"].get("out") or os.environ.get("MSLTX_OUT")
        if out is None:
            raise click.UsageError("--resume needs --out, the folder of the run")
        _check_resumable(Path(out))
        if (Path(out) / CONFIG_FILE).exists():
            config = str(Path(out) / CONFIG_FILE)
    settings = load_settings(config, flags)
    _train(settings, resume, diagnostic=True if diagnostic else None)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"


def _check_resumable(out: Path) -> None:
    if not holds_run(out):
        raise FileError(f"{out} holds no run to resume")


def _open_data(data: DataSettings) -> Dataset | Mixture:
    """Open the dataset, or the mixture, that a run is to be trained on."""
    from msltx import data as msltx_data
    from msltx.cli._text import load_tokenizer

    if data.path is None:
        return msltx_data.Mixture(data.paths or [], data.weights)
    tokenizer = None if data.tokenizer is None else load_tokenizer(data.tokenizer)
    return msltx_data.open(data.path, tokenizer)


def _train(settings: Settings, resume: bool, diagnostic: bool | None) -> None:
    import msltx
    from msltx.progress import loss_curve
    from msltx.training import TrainingStopped
    from msltx.training import train as run_training

    if settings.run.threads:
        set_num_threads(settings.run.threads)
    out = Path(settings.run.out)
    dataset = _open_data(settings.data)
    model_config = _model_config(settings.model, dataset.vocab_size)
    last = out / "checkpoints" / "last"
    if holds_run(out) and not resume:
        raise FileError(f"{out} holds a run already; give --resume, or another --out")
    if resume:
        _check_resumable(out)
    model = msltx.GPT(model_config, seed=settings.training.seed, dtype=settings.training.dtype)
    try:
        run = run_training(
            model, dataset, out=out, resume=resume, settings=settings, diagnostic=diagnostic
        )
    except KeyboardInterrupt as interrupt:
        if last.exists():
            # A second Ctrl-C, in the midst of what the first had led to, has kept it from saving.
            twice = isinstance(interrupt.__context__, KeyboardInterrupt)
            click.echo(
                f"msltx: interrupted; {'the last checkpoint is' if twice else 'saved as'} "
                f"{last.resolve()}\ngo on with: "
                f"msltx train --resume --out {shlex.quote(os.fspath(out))}",
                err=True,
            )
            raise click.exceptions.Exit(130) from None
        raise
    except TrainingStopped as error:
        click.echo(f"msltx: {error}", err=True)
        sys.exit(1)
    done = run.losses.size
    if not done:
        click.echo(
            f"already at step {run.steps} of {settings.training.max_steps}; "
            "give a larger --max-steps",
            err=True,
        )
    if done >= _LEAST_STEPS_OF_A_CURVE:
        click.echo(loss_curve(run.losses.tolist(), first_step=run.steps - done + 1))
    if done:
        click.echo(f"{run.tokens_per_s:,.0f} tokens/s over {_steps(done)}")
    # In a terminal the line of progress just above has said it.
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        for at, loss in list(run.val_losses.items())[-1:]:
            click.echo(f"validation loss {loss:.4f} after {_steps(at)}")
    click.echo(f"model: {out / 'checkpoints' / 'last'}")
