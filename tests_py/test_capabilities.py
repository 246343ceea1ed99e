"""``msltx info --settings``: what models run, told from what they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from msltx import GPT, GPTConfig
from msltx.cli import _run
from msltx.cli._capabilities import _BESIDE, _SMALL, capabilities

ROWS = list(capabilities())
SIZES = {"vocab_size", "context_length", "embedding_dim", "num_layers", "num_heads"}


def test_every_field_of_a_configuration_is_there() -> None:
    fields = {name for name, *_ in GPTConfig.describe() if "." not in name}
    assert fields - SIZES - {"rope_scaling"} == {name for name, *_ in ROWS} - {"rope_scaling.kind"}


@pytest.mark.parametrize(("name", "value", "reason"), ROWS, ids=[f"{n}={v}" for n, v, _ in ROWS])
def test_what_is_said_to_run_trains(name: str, value: Any, reason: str) -> None:
    fields: dict[str, Any] = {name: value, **_BESIDE.get(name, {})}
    if name == "rope_scaling.kind":
        fields = {"rope_scaling": {"kind": value, "factor": 2.0}, "positions": "rope"}
    assert reason == ""
    model = GPT(GPTConfig(**_SMALL, **fields))
    assert np.isfinite(model.forward_backward([1, 2, 3], [2, 3, 4], dropout_seed=1))


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["info", "--settings"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "setting value runs" in lines
    assert "norm_placement sandwich yes" in lines
    assert lines[-1].startswith("with dtype bfloat16, ")
    assert "computes in float32 from copies: " in lines[-1]
    assert " attention_scores_forward, " in lines[-1]
    assert _run(["info", ".", "--settings"]) == 2


def test_the_table_of_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["info", "--kernels"]) == 0
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    (transpose,) = (line[1:] for line in lines if line[:1] == ["transpose"])
    (adamw,) = (line[1:] for line in lines if line[:1] == ["adamw"])
    assert transpose == ["yes", "widened"] * (len(transpose) // 2)
    assert adamw == ["yes", "-"] * (len(adamw) // 2)
    assert text.endswith("\nwidened: computed in float32 from copies, then rounded\n")
