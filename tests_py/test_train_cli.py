"""msltx train, eval, generate and info, run as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TEXT = "\n\n".join(f"line {i} of a small text about numbers like {i * i}." for i in range(600))


def msltx(*arguments: str | Path, code: int = 0, **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "msltx", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "text.txt").write_text(TEXT, "utf-8")
    msltx("tokenizer", "train", path / "text.txt", "--vocab-size", "300", "--out", path / "tok")
    msltx("data", "prepare", path / "text.txt", "--tokenizer", path / "tok", "--out", path / "set")
    (path / "run.yaml").write_text(
        f"""
model: {{context_length: 32, embedding_dim: 32, num_layers: 2, num_heads: 2}}
data: {{path: {path / "set"}}}
training: {{batch_size: 4, learning_rate: 3e-3, max_steps: 12, eval_every: 6, save_every: 6}}
run: {{out: {path / "run"}}}
""",
        "utf-8",
    )
    return path


@pytest.mark.slow
def test_train_resume_eval_generate_info(folder: Path) -> None:
    out, errors = msltx("train", folder / "run.yaml")
    assert "validation loss" in out
    assert "steps" in out
    assert "step 12/12" in errors
    _, errors = msltx("train", folder / "run.yaml", code=1)
    assert errors.strip().endswith("give --resume, or another --out")
    _, errors = msltx("train", "--resume", "--out", folder / "run", "--max-steps", "15")
    assert "step 15/15" in errors
    assert "step 12/15" not in errors
    out, _ = msltx("eval", folder / "run", "--data", folder / "set")
    assert out.startswith("loss ")
    assert "bits per byte" in out
    greedy, _ = msltx(
        "generate", folder / "run", "--prompt", "line 7", "--max-tokens", "8", "--greedy"
    )
    again, _ = msltx(
        "generate", folder / "run", "--prompt", "line 7", "--max-tokens", "8", "--greedy"
    )
    assert greedy.startswith("line 7")
    assert greedy == again
    _, errors = msltx("generate", folder / "run", "--prompt", "line", "--timings")
    assert "tokens/s" in errors
    out, _ = msltx("info", folder / "run")
    assert "embedding_dim: 32" in out
    assert "tie_weights: true" in out
    assert "sliding_window: null" in out
    assert "\nstep: 15\nlast validation loss: " in out
    assert "best validation loss: " in out
    assert f"\ndata: {folder / 'set'}\n" in out
    out, _ = msltx("info", folder / "set")
    assert "train tokens" in out
    assert "train documents" in out
    assert "tokenizer: BPE, 300 tokens" in out
    assert "source: text.txt" in out
    out, _ = msltx("info", folder / "set" / "tokenizer.json")
    assert out.endswith("\nBPE, 300 tokens\n")
    out, _ = msltx("info", "--preset", "gpt2")
    assert out.startswith("124,439,808 parameters")
    assert "this version" not in out
    out, _ = msltx("info", "--preset", "mlx")
    assert out.startswith("177,169,152 parameters")
    assert "\ndropout: 0.1\n" in out
    assert "this version" not in out
    out, _ = msltx("info", "--kernels")
    assert "flash_attention_forward" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "training.batch_sise=2"], 2, "did you mean batch_size?"),
        (["--set", "model.num_heads=3"], 2, "num_heads"),
        (["--set", "model.n_embd=64"], 2, "embedding_dim"),
        (["--batch-size", "0"], 2, "training.batch_size is 0"),
        (["--data", "nowhere"], 1, "nowhere"),
        (["--set", "nonsense"], 2, "GROUP.NAME=VALUE"),
        (["--set", "model.context_length=-1"], 2, "context_length is -1"),
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str], code: int, message: str) -> None:
    out = folder / "other"
    _, errors = msltx("train", folder / "run.yaml", "--out", out, *arguments, code=code)
    assert message in errors
    assert not out.exists()


@pytest.mark.slow
def test_environment_stands_between_flag_and_file(folder: Path) -> None:
    _, errors = msltx("train", folder / "run.yaml", "--out", folder / "env", MSLTX_MAX_STEPS="3")
    assert "step 3/3" in errors
    _, errors = msltx(
        "train",
        folder / "run.yaml",
        "--out",
        folder / "flag",
        "--max-steps",
        "2",
        MSLTX_MAX_STEPS="3",
    )
    assert "step 2/2" in errors


@pytest.mark.slow
def test_diagnostic_mode_names_what_goes_bad(folder: Path) -> None:
    """The flag counts before the variable; a decay that is infinite in float32 spoils weights."""
    spoilt = ["--learning-rate", "1e38", "--set", "training.weight_decay=1e3"]
    spoilt += ["--set", "training.warmup_steps=0", "--max-steps", "2"]
    for flags, variable in ((["--diagnostic"], "0"), ([], "1")):
        out = folder / f"diagnostic_{variable}"
        _, errors = msltx(
            "train",
            folder / "run.yaml",
            "--out",
            out,
            *spoilt,
            *flags,
            code=1,
            MSLTX_DIAGNOSTIC=variable,
        )
        assert errors.splitlines()[-1].startswith("msltx: step 1, optimizer: adamw computes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["generate", "nowhere"], 1, "nowhere"),
        (["generate"], 2, "missing argument"),
        (["nothing"], 2, "no such command"),
        (["info", "--preset", "9000m"], 2, "9000m"),
        (["eval", "nowhere", "--data", "nowhere"], 1, "nowhere"),
        (["info", ".", "--preset", "1m"], 2, "give one"),
        (["info", ".", "--kernels"], 2, "give one"),
        (["generate", "x", "--greedy", "--temperature", "0.5"], 2, "exclude each other"),
    ],
)
def test_other_mistakes(arguments: list[str], code: int, message: str) -> None:
    _, errors = msltx(*arguments, code=code)
    assert message in errors


def test_a_config_that_is_no_yaml(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("training: [1, 2\nmodel: {", "utf-8")
    _, errors = msltx("train", path, code=1)
    assert "is not valid YAML" in errors
    path.write_text("trainin: {}", "utf-8")
    _, errors = msltx("train", path, code=2)
    assert "did you mean training?" in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--set", "training.betas=[1"], 2, "training.betas is [1, which is not valid YAML"),
        (["--set", "training.batch_size=99999999999999999999999"], 2, "training.batch_size is 9"),
        (["--set", "training.seed=99999999999999999999999"], 2, "training.seed is 9"),
        (["--batch-size", "1000000000"], 1, "may be used"),
        (["--threads", "99999999999"], 2, "run.threads is 99999999999"),
        (["--learning-rate", "1e39"], 2, "learning_rate is 1e+39"),
        (["--set", "model.preset=5"], 2, "model.preset is 5"),
        (["--preset", "1m", "--set", "model.name=3"], 2, "unknown field name"),
        (["--set", "model.norm_eps=.nan"], 2, "norm_eps is nan"),
        (["--resume"], 1, "holds no run to resume"),
        (["--set", "training.dtype=float16"], 2, "training.dtype is 'float16'; it takes"),
        (
            ["--set", "training.mixed_precision=1"],
            2,
            "mixed_precision is 1; it takes true or false",
        ),
        (
            ["--set", "training.warmup_steps=13"],
            2,
            "training.warmup_steps is 13; it takes 0 to max",
        ),
        (["--set", "training.min_learning_rate=1"], 2, "min_learning_rate is 1.0; it takes 0 to"),
        (["--set", "training.betas=[0.9, 1]"], 2, "2 numbers from 0 to less than 1"),
        (["--set", "training.schedule=stairs"], 2, "it takes constant, cosine or linear"),
        (["--set", "run.out="], 2, 'run.out is ""; it takes the name of a folder'),
    ],
)
def test_wrong_values_leave_nothing_behind(
    folder: Path, arguments: list[str], code: int, message: str
) -> None:
    out = folder / "refused"
    _, errors = msltx("train", folder / "run.yaml", "--out", out, *arguments, code=code)
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_refused_resume_keeps_the_run_as_it_was(folder: Path) -> None:
    run = folder / "kept"
    msltx("train", folder / "run.yaml", "--out", run, "--max-steps", "2")
    before = (run / "config.yaml").read_text()
    _, errors = msltx("train", "--resume", "--out", run, "--set", "model.num_layers=3", code=2)
    assert errors.splitlines()[-1] == (
        f"msltx: {run} holds a model of another configuration than the one to resume: "
        "num_layers is 2 there and 3 here"
    )
    assert (run / "config.yaml").read_text() == before
    msltx("train", "--resume", "--out", run, "--max-steps", "3")
    assert "max_steps: 3" in (run / "config.yaml").read_text()


@pytest.mark.slow
def test_environment_gives_text_as_it_stands_and_wrong_values_are_named(folder: Path) -> None:
    out = folder / "2024"
    msltx("train", folder / "run.yaml", MSLTX_OUT=str(out), MSLTX_SAMPLE_PROMPT="1e5: [")
    assert (out / "checkpoints" / "last").exists()
    _, errors = msltx(
        "train", folder / "run.yaml", "--out", folder / "no", code=2, MSLTX_MAX_STEPS="[1"
    )
    assert "MSLTX_MAX_STEPS is [1, which is not valid YAML" in errors
    _, errors = msltx("train", folder / "run.yaml", code=2, MSLTX_THREADS="many")
    assert "MSLTX_THREADS is many; it takes a whole number from 0 to 1024" in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {1: 2}", "model has a setting 1"),
        ("model:\ntraining:", "context_length is missing; --preset 4m gives a whole model"),
        ("run: {out: x}\nrun: {out: y}", "odd.yaml, line 2 has run twice"),
        ("training: {seed: 1,\n seed: 2}", "odd.yaml, line 2 has seed twice"),
    ],
)
def test_odd_yaml_is_one_sentence(folder: Path, text: str, message: str) -> None:
    (folder / "odd.yaml").write_text(text, "utf-8")
    _, errors = msltx(
        "train",
        folder / "odd.yaml",
        "--data",
        folder / "set",
        "--out",
        folder / "odd",
        code=1 if "twice" in message else 2,
    )
    assert message in errors


@pytest.mark.slow
def test_what_is_missing_is_said_with_its_flag(folder: Path) -> None:
    _, errors = msltx("train", code=2)
    assert errors == "msltx: data.path is missing; --data or a configuration file gives it\n"
    _, errors = msltx("train", "--data", folder / "set", code=2)
    assert errors == "msltx: run.out is missing; --out or a configuration file gives it\n"


@pytest.mark.slow
def test_a_second_training_into_a_folder_is_refused(folder: Path) -> None:
    run = folder / "two words"
    arguments = ["train", str(folder / "run.yaml"), "--out", str(run), "--max-steps", "1000000"]
    first = subprocess.Popen(
        [sys.executable, "-m", "msltx", *arguments], stderr=subprocess.PIPE, text=True
    )
    try:
        assert first.stderr is not None
        while not first.stderr.readline().startswith("step "):
            assert first.poll() is None
        while not (run / "checkpoints" / "last").exists():  # before, there is nothing to resume
            assert first.poll() is None
            time.sleep(0.05)
        _, errors = msltx("train", "--resume", "--out", run, code=1)
        assert "another training writes to" in errors
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 130
    assert "msltx: interrupted; saved as " in errors
    assert errors.count("interrupted") == 1
    assert f"msltx train --resume --out '{run}'\n" in errors


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_claim_a_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import msltx._trainer
    from msltx.cli import _run

    run = folder / "twice"
    command = ["train", str(folder / "run.yaml"), "--out", str(run)]
    assert _run([*command, "--max-steps", "1"]) == 0

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(msltx._trainer.Trainer, "evaluate", interrupted)
    monkeypatch.setattr(msltx._trainer.Trainer, "save", interrupted)
    capfd.readouterr()
    assert _run([*command, "--resume", "--max-steps", "7"]) == 130
    errors = capfd.readouterr().err
    assert f"interrupted; the last checkpoint is {run}/checkpoints/step_00000001\n" in errors


@pytest.mark.slow
def test_a_damaged_tokenizer_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    import msltx as package

    model = package.GPT(package.GPTConfig.preset("1m", vocab_size=300))
    model.save(tmp_path / "model", package.Tokenizer.load(folder / "tok"))
    file = tmp_path / "model" / "tokenizer.json"
    text = file.read_bytes()
    for damaged in (b"", text[:900], text[:900] + b"\xff" + text[901:]):
        file.write_bytes(damaged)
        _, errors = msltx("generate", tmp_path / "model", code=1)
        assert errors.startswith(f"msltx: {file} is not a JSON file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_to_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "msltx", "info"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "msltx: No space left on device\n"


@pytest.mark.slow
def test_generate_and_eval_refuse_in_one_sentence_and_print_nothing(folder: Path) -> None:
    run = folder / "small"
    msltx("train", folder / "run.yaml", "--out", run, "--max-steps", "1")
    for arguments, message in (
        (["generate", run, "--seed", "-1"], "seed is -1"),
        (["generate", run, "--max-tokens", "9" * 30], "max_tokens is 999"),
        (["generate", run, "--top-k", "9" * 30], "top_k is 999"),
        (["generate", run, "--temperature", "1e-60", "--prompt", "a"], "temperature is 1e-60"),
        (["generate", run, "--prompt", "line 12 " * 50], "context_length is 32"),
        (["eval", run, "--data", folder / "set", "--batch-size", "9" * 30], "batch_size is 999"),
        (["eval", run, "--data", folder / "set", "--max-tokens", "-4"], "max_tokens is -4"),
    ):
        out, errors = msltx(*arguments, code=2)
        assert message in errors
        assert not out
    out, errors = msltx("eval", run, "--data", folder / "set", "--batch-size", "1000000000", code=1)
    assert not out
    assert errors.startswith("msltx: a batch of 1000000000 x 32 tokens needs ")
    assert "batch 256.0 GB" in errors
    assert errors.endswith("may be used: take a smaller batch or shorter sequences\n")
    out, errors = msltx("generate", run, "--prompt", "line 7", "--max-tokens", "100", "--greedy")
    assert out.startswith("line 7")
    assert "new tokens: the model's context_length, 32 tokens, is full\n" in errors
    out, errors = msltx("generate", run, "--prompt", "line 7", "--max-tokens", "2", "--greedy")
    assert not errors
    done = subprocess.run(
        [sys.executable, "-m", "msltx", "generate", str(run), "--prompt", "-"],
        input=b"a\xff",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"invalid UTF-8 at byte 1 " in done.stderr


@pytest.mark.slow
def test_a_dataset_of_another_tokenizer_is_refused(folder: Path) -> None:
    text, other = folder / "other.txt", folder / "other"
    text.write_text(TEXT.replace("small", "quite large"), "utf-8")
    # As many tokens, so that the size of the vocabulary says nothing.
    msltx("tokenizer", "train", text, "--vocab-size", "300", "--out", folder / "other-tok")
    msltx("data", "prepare", text, "--tokenizer", folder / "other-tok", "--out", other)
    run = folder / "of-one-tokenizer"
    msltx("train", folder / "run.yaml", "--out", run, "--max-steps", "1")
    for command in (("eval", run), ("train", "--resume", "--out", run, "--max-steps", "2")):
        out, errors = msltx(*command, "--data", other, code=1)
        assert errors == f"msltx: {other} was prepared with another tokenizer than that of {run}\n"
        assert not out


@pytest.mark.slow
def test_resuming_says_what_it_lacks_and_what_has_changed(folder: Path, tmp_path: Path) -> None:
    _, errors = msltx("train", "--resume", code=2)
    assert "--resume needs --out, the folder of the run" in errors
    _, errors = msltx("train", "--resume", "--out", tmp_path, code=1)
    assert errors == f"msltx: {tmp_path} holds no run to resume\n"
    command = ("train", "--resume", "--out", tmp_path / "run")
    config = folder / "run.yaml"
    out, _ = msltx("train", config, "--out", tmp_path / "run", "--max-steps", "1")
    assert "over 1 step\n" in out
    assert "after 1 step\n" in out
    assert "┤" not in out  # too few steps for a curve
    _, errors = msltx(*command)
    assert "already at step 1 of 1; give a larger --max-steps" in errors
    _, errors = msltx(*command, "--max-steps", "2", "--learning-rate", "1", "--seed", "4")
    assert "not the same run any more: learning_rate 0.003 -> 1, seed 1 -> 4\n" in errors
    _, errors = msltx(*command, "--max-steps", "22")
    assert "not the same" not in errors


@pytest.mark.slow
def test_a_run_is_resumed_from_any_folder(folder: Path) -> None:
    run = folder / "anywhere"
    near = os.path.relpath(folder / "set")
    msltx("train", folder / "run.yaml", "--data", near, "--out", run, "--max-steps", "1")
    assert f"path: {folder / 'set'}\n" in (run / "config.yaml").read_text()


@pytest.mark.slow
def test_commands_say_that_an_older_checkpoint_is_read(folder: Path) -> None:
    run = folder / "older"
    msltx("train", folder / "run.yaml", "--out", run, "--max-steps", "1")
    msltx("train", "--resume", "--out", run, "--max-steps", "2")
    (run / "checkpoints" / "step_00000002" / "model.safetensors").unlink()
    for command in (("info", run), ("generate", run, "--max-tokens", "1")):
        _, errors = msltx(*command)
        lacks = f"{run / 'checkpoints' / 'step_00000002'} lacks model.safetensors"
        assert errors.splitlines().count(f"msltx: {lacks}; taking step_00000001") == 1


@pytest.mark.slow
def test_info_names_a_damaged_state(folder: Path) -> None:
    run = folder / "damaged"
    msltx("train", folder / "run.yaml", "--out", run, "--max-steps", "1")
    (run / "checkpoints" / "last" / "state.json").write_text("{", "utf-8")
    _, errors = msltx("info", run, code=1)
    assert "state.json is damaged" in errors


@pytest.mark.slow
def test_eval_refuses_a_model_that_is_not_finite(folder: Path, tmp_path: Path) -> None:
    import numpy as np

    from msltx import GPT, GPTConfig

    model = GPT(GPTConfig.preset("1m", vocab_size=300))
    model.params["norm.bias"] = np.full_like(model.params["norm.bias"], np.nan)
    model.save(tmp_path / "model")
    out, errors = msltx("eval", tmp_path / "model", "--data", folder / "set", code=1)
    assert "is nan: its weights are not finite" in errors
    assert not out


def test_the_configurations_that_come_along_take_few_steps() -> None:
    from msltx.settings import load_settings

    for path in (Path(__file__).parent.parent / "configs").glob("*.yaml"):
        load_settings(path, {"training": {"max_steps": 2}})
