"""Pictures: attention maps, histograms of weights and gradients, the loss of runs.

Every function gives a matplotlib Figure, which a notebook shows and ``figure.savefig(path)``
writes. matplotlib is imported when the first is drawn: ``pip install 'msltx[plot]'``.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from msltx._arguments import MOST_COUNT, whole_number
from msltx._core import Error, FileError, InvalidValueError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from msltx.model import GPT

__all__ = ["attention", "gradients", "loss", "weights"]

_COLUMNS = 4  # of a grid of small pictures
_INCHES = 2.6  # of the side of one
_MOST_LABELS = 40  # tokens beyond which an attention map has no labels
_SMOOTHING = 0.02  # share of a run's rows that a smoothed loss averages over


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """Make a figure with a grid of axes, in inches, that no window shows by itself."""
    try:
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise Error("msltx.plot draws with matplotlib: pip install 'msltx[plot]'") from None
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(width, height), squeeze=False, layout="constrained"
    )
    pyplot.close(figure)  # whoever has it shows it, once
    return figure, axes


def _grid(count: int) -> tuple[Figure, list[Any]]:
    """Make a figure with `count` small axes, and hide the places that are left over."""
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    figure, axes = _figure(rows, columns, _INCHES * columns, _INCHES * rows)
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.set_axis_off()
    return figure, flat[:count]


def attention(
    activations: Mapping[str, npt.NDArray[Any]],
    *,
    layer: int = 0,
    sequence: int = 0,
    heads: Sequence[int] | None = None,
    tokens: Sequence[str] | None = None,
) -> Figure:
    """Draw what each head of a layer attends to.

    Parameters
    ----------
    activations : mapping
        What ``model.trace`` gave.
    layer : int, default 0
    sequence : int, default 0
        Which one of the batch.
    heads : sequence of int, optional
        Which heads; default: all.
    tokens : sequence of str, optional
        Texts of the T tokens, for the axes.

    Returns
    -------
    Figure
        One map per head: a row per query, a column per key, dark where the probability is high.

    Raises
    ------
    msltx.InvalidValueError
        For a layer, sequence or head that is not there, or as many texts as there are not tokens.
    msltx.Error
        Without matplotlib.
    """
    name = f"blocks.{layer}.attn.probabilities"
    if name not in activations:
        raise InvalidValueError(f"layer is {layer}; the activations have no {name}")
    batch, count, length = activations[name].shape[:3]
    maps = activations[name][whole_number(sequence, "sequence", 0, batch - 1)]
    chosen = range(count) if heads is None else heads
    chosen = [whole_number(head, "heads", 0, count - 1) for head in chosen]
    if not chosen:
        raise InvalidValueError("heads is empty; it takes at least one head")
    if tokens is not None and len(tokens) != length:
        raise InvalidValueError(f"tokens has {len(tokens)} texts; the trace is of {length} tokens")
    figure, axes = _grid(len(chosen))
    for head, axis in zip(chosen, axes, strict=True):
        axis.imshow(maps[head], cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(f"head {head}", fontsize="small")
        axis.tick_params(labelsize="x-small")
        if tokens is not None and length <= _MOST_LABELS:
            # A text with dollar signs is no formula.
            axis.set_xticks(range(length), tokens, rotation=90, parse_math=False)
            axis.set_yticks(range(length), tokens, parse_math=False)
    figure.suptitle(f"layer {layer}: probability of each key (columns)", size="medium")
    return figure


def _histograms(title: str, arrays: Mapping[str, npt.NDArray[Any]], bins: int) -> Figure:
    whole_number(bins, "bins", 1, MOST_COUNT)
    figure, axes = _grid(len(arrays))
    for (name, array), axis in zip(arrays.items(), axes, strict=True):
        values = np.asarray(array, np.float32).ravel()
        finite = values[np.isfinite(values)]
        axis.hist(finite, bins=bins, log=True)
        lost = values.size - finite.size
        axis.set_title(name + (f"\n{lost:,} not finite" if lost else ""), fontsize="xx-small")
        axis.tick_params(labelsize="xx-small")
    figure.suptitle(title, size="medium")
    return figure


def _chosen(arrays: Mapping[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    wanted = list(arrays) if names is None else names
    missing = [name for name in wanted if name not in arrays]
    if missing or not wanted:
        known = f"the model has no parameter {missing[0]}" if missing else "names is empty"
        raise InvalidValueError(f"{known}; it takes names of model.params")
    return {name: arrays[name] for name in wanted}


def weights(model: GPT, *, names: Sequence[str] | None = None, bins: int = 60) -> Figure:
    """Draw a histogram of each parameter's values, counts on a logarithmic scale.

    Parameters
    ----------
    model : GPT
    names : sequence of str, optional
        Which parameters; default: all.
    bins : int, default 60

    Returns
    -------
    Figure

    Raises
    ------
    msltx.InvalidValueError
        For a name that no parameter has.
    msltx.Error
        Without matplotlib.
    """
    return _histograms("weights", _chosen(model.params, names), bins)


def gradients(model: GPT, *, names: Sequence[str] | None = None, bins: int = 60) -> Figure:
    """Draw a histogram of each parameter's gradient, of the last backward pass.

    Parameters
    ----------
    model : GPT
    names : sequence of str, optional
        Which parameters; default: all.
    bins : int, default 60

    Returns
    -------
    Figure

    Raises
    ------
    msltx.InvalidValueError
        For a name that no parameter has, or before the first backward pass.
    msltx.Error
        Without matplotlib.
    """
    return _histograms("gradients", _chosen(model.grads, names), bins)


def _read_log(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Give steps and values of the losses in a run's log.csv."""
    log = path / "log.csv" if path.is_dir() else path
    columns: dict[str, tuple[list[int], list[float]]] = {"loss": ([], []), "val_loss": ([], [])}
    try:
        with log.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, (steps, values) in columns.items():
                    if row.get(name):
                        steps.append(int(row["step"]))
                        values.append(float(row[name]))
    except OSError as error:
        raise FileError(f"cannot read {log}: {error.strerror}") from None
    except (ValueError, KeyError, csv.Error):
        raise FileError(f"{log} is not the log of a run") from None
    if not columns["loss"][0]:
        raise FileError(f"{log} has no loss in it")
    return columns


def _smooth(values: list[float]) -> npt.NDArray[np.float64]:
    """Average over some neighbours, fewer at the ends."""
    width = max(1, round(_SMOOTHING * len(values)))
    box = np.ones(width)
    total = np.convolve(values, box, mode="same")
    return np.asarray(total / np.convolve(np.ones(len(values)), box, mode="same"))


def loss(*runs: str | os.PathLike[str]) -> Figure:
    """Draw training and validation loss over the steps of one run or several.

    Parameters
    ----------
    *runs : path-like
        Folders of runs, or files such as their log.csv.

    Returns
    -------
    Figure
        For each run the loss of single steps (pale), smoothed, and validation losses as dots.

    Raises
    ------
    msltx.FileError
        Where a log is missing or is no such log.
    msltx.Error
        Without matplotlib.
    """
    if not runs:
        raise InvalidValueError("loss was given no run; it takes at least one folder")
    logs = {os.fspath(run): _read_log(Path(run)) for run in runs}
    figure, axes = _figure(1, 1, 8, 4.5)
    axis = axes[0, 0]
    for index, (name, columns) in enumerate(logs.items()):
        color = f"C{index % 10}"
        if name.startswith("_"):  # matplotlib would leave it out of the legend
            name = f"./{name}"
        steps, values = columns["loss"]
        axis.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        axis.plot(steps, _smooth(values), color=color, label=name)
        if columns["val_loss"][0]:
            axis.plot(*columns["val_loss"], "o", color=color, label=f"{name}, validation")
    axis.set_xlabel("step")
    axis.set_ylabel("loss, nats per token")
    axis.grid(visible=True, alpha=0.3)
    for text in axis.legend(fontsize="small").get_texts():
        text.set_parse_math(False)
    return figure
