"""msltx.plot: what is drawn is what was there; without matplotlib one sentence says so."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import msltx
from msltx.cli import _run

CONFIG = msltx.GPTConfig(
    vocab_size=31, context_length=12, embedding_dim=16, num_layers=2, num_heads=4
)
LOG = """step,loss,val_loss,grad_norm,learning_rate,tokens_per_s,peak_share,skipped
1,4.000000,,1.0,1e-3,10,,0
2,3.000000,3.500000,1.0,1e-3,10,,0
3,2.000000,,1.0,1e-3,10,,0
"""


@pytest.fixture
def matplotlib() -> Any:
    found = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    found.use("Agg")
    return found


@pytest.fixture
def model() -> msltx.GPT:
    return msltx.GPT(CONFIG, seed=1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").write_text(LOG, "utf-8")
    return tmp_path / "run"


def visible(figure: Any) -> list[Any]:
    return [axis for axis in figure.axes if axis.axison]


@pytest.mark.slow
def test_attention_maps(matplotlib: Any, model: msltx.GPT, tmp_path: Path) -> None:
    found = model.trace([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    figure = msltx.plot.attention(found, layer=1, sequence=1, tokens=list("abcde"))
    assert len(visible(figure)) == 4
    for head, axis in enumerate(figure.axes):
        (image,) = axis.get_images()
        expected = found["blocks.1.attn.probabilities"][1, head]
        np.testing.assert_array_equal(np.asarray(image.get_array()), expected)
        assert [label.get_text() for label in axis.get_xticklabels()] == list("abcde")
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000
    assert len(visible(msltx.plot.attention(found, heads=[2]))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 2}, r"layer is 2; the activations have no blocks\.2\.attn\.probabilities"),
        ({"sequence": 1}, "sequence is 1; it takes a whole number from 0 to 0"),
        ({"heads": [4]}, "heads is 4; it takes a whole number from 0 to 3"),
        ({"heads": []}, "heads is empty"),
        ({"tokens": ["a"]}, "tokens has 1 texts; the trace is of 3 tokens"),
    ],
)
def test_attention_refuses(model: msltx.GPT, options: dict[str, Any], message: str) -> None:
    with pytest.raises(msltx.InvalidValueError, match=message):
        msltx.plot.attention(model.trace([1, 2, 3]), **options)


@pytest.mark.slow
def test_histograms_count_every_value(matplotlib: Any, model: msltx.GPT) -> None:
    figure = msltx.plot.weights(model)
    assert len(visible(figure)) == len(model.params)
    for axis, values in zip(figure.axes, model.params.values(), strict=False):
        assert sum(bar.get_height() for bar in axis.patches) == values.size
    with pytest.raises(msltx.InvalidValueError, match="no gradients yet"):
        msltx.plot.gradients(model)
    model.forward_backward([1, 2, 3], [2, 3, 4])
    (axis,) = msltx.plot.gradients(model, names=["blocks.0.ff.in.bias"], bins=7).axes
    assert len(axis.patches) == 7
    assert axis.get_title() == "blocks.0.ff.in.bias"
    with pytest.raises(msltx.InvalidValueError, match="the model has no parameter norm;"):
        msltx.plot.weights(model, names=["norm"])


def test_values_that_are_not_finite_are_counted_apart(matplotlib: Any, model: msltx.GPT) -> None:
    model.params["norm.bias"] = np.array([np.nan, np.inf] * 8, np.float32)
    (axis,) = msltx.plot.weights(model, names=["norm.bias"]).axes
    assert axis.get_title() == "norm.bias\n16 not finite"


def test_losses_of_runs(matplotlib: Any, run: Path) -> None:
    (axis,) = msltx.plot.loss(run, run / "log.csv").axes
    steps, smooth, validation = axis.get_lines()[:3]
    assert steps.get_xydata().tolist() == [[1, 4], [2, 3], [3, 2]]
    assert smooth.get_xdata().tolist() == [1, 2, 3]
    assert validation.get_xydata().tolist() == [[2, 3.5]]
    assert len(axis.get_lines()) == 6
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts[:2] == [str(run), f"{run}, validation"]


def test_logs_that_are_none(matplotlib: Any, tmp_path: Path) -> None:
    with pytest.raises(msltx.FileError, match=r"cannot read .*log\.csv: No such file"):
        msltx.plot.loss(tmp_path)
    (tmp_path / "log.csv").write_text("step,loss\n1,many\n", "utf-8")
    with pytest.raises(msltx.FileError, match=r"log\.csv is not the log of a run"):
        msltx.plot.loss(tmp_path)
    (tmp_path / "log.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(msltx.FileError, match=r"log\.csv has no loss in it"):
        msltx.plot.loss(tmp_path)
    with pytest.raises(msltx.InvalidValueError, match="given no run"):
        msltx.plot.loss()


@pytest.mark.slow
def test_the_command(matplotlib: Any, run: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "loss.svg"
    assert _run(["plot", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert "<svg" in out.read_text("utf-8")
    assert _run(["plot", str(run), "--out", str(tmp_path / "loss.txt")]) == 2
    assert "it takes a file that ends in .png, .svg or .pdf" in capsys.readouterr().err
    assert _run(["plot", str(run), "--out", str(tmp_path / "none" / "loss.png")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.slow
def test_a_picture_that_fails_leaves_the_old_one(
    matplotlib: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Any, file: Any, **options: Any) -> None:
        if isinstance(file, Path):
            file.write_bytes(b"half")
        else:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    out = tmp_path / "loss.png"
    out.write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fails)
    assert _run(["plot", str(run), "--out", str(out)]) == 1
    assert out.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if "loss" in p.name] == ["loss.png"]


def test_without_matplotlib_one_sentence_says_what_to_install() -> None:
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.pyplot"] = None
import msltx
from msltx import plot
model = msltx.GPT(msltx.GPTConfig(vocab_size=5, context_length=4, embedding_dim=4, num_layers=1,
                                  num_heads=1))
try:
    msltx.plot.weights(model)
except msltx.Error as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "msltx.plot draws with matplotlib: pip install 'msltx[plot]'\n", run.stderr


def test_importing_msltx_imports_no_matplotlib() -> None:
    code = "import sys, msltx, msltx.plot; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_dollar_signs_and_underscores_are_text(tmp_path: Path, matplotlib: Any) -> None:
    log = "step,loss,val_loss\n1,2.5,\n2,2.25,2.5\n"
    for name in ("_run", "cost $_$ x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.csv").write_text(log)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.chdir(tmp_path)
        figure = msltx.plot.loss("_run", "cost $_$ x")
        figure.savefig(tmp_path / "loss.png")
        (axis,) = figure.axes
        legend = axis.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [
            "./_run",
            "./_run, validation",
            "cost $_$ x",
            "cost $_$ x, validation",
        ]
        maps = {"blocks.0.attn.probabilities": np.ones((1, 1, 2, 2), np.float32)}
        msltx.plot.attention(maps, tokens=["$_$", "$$"]).savefig(tmp_path / "map.png")
