"""How training shows itself: a bar in a terminal, lines of text elsewhere, a curve at the end."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msltx import get_num_threads

if TYPE_CHECKING:
    from msltx.data import Dataset, Mixture
    from msltx.model import GPT
    from msltx.settings import TrainingSettings
    from msltx.training import Progress

__all__ = ["announce", "loss_curve", "training_display"]


def duration(seconds: float) -> str:
    """Write seconds as 1:02:03 or 2:03."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def _line(p: Progress) -> str:
    share = "" if p.peak_share is None else f"  {100 * p.peak_share:.0f} % of peak"
    val = "" if p.val_loss is None else f"  val loss {p.val_loss:.4f}"
    note = "  SKIPPED (not finite, or nothing to predict)" if p.skipped else ""
    return (
        f"step {p.step}/{p.max_steps}  loss {p.loss:.4f}{val}  {p.tokens_per_s:,.0f} tokens/s"
        f"{share}  {duration(p.seconds_left)} left{note}"
    )


# Columns of the bar behind the loss, those that are left out first last, and their widths.
_OPTIONAL = {"rate": len("1,234,567 tokens/s"), "share": len("100 % of peak"), "left": 12}
_LEAST_BAR = 6


def columns_that_fit(width: int, max_steps: int) -> int:
    """Count the columns shown beside steps and loss: none, the bar, or it and some of _OPTIONAL."""
    used = len("step ") + 2 * len(str(max_steps)) + len("/") + len(" loss 12.345")
    for count, needed in enumerate((_LEAST_BAR, *_OPTIONAL.values())):
        used += 1 + needed
        if used > width:
            return count
    return 1 + len(_OPTIONAL)


@contextmanager
def training_display(
    settings: TrainingSettings, first_step: int
) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows a step's Progress on stderr."""
    if not sys.stderr.isatty():

        def write_line(p: Progress) -> None:
            done = p.step == p.max_steps
            if done or p.step % settings.log_every == 0 or p.val_loss is not None or p.skipped:
                print(_line(p), file=sys.stderr, flush=True)

        yield write_line
        return

    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    step: list[ProgressColumn] = [TextColumn("step"), MofNCompleteColumn()]
    loss = TextColumn("loss {task.fields[loss]}")
    bar_itself = BarColumn(bar_width=None)
    optional = [TextColumn(f"{{task.fields[{name}]}}") for name in _OPTIONAL]

    class Fitting(Bar):
        """Leaves columns out where the terminal is too narrow for all, instead of cutting words."""

        def get_renderables(self) -> Iterable[RenderableType]:
            shown = columns_that_fit(console.width, settings.max_steps)
            middle = [bar_itself] if shown else []
            self.columns = (*step, *middle, loss, *optional[: max(0, shown - 1)])
            return super().get_renderables()

    with Fitting(console=console) as bar:
        task = bar.add_task(
            "training",
            total=settings.max_steps,
            completed=first_step,
            loss="-",
            rate="- tokens/s",
            share="",
            left="- left",
        )

        def update(p: Progress) -> None:
            bar.update(
                task,
                completed=p.step,
                loss=f"{p.loss:.3f}",
                rate=f"{p.tokens_per_s:,.0f} tokens/s",
                share="" if p.peak_share is None else f"{100 * p.peak_share:.0f} % of peak",
                left=f"{duration(p.seconds_left)} left",
            )
            if p.val_loss is not None or p.skipped:
                bar.console.print(_line(p), highlight=False)

        yield update


def announce(model: GPT, data: Dataset | Mixture) -> None:
    """Say on stderr what is about to be trained, on what."""
    print(
        f"{model.num_parameters():,} parameters, {data.train_tokens:,} training tokens, "
        f"{get_num_threads()} threads, backend {model.backend}",
        file=sys.stderr,
        flush=True,
    )


def loss_curve(
    losses: Sequence[float], width: int = 72, height: int = 12, first_step: int = 1
) -> str:
    """Draw a curve in text: losses averaged into `width` columns, two marks a row of characters.

    Parameters
    ----------
    losses : sequence of float
        One a step; those that are not finite are left out.
    width, height : int
        Of the drawing, in characters, the scale on the left not counted.
    first_step : int
        Number of the step that the first loss is of.
    """
    finite = [x for x in losses if x == x and abs(x) != float("inf")]
    if len(finite) < 2:
        return ""
    columns = min(width, len(finite))
    edges = [round(i * len(finite) / columns) for i in range(columns + 1)]
    means = [sum(part) / len(part) for part in (finite[a:b] for a, b in itertools.pairwise(edges))]
    low, high = min(means), max(means)
    span = high - low or 1.0
    levels = [round((m - low) / span * (2 * height - 1)) for m in means]
    rows = []
    for row in reversed(range(height)):
        marks = "".join(
            "▀" if level == 2 * row + 1 else "▄" if level == 2 * row else " " for level in levels
        )
        value = low + span * (row + 0.5) / height
        rows.append(f"{value:8.3f} ┤{marks}".rstrip())
    rows.append(f"{'':8} └{'─' * columns}")
    last = str(first_step + len(losses) - 1)
    rows.append(f"{'':10}{first_step:<{max(1, columns - len(last))}}{last}  steps")
    return "\n".join(rows)
