"""docs/kernels.md: no kernel without an entry and no entry without a kernel; its examples run."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from msltx import _core, backends, kernels

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "script"))
from kernel_families import (  # type: ignore[import-not-found]  # noqa: E402
    families,
    operations,
    sizes,
    traffic,
    value_of,
)

PAGE = (ROOT / "docs" / "kernels.md").read_text("utf-8")
FAMILIES: list[dict[str, Any]] = families()
OPS = {op["name"]: (op, index) for index, op in enumerate(_core.ops())}
BACKENDS = [backend.name for backend in backends()]


def test_every_kernel_has_one_entry_and_every_entry_a_kernel() -> None:
    told = [name for family in FAMILIES for name in family["kernels"]]
    assert sorted(told) == sorted(OPS)
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == told
    composed = re.findall(r"^- `(\w+)`: ", PAGE.split("\n## Made of others\n")[1], re.MULTILINE)
    assert sorted([*told, *composed, *kernels.ALIASES]) == sorted(kernels.__all__)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family["name"])
def test_every_entry_is_whole(family: dict[str, Any]) -> None:
    for field in ("gradient", "elsewhere", "reference", "cpu", "scratch", "pitfall"):
        text = family[field]
        assert len(text) >= 4, field
        assert not text.endswith("."), field  # the page puts it
    called = set(re.findall(r"kernels\.(\w+)\(", family["example"]))
    for name in family["kernels"]:
        pair = re.sub(r"_(data|weights)$", "", name)
        assert {name, pair} & called, f"no example of {name}"


def run(name: str, text: str, backend: str) -> str:
    """Run the lines of an example on a backend; give what was not as it should be."""
    found = re.search(r"```python\n(>>> import.*?)\n```", PAGE, re.DOTALL)
    assert found
    test = doctest.DocTestParser().get_doctest(
        f"{found.group(1)}\n{text}", {}, name, "docs/kernels.md", 0
    )
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family["name"])
def test_examples_are_so(
    family: dict[str, Any], backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSLTX_BACKEND", backend)
    assert family["example"] in PAGE
    said = run(family["name"], family["example"], backend)
    assert not said, said


def test_a_wrong_example_is_seen() -> None:
    wrong = ">>> show(kernels.relu_forward(f([-1, 2])))\n[[0.0, 2.5]]\n"
    assert "Expected" in run("wrong", wrong, BACKENDS[-1])


@pytest.mark.parametrize("name", OPS)
def test_costs_are_those_of_the_engine(name: str) -> None:
    op, index = OPS[name]
    flops, moved = _core.op_cost(index, sizes())
    assert value_of(operations(op, index)) == pytest.approx(flops, rel=1e-12)
    assert value_of(traffic(op)) == moved
