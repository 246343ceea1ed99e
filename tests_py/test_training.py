"""msltx.train: learning, checkpoints, exact resume, stops; and evaluate."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from msltx import _core
from msltx.data import Dataset
from msltx.progress import loss_curve, training_display
from msltx.settings import CONFIG_FILE, TrainingSettings, load_settings
from msltx.training import Evaluation, Progress, TrainingStopped, evaluate

SENTENCE = "the quick brown fox jumps over the lazy dog while seven wizards watch quietly\n\n"
SIZES = {"context_length": 24, "embedding_dim": 48, "num_layers": 2, "num_heads": 4}
FAST: dict[str, Any] = {
    "batch_size": 8,
    "learning_rate": 3e-3,
    "progress": False,
    "eval_every": 0,
    "save_every": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    text = folder / "text.txt"
    rng = np.random.default_rng(0)
    words = SENTENCE.split()
    lines = [" ".join(rng.permutation(words)) for _ in range(400)]
    text.write_text("\n\n".join(lines) + "\n", "utf-8")
    tokenizer = msltx.Tokenizer.train(text, vocab_size=300)
    return msltx.data.prepare(text, tokenizer, out=folder / "set")


def new_model(data: Dataset, seed: int = 1, dtype: str = "float32") -> msltx.GPT:
    return msltx.GPT(msltx.GPTConfig(vocab_size=data.vocab_size, **SIZES), seed=seed, dtype=dtype)


def same_values(a: msltx.GPT, b: msltx.GPT) -> bool:
    return all(np.array_equal(a.params[name], b.params[name]) for name in a.params)


@pytest.mark.slow
def test_it_learns_and_says_so(data: Dataset, tmp_path: Path) -> None:
    model = new_model(data)
    seen: list[int] = []
    run = msltx.train(
        model,
        data,
        out=tmp_path / "run",
        max_steps=40,
        on_step=lambda p: seen.append(p.step),
        **{**FAST, "eval_every": 20, "save_every": 15, "log_every": 5},
        sample_every=40,
    )
    assert seen == list(range(1, 41))
    assert run.losses[0] == pytest.approx(math.log(data.vocab_size), abs=0.3)
    assert run.losses[-1] < 0.75 * run.losses[0]
    assert sorted(run.val_losses) == [20, 40]
    assert run.tokens_per_s > 0
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5, 41, 5))
    assert float(rows[-1]["val_loss"]) == pytest.approx(run.val_losses[40], abs=1e-6)
    assert "--- step 40" in (tmp_path / "run" / "samples.txt").read_text()
    checkpoints = tmp_path / "run" / "checkpoints"
    steps = sorted(p.name for p in checkpoints.iterdir() if p.name.startswith("step"))
    assert steps == ["step_00000015", "step_00000030", "step_00000040"]
    assert (checkpoints / "last").resolve().name == "step_00000040"
    assert same_values(msltx.GPT.load(tmp_path / "run"), model)
    result = evaluate(model, data)
    assert result.loss == pytest.approx(run.val_losses[40], rel=1e-6)
    assert result.bits_per_byte is not None
    assert 0 < result.bits_per_byte < 8


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resuming_gives_the_bits_of_an_uninterrupted_run(
    data: Dataset, tmp_path: Path, dtype: str
) -> None:
    options = {**FAST, "max_steps": 14, "gradient_accumulation_steps": 2, "batch_size": 4}
    whole = new_model(data, dtype=dtype)
    losses = msltx.train(whole, data, **options).losses

    class Stop(Exception):
        pass

    def stop(p: Any) -> None:
        if p.step == 8:
            raise Stop

    run = tmp_path / "run"
    with pytest.raises(Stop):
        msltx.train(
            new_model(data, dtype=dtype),
            data,
            out=run,
            on_step=stop,
            **{**options, "save_every": 5},
        )
    resumed = new_model(data, seed=99, dtype=dtype)
    rest = msltx.train(resumed, data, out=run, resume=True, **options)
    np.testing.assert_array_equal(rest.losses, losses[5:])
    assert same_values(resumed, whole)
    with pytest.raises(OSError, match="holds a run already"):
        msltx.train(new_model(data), data, out=run, **options)
    with pytest.raises(OSError, match="holds no run to resume"):
        msltx.train(new_model(data), data, out=tmp_path / "other", resume=True, **options)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_bits_at_any_thread_count(data: Dataset, dtype: str) -> None:
    before = msltx.get_num_threads()
    models = []
    try:
        for threads in (1, 2, 3, 8):
            msltx.set_num_threads(threads)
            models.append(new_model(data, dtype=dtype))
            msltx.train(models[-1], data, max_steps=4, **FAST)
    finally:
        msltx.set_num_threads(before)
    assert all(same_values(models[0], other) for other in models[1:])


@pytest.mark.slow
def test_bfloat16_learns_like_float32_and_is_recorded(data: Dataset, tmp_path: Path) -> None:
    losses = {}
    for dtype in ("float32", "bfloat16"):
        out = tmp_path / dtype
        run = msltx.train(new_model(data, dtype=dtype), data, max_steps=40, out=out, **FAST)
        losses[dtype] = run.losses
        assert load_settings(out / CONFIG_FILE, {}).training.dtype == dtype
        assert all(v.dtype == np.float32 for v in run.model.params.values())
    np.testing.assert_allclose(losses["bfloat16"][:5], losses["float32"][:5], rtol=1e-3)
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=2e-2)
    with pytest.raises(ValueError, match="made with dtype bfloat16"):
        msltx.train(new_model(data, dtype="bfloat16"), data, dtype="float32", **FAST)


def test_a_tiny_model_memorizes_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(SENTENCE * 60, "utf-8")
    tokenizer = msltx.Tokenizer.train(text, vocab_size=300)
    data = msltx.data.prepare(text, tokenizer, out=tmp_path / "set", val_fraction=0.0)
    model = new_model(data)
    run = msltx.train(model, data, max_steps=150, **FAST)
    assert run.losses[-1] < 0.2
    made = msltx.generate(model, tokenizer, "the quick brown", temperature=0, max_tokens=40)
    assert SENTENCE.strip().removeprefix("the quick brown").startswith(made.text.strip("\n")[:20])
    stopped = msltx.generate(
        model, tokenizer, "the quick brown", temperature=0, max_tokens=40, stop=" over"
    )
    assert stopped.text == " fox jumps"
    assert stopped.finish_reason == "stop"


@pytest.mark.slow
def test_non_finite_steps_are_skipped_and_end_the_run(data: Dataset, tmp_path: Path) -> None:
    model = new_model(data)
    values = np.array(model.params["norm.weight"])
    values[0] = np.nan
    model.params["norm.weight"] = values
    before = np.array(model.params["blocks.0.ff.in.weight"])
    with pytest.raises(
        TrainingStopped, match=r"3 steps in a row .* the weights are the first.* lower than 0.003"
    ):
        msltx.train(model, data, out=tmp_path / "run", max_steps=9, max_skipped_steps=3, **FAST)
    np.testing.assert_array_equal(model.params["blocks.0.ff.in.weight"], before)
    assert (tmp_path / "run" / "checkpoints" / "last").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "training.batch_size is 0; it takes a whole number from 1 on"),
        ({"learning_rate": -1.0}, "training.learning_rate is -1.0; it takes a number above 0"),
        ({"shedule": "cosine"}, "training has no setting shedule; did you mean schedule?"),
        ({"schedule": "stairs"}, "training.schedule is 'stairs'"),
        ({"warmup_steps": 99, "max_steps": 5}, "warmup_steps is 99; it takes 0 to max_steps, 5"),
        ({"betas": (1.0, 0.9)}, "training.betas is"),
    ],
)
def test_bad_settings_are_one_sentence(data: Dataset, changes: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        msltx.train(new_model(data), data, **{**FAST, **changes})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dataset_of_another_vocabulary_is_refused(data: Dataset) -> None:
    model = msltx.GPT(msltx.GPTConfig(vocab_size=100, **SIZES))
    with pytest.raises(ValueError, match="the model's vocab_size is 100"):
        msltx.train(model, data, max_steps=1, **FAST)


def test_ctrl_c_saves_and_ends_within_seconds(data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = textwrap.dedent(f"""
        import msltx
        data = msltx.data.open({str(data.path)!r})
        model = msltx.GPT(msltx.GPTConfig(vocab_size=data.vocab_size, **{SIZES!r}))
        print("ready", flush=True)
        msltx.train(model, data, out={str(run)!r}, max_steps=10**6, save_every=10**6,
                    batch_size=8, eval_every=0, progress=False)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        log = run / "log.csv"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not log.exists() or log.stat().st_size < 150):
            time.sleep(0.05)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert time.monotonic() - begin < 10
    assert process.returncode in (1, -signal.SIGINT)
    assert "KeyboardInterrupt" in errors
    assert (run / "checkpoints" / "last").exists()
    msltx.GPT.load(run)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_keeps_the_last_checkpoint(
    data: Dataset, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    run = tmp_path / "run"
    model = new_model(data)
    msltx.train(model, data, out=run, max_steps=2, **FAST)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            msltx.train(new_model(data), data, out=run, resume=True, **FAST, max_steps=4)
        except OSError as error:
            os._exit(0 if "cannot write" in str(error) else 3)
        os._exit(2)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert same_values(msltx.GPT.load(run), model)
    assert (run / "checkpoints" / "last").resolve().name == "step_00000002"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_step_has_a_working_child() -> None:
    config = msltx.GPTConfig(
        vocab_size=64, context_length=256, embedding_dim=32, num_layers=1, num_heads=2
    )
    tokens = np.random.default_rng(0).integers(0, 64, (1, 256))
    go_on = True

    def meet_new_shapes() -> None:
        model = msltx.GPT(config)
        while go_on:
            for length in range(2, 256):
                model.forward_backward(tokens[:, :length], tokens[:, :length])

    thread = threading.Thread(target=meet_new_shapes)
    thread.start()
    try:
        for length in range(20):
            pid = os.fork()
            if pid == 0:
                signal.alarm(30)  # ends a child that waits for ever
                part = tokens[:, : 100 + length]
                msltx.GPT(config).forward_backward(part, part)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        go_on = False
        thread.join()


@pytest.mark.slow
def test_a_resume_from_an_older_checkpoint_says_why(data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {**FAST, "save_every": 2}
    msltx.train(new_model(data), data, out=run, max_steps=4, warmup_steps=1, **options)
    (run / "checkpoints" / "step_00000004" / "model.safetensors").unlink()
    with pytest.warns(UserWarning, match="going on from") as warned:
        rest = msltx.train(
            new_model(data), data, out=run, resume=True, max_steps=5, warmup_steps=1, **options
        )
    folder = run / "checkpoints" / "step_00000004"
    assert [str(w.message) for w in warned] == [
        f"{folder} lacks model.safetensors; going on from step_00000002"
    ]
    assert len(rest.losses) == 3
    assert (folder / "model.safetensors").exists()


@pytest.mark.slow
def test_a_model_of_an_older_checkpoint_says_why(data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {**FAST, "save_every": 2, "max_steps": 4, "warmup_steps": 1}
    msltx.train(new_model(data), data, out=run, **options)
    folder = run / "checkpoints" / "step_00000004"
    (folder / "config.json").unlink()
    with pytest.warns(UserWarning, match="lacks config.json; taking step_00000002") as warned:
        msltx.GPT.load(run)
    assert warned[0].filename == __file__
    shutil.rmtree(folder)  # `last` points nowhere
    with pytest.raises(msltx.FileError, match="holds a run already"):
        msltx.train(new_model(data), data, out=run, **options)
    with pytest.warns(UserWarning, match="going on from step_00000002"):
        rest = msltx.train(new_model(data), data, out=run, resume=True, **options)
    assert len(rest.losses) == 2


@pytest.mark.slow
def test_resume_is_exact_with_accumulation_evaluation_and_a_spoilt_log(
    data: Dataset, tmp_path: Path
) -> None:
    settings = {**FAST, "gradient_accumulation_steps": 3, "eval_every": 2, "batch_size": 3}
    whole, parts = new_model(data), new_model(data)
    msltx.train(whole, data, out=tmp_path / "whole", max_steps=9, warmup_steps=2, **settings)

    def stop_after_5(p: msltx.training.Progress) -> None:
        if p.step == 5:
            raise KeyboardInterrupt

    run = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        msltx.train(
            parts, data, out=run, max_steps=9, warmup_steps=2, on_step=stop_after_5, **settings
        )
    with (run / "log.csv").open("ab") as log:
        log.write(b"\0\0\n7,\xff\n6")
    resumed = new_model(data, seed=7)
    msltx.train(resumed, data, out=run, resume=True, max_steps=9, warmup_steps=2, **settings)
    assert same_values(whole, resumed)
    with (run / "log.csv").open(encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [2, 4, 6, 8, 9]


@pytest.mark.slow
def test_best_is_the_best_checkpoint_there_is(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 3.0, 0.5, 2.0, 0.7, 4.0])  # those after steps 2, 4 and 6 have a checkpoint
    monkeypatch.setattr(
        "msltx._trainer.evaluate", lambda *_, **__: Evaluation(next(losses), 1, None)
    )
    settings = {**FAST, "eval_every": 1, "save_every": 2}
    msltx.train(new_model(data), data, out=tmp_path / "run", max_steps=6, **settings)
    assert (tmp_path / "run" / "checkpoints" / "best").resolve().name == "step_00000004"


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (80, "loss tokens/s peak left"),
        (70, "loss tokens/s peak"),
        (55, "loss tokens/s"),
        (40, "loss"),
        (30, "loss"),
    ],
)
def test_the_bar_leaves_columns_out_where_the_terminal_is_narrow(
    width: int, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    with training_display(TrainingSettings(max_steps=1000), first_step=0) as show:
        show(Progress(7, 1000, 5.5, 1.0, 1e-3, 123_456.0, 0.97, 4000.0, None, False))
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).rstrip().splitlines()[-1]
    assert len(line) <= width
    assert "\u2026" not in line
    words = {
        "loss": "loss 5.500",
        "tokens/s": "123,456 tokens/s",
        "peak": "97 % of peak",
        "left": "1:06:40 left",
    }
    assert [name for name, text in words.items() if text in line] == columns.split()


def test_a_step_too_large_is_refused_before_memory_is_asked_for(data: Dataset) -> None:
    for changes, error, message in (
        ({"batch_size": 2**61}, msltx.InvalidValueError, "larger than the limit"),
        ({"gradient_accumulation_steps": 10**9}, msltx.MemoryLimitError, "batch 1,536.0 GB"),
        ({"batch_size": 10**9}, msltx.MemoryLimitError, "may be used"),
        ({"learning_rate": 1e39}, msltx.InvalidValueError, "finite in float32"),
    ):
        model = new_model(data)
        with pytest.raises(error, match=message):
            msltx.train(model, data, max_steps=1, **{**FAST, **changes})
        assert model.memory()["batch"] == 0  # nothing of it stays


@pytest.mark.slow
def test_the_command_line_goes_on_with_a_run_made_in_python(data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    msltx.train(new_model(data), data, out=run, max_steps=2, **FAST)
    command = [sys.executable, "-m", "msltx", "train", "--resume", "--out", str(run)]
    done = subprocess.run([*command, "--max-steps", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = load_settings(run / CONFIG_FILE, {})
    assert settings.training.max_steps == 4
    assert settings.training.learning_rate == FAST["learning_rate"]
    assert msltx.GPTConfig(**settings.model).to_dict() == new_model(data).config.to_dict()


def test_a_share_above_one_has_the_peak_measured_again(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([1.0, 1e15])  # operations/s: the first as on a machine that was busy
    monkeypatch.setattr(_core, "matrix_peak", lambda dtype: next(peaks))
    shares: list[float | None] = []
    changes = {**FAST, "progress": True, "max_steps": 3}
    msltx.train(new_model(data), data, on_step=lambda p: shares.append(p.peak_share), **changes)
    assert all(share is not None and 0 < share < 1 for share in shares)


def test_another_tokenizer_than_the_datasets_is_refused(data: Dataset) -> None:
    other = msltx.Tokenizer.train(texts=["some other text, other text"], vocab_size=300)
    for call in (msltx.train, evaluate):
        with pytest.raises(msltx.FileError, match="prepared with another tokenizer than the one"):
            call(new_model(data), data, tokenizer=other)


def test_divergence_says_which_weights_are_left(data: Dataset) -> None:
    def ruin(p: msltx.training.Progress) -> None:
        if p.step == 2:
            model.params["norm.bias"] = np.full_like(model.params["norm.bias"], np.nan)

    model = new_model(data)
    with pytest.raises(TrainingStopped, match="those after step 2, the last that was not skipped;"):
        msltx.train(model, data, max_steps=9, max_skipped_steps=3, on_step=ruin, **FAST)


def test_a_curve_is_numbered_by_its_steps() -> None:
    axis = loss_curve([3.0, 2.0] * 20, first_step=101).splitlines()[-1]
    assert axis.split() == ["101", "140", "steps"]
    assert len(axis) - len("  steps") == 10 + 40
    drawn = loss_curve([3.0, 2.0, 2.0, 2.0]).splitlines()
    assert drawn == [line.rstrip() for line in drawn]


def test_an_empty_name_is_no_folder(data: Dataset) -> None:
    model = new_model(data)
    with pytest.raises(ValueError, match='out is ""; it takes the name of a folder'):
        msltx.train(model, data, out="", max_steps=1, **FAST)
    with pytest.raises(ValueError, match='path is ""; it takes the name of a folder'):
        model.save("")
