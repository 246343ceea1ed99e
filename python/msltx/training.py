"""Training: ``msltx.train``, with checkpoints from which a run resumes bit for bit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._arguments import check_folder
from msltx._checkpoints import holds_run
from msltx._core import FileError, InvalidValueError
from msltx._evaluation import Evaluation, check_tokenizer, evaluate
from msltx._run_folder import sole_writer
from msltx._trainer import Progress, Trainer, TrainingStopped
from msltx.data import Mixture
from msltx.model import GPT
from msltx.settings import DataSettings, RunSettings, Settings, TrainingSettings, convert
from msltx.tokenizer import Tokenizer

if TYPE_CHECKING:
    from msltx.data import Dataset

__all__ = ["Evaluation", "Progress", "Run", "TrainingStopped", "evaluate", "train"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What train() gives."""

    model: GPT
    path: Path | None
    """Folder of the run; None where nothing was to be written."""
    steps: int
    losses: npt.NDArray[np.float64]
    """Training loss of each step of this call."""
    val_losses: dict[int, float]
    """Validation loss by steps done."""
    tokens_per_s: float
    """Over the whole call, evaluations and saves left out."""


@contextmanager
def _diagnosed(model: GPT, on: bool | None) -> Iterator[None]:
    """Turn diagnostic mode on or off for a while; None leaves it as it is."""
    before = model.diagnostic
    model.diagnostic = before if on is None else on
    try:
        yield
    finally:
        model.diagnostic = before


def _place_of(data: Dataset | Mixture, given: DataSettings) -> DataSettings:
    """Give settings of the data by which a run resumes from anywhere."""
    if isinstance(data, Mixture):
        paths = [os.fspath(path.resolve()) for path in data.paths]
        return msgspec.structs.replace(
            given, path=None, paths=paths, weights=data.weights, tokenizer=None
        )
    tokenizer = given.tokenizer and os.fspath(Path(given.tokenizer).resolve())
    path = os.fspath(data.path.resolve())
    return msgspec.structs.replace(given, path=path, paths=None, weights=None, tokenizer=tokenizer)


def train(
    model: GPT,
    data: Dataset | Mixture,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tokenizer: Tokenizer | None = None,
    rows: Literal["windows", "packed", "padded"] = "windows",
    inside_documents: bool = False,
    settings: TrainingSettings | Settings | None = None,
    progress: bool = True,
    diagnostic: bool | None = None,
    on_step: Callable[[Progress], object] | None = None,
    **changes: Any,
) -> Run:
    """Train a model on a prepared dataset.

    Parameters
    ----------
    model : GPT
        Trained in place, on sequences of its context_length.
    data : Dataset or Mixture
        From msltx.data.prepare or msltx.data.open; or several, as msltx.data.Mixture.
    out : path-like, optional
        Folder of the run: config.yaml, log.csv, samples.txt, checkpoints/. Without it nothing is
        written.
    resume : bool, default False
        Go on from the run's last checkpoint: the same bits as without the interruption.
    tokenizer : Tokenizer, optional
        Saved with the model; it must be the dataset's, which is the default.
    rows : {"windows", "packed", "padded"}
        What a sequence is: see msltx.data.Batches.
    inside_documents : bool, default False
        Attention and targets stay inside the documents of a sequence.
    settings : TrainingSettings or Settings, optional
        How to train. Of a whole file's Settings, `training`, `data.rows` and
        `data.inside_documents` count here, instead of the arguments of that name; all are kept in
        the run's config.yaml.
    progress : bool, default True
        Show a progress bar on stderr where it is a terminal, lines of text elsewhere.
    diagnostic : bool, optional
        Check every op of the run (docs/seeing.md), or none; default: as the model was made, or as
        MSLTX_DIAGNOSTIC says.
    on_step : callable, optional
        Called with a Progress after every step.
    **changes
        Fields of TrainingSettings to change: max_steps=1000, learning_rate=3e-4, ...

    Returns
    -------
    Run

    Raises
    ------
    InvalidValueError
        For a setting out of its limits, or a dataset whose ids the model's vocabulary lacks.
    FileError
        Where out holds a run already and resume is not set, another training writes to it, the
        dataset was prepared with another tokenizer, or a file cannot be written.
    TrainingStopped
        After max_skipped_steps steps in a row with a non-finite loss or gradient norm.
    Error
        In diagnostic mode, on the first fault: it names step, layer, op and tensor. Nothing more
        is saved.
    KeyboardInterrupt
        On Ctrl-C, after a checkpoint was saved. A second one leaves the previous checkpoint.

    Warns
    -----
    UserWarning
        Where a resumed run goes on with other settings than it has had, or from an older
        checkpoint because files of the newest are missing.
    """
    whole = settings if isinstance(settings, Settings) else None
    base = whole.training if whole else settings or TrainingSettings()
    given = {name: getattr(base, name) for name in base.__struct_fields__}
    merged = convert({**given, **changes}, TrainingSettings, "training")
    if "dtype" in changes and merged.dtype != model.dtype:
        raise InvalidValueError(
            f"training.dtype is {merged.dtype}; the model was made with dtype {model.dtype}"
        )
    merged = msgspec.structs.replace(merged, dtype=model.dtype)
    if data.vocab_size > model.config.vocab_size:
        raise InvalidValueError(
            f"the dataset has ids up to {data.vocab_size - 1}; the model's vocab_size is "
            f"{model.config.vocab_size}"
        )
    if out is not None:
        check_folder(os.fspath(out), "out")
    path = None if out is None else Path(out)
    if path is not None:
        exists = holds_run(path)
        if exists and not resume:
            raise FileError(f"{path} holds a run already; resume it, or choose another folder")
        if resume and not exists:
            raise FileError(f"{path} holds no run to resume")
    elif resume:
        raise InvalidValueError("resume needs out, the folder of the run")
    check_tokenizer(data, tokenizer, "the one given")

    peak = _core.matrix_peak(model.dtype) if progress or path is not None else None
    if whole is None:
        whole = Settings(
            model=model.config.to_dict(),
            data=DataSettings(path="", rows=rows, inside_documents=inside_documents),
            run=RunSettings(out=os.fspath(path or "")),
        )
    kept = msgspec.structs.replace(whole, training=merged, data=_place_of(data, whole.data))
    trainer = Trainer(model, data, kept, path, tokenizer, peak)
    if path is not None and not resume:  # the last check: one that fails leaves no folder behind
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot create {path}: {error.strerror}") from None
    with sole_writer(path), _diagnosed(model, diagnostic):
        if resume and path is not None:
            trainer.resume(path)
        if not progress:
            trainer.run(on_step)
        else:
            from msltx.progress import announce, training_display

            announce(model, data)
            with training_display(merged, first_step=trainer.step.next_step) as show:

                def both(p: Progress) -> None:
                    show(p)
                    if on_step is not None:
                        on_step(p)

                trainer.run(both)
    return Run(
        model=model,
        path=path,
        steps=trainer.step.next_step,
        losses=np.array(trainer.losses),
        val_losses=trainer.val_losses,
        tokens_per_s=trainer.clock.overall_tokens_per_s,
    )
