"""The loop of a training run: steps, evaluations, samples and checkpoints."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from msltx import _core
from msltx._checkpoints import find_model
from msltx._core import Error, FileError
from msltx._evaluation import MOST_SEQUENCES, check_tokenizer, evaluate
from msltx._run_folder import Log
from msltx.data import Batches, Mixture
from msltx.generation import generate
from msltx.model import GPT
from msltx.settings import CONFIG_FILE, Settings, write_settings
from msltx.tokenizer import Tokenizer

if TYPE_CHECKING:
    from msltx.data import Dataset

_SAMPLE_TOKENS = 100
_MOST_PEAK_PROBES = 3
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


class Trainer:
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
        if sequences <= MOST_SEQUENCES:
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
        find_model(path, stacklevel=3, then="going on from")
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
        log = None if self.out is None else Log(self.out / "log.csv", self.step.next_step)
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
