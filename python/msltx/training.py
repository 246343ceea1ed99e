"""Training: ``msltx.train``, with checkpoints from which a run resumes bit for bit."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._arguments import MOST_COUNT, check_folder, whole_number
from msltx._core import Error, FileError, InvalidValueError
from msltx.data import Batches, Mixture
from msltx.generation import generate
from msltx.model import GPT
from msltx.settings import (
    CONFIG_FILE,
    DataSettings,
    RunSettings,
    Settings,
    TrainingSettings,
    convert,
    write_settings,
)
from msltx.tokenizer import Tokenizer

if TYPE_CHECKING:
    from msltx.data import Dataset

__all__ = ["Progress", "Run", "TrainingStopped", "train"]

_LOG_COLUMNS = [
    "step",
    "loss",
    "val_loss",
    "grad_norm",
    "learning_rate",
    "tokens_per_s",
    "peak_share",
    "skipped",
]
_SAMPLE_TOKENS = 100
_MOST_PEAK_PROBES = 3
_MOST_SEQUENCES = 2**31  # of a batch
# A resumed run has the bits of an uninterrupted one where these stay; max_steps may well grow.
_SAME_IN_A_RUN = [
    "batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "min_learning_rate",
    "weight_decay",
    "betas",
    "grad_clip",
    "warmup_steps",
    "schedule",
    "dtype",
    "seed",
]


class TrainingStopped(Error):
    """Raised where a run ends early because its loss or gradients stay non-finite."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run says of a step that is done."""

    step: int
    """Steps done, past ones of a resumed run included."""
    max_steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens_per_s: float
    """Over the last steps, evaluations and saves left out."""
    peak_share: float | None
    """Share of the machine's matrix peak; None where it was not measured."""
    seconds_left: float
    val_loss: float | None
    """Of an evaluation after this step."""
    skipped: bool


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


def flops_per_token(model: GPT, length: int) -> float:
    """Count the operations of a training step per token: 6 P + 12 L T C."""
    config = model.config
    attention = 12 * config.num_layers * length * config.embedding_dim
    return 6.0 * model.num_parameters() + attention


class _Clock:
    """Tokens a second over a sliding window of steps."""

    def __init__(self, tokens_per_step: int) -> None:
        self.tokens_per_step = tokens_per_step
        self.total_seconds = 0.0
        self.total_steps = 0
        self._window: list[float] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self.total_seconds += seconds
        self.total_steps += 1
        self._window = [*self._window[-19:], seconds]

    @property
    def step_seconds(self) -> float:
        return sum(self._window) / max(1, len(self._window))

    @property
    def tokens_per_s(self) -> float:
        return self.tokens_per_step / max(self.step_seconds, 1e-9)

    @property
    def overall_tokens_per_s(self) -> float:
        return self.tokens_per_step * self.total_steps / max(self.total_seconds, 1e-9)


class _Log:
    """log.csv of a run. Resuming drops the lines of steps that are done again."""

    def __init__(self, path: Path, first_step: int) -> None:
        temporary = path.with_suffix(".tmp")
        try:
            kept = self._whole_rows(path, first_step) if path.exists() else []
            with temporary.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([_LOG_COLUMNS, *kept])
            temporary.replace(path)
            self._file = path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from None
        self._path = path
        self._writer = csv.writer(self._file)

    @staticmethod
    def _whole_rows(path: Path, first_step: int) -> list[list[str]]:
        """Give the rows up to a step; one that a crash has cut or spoilt is left out."""
        text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        rows = [row for row in csv.reader(text.splitlines()) if len(row) == len(_LOG_COLUMNS)]
        return [row for row in rows if row[0].isdecimal() and int(row[0]) <= first_step]

    def write(self, p: Progress) -> None:
        def number(value: float | None, form: str) -> str:
            return "" if value is None else format(value, form)

        row = [
            p.step,
            number(p.loss, ".6f"),
            number(p.val_loss, ".6f"),
            number(p.grad_norm, ".6f"),
            number(p.learning_rate, ".6e"),
            number(p.tokens_per_s, ".0f"),
            number(p.peak_share, ".4f"),
            int(p.skipped),
        ]
        try:
            self._writer.writerow(row)
            self._file.flush()
        except OSError as error:
            raise FileError(f"cannot write {self._path}: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()


@contextmanager
def _sole_writer(run: Path | None) -> Iterator[None]:
    """Keep a second training out of a run's folder; the system lets go where a process ends."""
    if run is None:
        yield
        return
    try:
        folder = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise FileError(f"cannot open {run}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise FileError(f"another training writes to {run} now; choose another folder") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(folder)


class _Trainer:
    """The loop of one call of train()."""

    def __init__(
        self,
        model: GPT,
        data: Dataset | Mixture,
        settings: Settings,
        out: Path | None,
        tokenizer: Tokenizer | None,
        matrix_peak: float | None,
    ) -> None:
        self.model, self.data, self.out = model, data, out
        self.whole_settings, self.settings = settings, settings.training
        self.tokenizer = data.tokenizer if tokenizer is None else tokenizer
        self.matrix_peak = matrix_peak
        self.peak_probes = 1
        self.length = model.config.context_length
        self.val_losses: dict[int, float] = {}
        self.losses: list[float] = []
        self.best = math.inf
        s = self.settings
        sequences = s.batch_size * s.gradient_accumulation_steps

        source: Any
        if sequences <= _MOST_SEQUENCES:
            source = Batches(
                data,
                sequences,
                self.length,
                seed=s.seed,
                rows=settings.data.rows,
                inside_documents=settings.data.inside_documents,
            )._engine
        else:  # TrainStep says best what is too large about it
            source = data.batch
        least = s.learning_rate / 10 if s.min_learning_rate is None else s.min_learning_rate
        warmup = min(200, s.max_steps // 50) if s.warmup_steps is None else s.warmup_steps
        self.step = _core.TrainStep(
            model._core,
            batch_size=s.batch_size,
            length=self.length,
            gradient_accumulation_steps=s.gradient_accumulation_steps,
            weight_decay=s.weight_decay,
            betas=s.betas,
            eps=1e-8,
            grad_clip=s.grad_clip,
            learning_rate=s.learning_rate,
            min_learning_rate=least,
            warmup_steps=warmup,
            max_steps=s.max_steps,
            schedule=s.schedule,
            source=source,
            seed=s.seed,
            inside_documents=settings.data.inside_documents,
        )
        self.clock = _Clock(sequences * self.length)

    def resume(self, path: Path) -> None:
        known = Tokenizer.load_from_model(path)
        check_tokenizer(self.data, known, f"that of {path}")
        state = json.loads(_core.restore_checkpoint(self.step, os.fspath(path)))
        whole, damaged = _core.resolve_run(os.fspath(path))
        if damaged:
            lacks = ", ".join(f"{folder} lacks {' and '.join(names)}" for folder, names in damaged)
            warnings.warn(f"{lacks}; going on from {Path(whole).name}", stacklevel=3)
        self.best = state.get("best_val_loss") or math.inf
        before = state.get("settings")
        changes = self._changes(before if isinstance(before, dict) else {})
        of_data = state.get("data")
        if isinstance(of_data, dict):  # a folder's name alone before there were mixtures
            now = msgspec.to_builtins(self.whole_settings.data)
            changes += [
                f"data.{name} {json.dumps(of_data[name])} -> {json.dumps(now[name])}"
                for name in ("rows", "weights", "inside_documents")
                if name in of_data and of_data[name] != now[name]
            ]
        if changes:
            warnings.warn(f"not the same run any more: {', '.join(changes)}", stacklevel=3)

    def _changes(self, before: dict[str, Any]) -> list[str]:
        """Name the settings that make other steps than the run's past ones would have led to."""

        def text(value: Any) -> str:
            return f"{value:g}" if isinstance(value, float) else json.dumps(value)

        now = json.loads(msgspec.json.encode(self.settings))
        return [
            f"{name} {text(before[name])} -> {text(now[name])}"
            for name in _SAME_IN_A_RUN
            if name in before and before[name] != now[name]
        ]

    def save(self) -> None:
        if self.out is None:
            return
        write_settings(self.out / CONFIG_FILE, self.whole_settings)
        done = self.step.next_step
        val_loss = self.val_losses.get(done)
        # The best of those that were saved: an evaluation between two checkpoints leaves no model.
        is_best = val_loss is not None and val_loss <= self.best
        if val_loss is not None and is_best:
            self.best = val_loss
        state = {
            "best_val_loss": None if math.isinf(self.best) else self.best,
            "settings": {f: getattr(self.settings, f) for f in self.settings.__struct_fields__},
            "data": msgspec.to_builtins(self.whole_settings.data),
        }
        _core.save_checkpoint(
            self.step,
            os.fspath(self.out),
            tokenizer_json="" if self.tokenizer is None else self.tokenizer.to_json(),
            state=json.dumps(state),
            best=is_best,
            keep=self.settings.keep_checkpoints,
        )

    def evaluate(self) -> float | None:
        s = self.settings
        limit = s.eval_tokens or None
        loss = evaluate(self.model, self.data, batch_size=s.batch_size, max_tokens=limit).loss
        if loss is None:
            return None
        self.val_losses[self.step.next_step] = loss
        return loss

    def sample(self) -> None:
        if self.out is None or self.tokenizer is None:
            return
        done = self.step.next_step
        text = generate(
            self.model,
            self.tokenizer,
            self.settings.sample_prompt,
            max_tokens=_SAMPLE_TOKENS,
            top_p=0.9,
            seed=self.settings.seed,
        ).text
        try:
            with (self.out / "samples.txt").open("a", encoding="utf-8") as file:
                file.write(f"--- step {done}\n{self.settings.sample_prompt}{text}\n")
        except OSError as error:
            raise FileError(f"cannot write {self.out / 'samples.txt'}: {error.strerror}") from None

    def peak_share(self, tokens_per_s: float) -> float | None:
        """Give the share of the matrix peak that a rate is."""
        if not self.matrix_peak:
            return None
        flops = tokens_per_s * flops_per_token(self.model, self.length)
        if flops > self.matrix_peak and self.peak_probes < _MOST_PEAK_PROBES:
            # The machine was busy with something else when its peak was measured.
            self.matrix_peak = max(self.matrix_peak, _core.matrix_peak(self.model.dtype))
            self.peak_probes += 1
        return flops / self.matrix_peak

    def _why_stopped(self, skipped: int) -> str:
        done = self.step.next_step
        good = done - skipped
        weights = f"those after step {good}, the last that was not skipped" if good else "the first"
        saved = "" if self.out is None else f" (saved as step {done})"
        return (
            f"{skipped} steps in a row were skipped because loss or gradient norm was not finite; "
            f"the weights are {weights}{saved}; begin anew, or from an earlier checkpoint, with a "
            f"learning rate lower than {self.settings.learning_rate:g}"
        )

    def run(self, on_step: Callable[[Progress], object] | None) -> None:
        s = self.settings
        log = None if self.out is None else _Log(self.out / "log.csv", self.step.next_step)
        not_finite_in_a_row = 0
        saved_at = self.step.next_step

        def due(interval: int, done: int) -> bool:
            return interval > 0 and (done % interval == 0 or done == s.max_steps)

        try:
            while self.step.next_step < s.max_steps:
                with self.clock.step():
                    result = self.step.run()
                done = self.step.next_step
                self.losses.append(result["loss"])
                not_finite = result["skipped"] and result["counted"] > 0
                not_finite_in_a_row = not_finite_in_a_row + 1 if not_finite else 0
                val_loss = self.evaluate() if due(s.eval_every, done) else None
                rate = self.clock.tokens_per_s
                progress = Progress(
                    step=done,
                    max_steps=s.max_steps,
                    loss=result["loss"],
                    grad_norm=result["grad_norm"],
                    learning_rate=result["learning_rate"],
                    tokens_per_s=rate,
                    peak_share=self.peak_share(rate),
                    seconds_left=(s.max_steps - done) * self.clock.step_seconds,
                    val_loss=val_loss,
                    skipped=result["skipped"],
                )
                if log and (due(s.log_every, done) or val_loss is not None or result["skipped"]):
                    log.write(progress)
                if on_step is not None:
                    on_step(progress)
                if not_finite_in_a_row >= s.max_skipped_steps:
                    self.save()
                    raise TrainingStopped(self._why_stopped(not_finite_in_a_row))
                if due(s.sample_every, done):
                    self.sample()
                if due(s.save_every, done) or done == s.max_steps:
                    self.save()
                    saved_at = done
        except KeyboardInterrupt:
            if self.step.next_step != saved_at:
                self.save()
            raise
        finally:
            if log:
                log.close()


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Loss of a model on a split."""

    loss: float | None
    """Mean cross entropy of a token in nats; None where the split is empty."""
    tokens: int
    """Tokens that were predicted."""
    bits_per_byte: float | None
    """Loss in bits over the bytes of text that a token stands for on average."""

    @property
    def perplexity(self) -> float | None:
        """The exponential of the loss."""
        return None if self.loss is None else math.exp(min(self.loss, 700.0))


def check_tokenizer(data: Dataset | Mixture, tokenizer: Tokenizer | None, whose: str) -> None:
    """Refuse a dataset whose ids are not a tokenizer's, where the tokenizer is known.

    Raises
    ------
    FileError
        Naming the dataset and `whose` the tokenizer is.
    """
    if tokenizer is not None and tokenizer.to_json() != data.tokenizer.to_json():
        raise FileError(f"{data.path} was prepared with another tokenizer than {whose}")


def evaluate(
    model: GPT,
    data: Dataset | Mixture,
    *,
    split: str = "val",
    batch_size: int = 16,
    max_tokens: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Evaluation:
    """Give the mean loss over a split, its windows of context_length tokens in order.

    Parameters
    ----------
    model : GPT
    data : Dataset
    split : {"val", "train"}
    batch_size : int
        Windows at a time.
    max_tokens : int, optional
        Stop after the first so many tokens, in whole batches.
    tokenizer : Tokenizer, optional
        The model's, to make sure that the dataset was prepared with it.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    FileError
        For a dataset that was prepared with another tokenizer.
    MemoryLimitError
        For batches that do not fit in memory.
    """
    check_tokenizer(data, tokenizer, "the one given")
    length = model.config.context_length
    batch_size = whole_number(batch_size, "batch_size", 1, min(_MOST_SEQUENCES, 2**40 // length))
    if max_tokens is not None:
        max_tokens = whole_number(max_tokens, "max_tokens", 1, MOST_COUNT)
    # Before the batches are made, so that those too large for memory are refused with advice.
    model._core.plan_evaluation(batch_size, length)
    total, counted = 0.0, 0
    for tokens, targets in data.windows(batch_size, length, split=split):
        total += model._core.evaluate_sum(tokens, targets, -1)
        counted += int(np.count_nonzero(targets != -1))
        if max_tokens is not None and counted >= max_tokens:
            break
    if counted == 0:
        return Evaluation(None, 0, None)
    loss = total / counted
    bytes_per_token = data.bytes_per_token(split)
    bits = loss / math.log(2) / bytes_per_token if bytes_per_token else None
    return Evaluation(loss, counted, bits)


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
        exists = (path / "checkpoints" / "last").exists()
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
    trainer = _Trainer(model, data, kept, path, tokenizer, peak)
    if path is not None and not resume:  # the last check: one that fails leaves no folder behind
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot create {path}: {error.strerror}") from None
    with _sole_writer(path):
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
