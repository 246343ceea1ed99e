#!/usr/bin/env python3
"""Write python/msltx/kernels.pyi and the generated part of docs/kernels.md.

Calls, formulas, arguments and costs come from the engine's ops, prose and examples from
docs/kernels/*.yaml. With --check, write nothing and fail where a file is not what would be
written. Needs msltx built.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from kernel_families import Family, families, operations, traffic

from msltx import _core, kernels
from msltx._composed_kernels import COMPOSED
from msltx._derived_kernels import input_text, output_text, signature_of
from msltx._op_types import Attribute, Field, Op, has_default, inputs_of, outputs_of

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "msltx" / "kernels.pyi"
DOCS = ROOT / "docs" / "kernels.md"
MARK = "<!-- Below this line script/generate_kernel_docs.py writes; above it, people do. -->"


def value_type(field: Field, is_output: bool) -> str:
    """Name the Python type of an array."""
    if field["dtype"] == "int32":
        return "Int32" if is_output else "Integers"
    return "Float32"


def attribute_type(attribute: Attribute) -> str:
    """Name the Python type of an attribute."""
    if attribute["choices"]:
        return f"Literal[{', '.join(map(repr, attribute['choices']))}]"
    return attribute["type"]


def stub_of(op: Op, conditions: dict[str, bool], is_overload: bool) -> str:
    """Write one signature; `conditions` says which of the op's conditions it stands for."""
    parts = []
    for position, field in enumerate(inputs_of(op)):
        kind = value_type(field, False)
        default = " = None" if has_default(op, position) else ""
        if field["name"] in conditions:
            if conditions[field["name"]]:
                default = ""
            else:
                kind = "None"
        elif field["optional"]:
            kind += " | None"
        parts.append(f"{field['name']}: {kind}{default}")
    # A parameter without a default cannot follow one with: from there on, they go by name.
    first_default = next((i for i, part in enumerate(parts) if part.endswith("= None")), len(parts))
    late = [part for part in parts[first_default:] if not part.endswith("= None")]
    parts = [part for part in parts if part not in late]
    parts += ["*", *late]
    for attribute in op["attributes"]:
        kind, default = attribute_type(attribute), f" = {attribute['default']!r}"
        if attribute["required"]:
            default = ""
        elif attribute["name"] in conditions:
            usual = repr(attribute["default"])
            if conditions[attribute["name"]]:
                others = [repr(c) for c in attribute["choices"] if repr(c) != usual]
                kind, default = f"Literal[{', '.join(others)}]", ""
            else:
                kind = f"Literal[{usual}]"
        parts.append(f"{attribute['name']}: {kind}{default}")
    produced = [
        value_type(field, True)
        for field in outputs_of(op)
        if not field["condition"] or conditions[field["condition"]]
    ]
    result = produced[0] if len(produced) == 1 else f"tuple[{', '.join(produced)}]"
    out = (
        produced[0]
        if len(produced) == 1
        else f"tuple[{', '.join(f'{kind} | None' for kind in produced)}]"
    )
    parts += [f"out: {out} | None = None", "backend: str | None = None"]
    decorator = "@overload\n" if is_overload else ""
    return f"{decorator}def {op['name']}({', '.join(parts)}) -> {result}: ...\n"


def stub() -> str:
    """Write kernels.pyi."""
    lines = [
        '"""Every kernel on NumPy arrays. Made by script/generate_kernel_docs.py."""\n',
        "\n",
        "from collections.abc import Sequence\n",
        "from typing import Any, Literal, TypeAlias, overload\n",
        "\n",
        "import numpy as np\n",
        "import numpy.typing as npt\n",
        "\n",
    ]
    lines += [
        f"from msltx._composed_kernels import {name} as {name}\n" for name in sorted(COMPOSED)
    ]
    lines += [
        "\n",
        "Float32: TypeAlias = npt.NDArray[np.float32]\n",
        "Int32: TypeAlias = npt.NDArray[np.int32]\n",
        "Integers: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[Any] | int\n",
        "\n",
        "ALIASES: dict[str, str]\n",
        "\n",
    ]
    for op in _core.ops():
        names = {field["condition"] for field in outputs_of(op)} - {""}
        if names:
            (name,) = names
            lines += [stub_of(op, {name: met}, True) for met in (False, True)]
        else:
            lines.append(stub_of(op, {}, False))
    lines.append("\n")
    lines += [f"{older} = {name}\n" for older, name in kernels.ALIASES.items()]
    formatted = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "format",
            "--config",
            ROOT / "pyproject.toml",
            "--stdin-filename",
            "kernels.pyi",
        ],
        input="".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return formatted.stdout


def cell(text: str) -> str:
    """Keep a bar from ending a table's cell."""
    return text.replace("|", "\\|")


def table_of(op: Op) -> Iterator[str]:
    """Write the table of an op's arguments and outputs."""
    yield "| | type | |\n| --- | --- | --- |\n"
    for field in inputs_of(op):
        kind, text = input_text(op, field)
        yield f"| {field['name']} | {kind} | {cell(text)} |\n"
    for attribute in op["attributes"]:
        kind = " or ".join(f'"{choice}"' for choice in attribute["choices"]) or attribute["type"]
        default = "required" if attribute["required"] else f"default {attribute['default']!r}"
        text = "; ".join(note for note in (attribute["doc"], attribute["range"]) if note)
        yield f"| {attribute['name']}= | {kind}, {default} | {cell(text)} |\n"
    for field in outputs_of(op):
        kind, text = output_text(op, field)
        text = "; ".join(note for note in (text, field["role"]) if note)
        yield f"| -> {field['name']} | {kind} | {cell(text)} |\n"


def entry_of(op: Op, index: int) -> Iterator[str]:
    """Write an op's own part: call, formula, arguments, cost."""
    yield f"\n### {op['name']}\n\n"
    yield f"`{op['name']}{signature_of(op)}`\n\n"
    yield f"    {op['summary']}\n\n"
    yield from table_of(op)
    count = operations(op, index)
    yield f"\n{count[0].upper()}{count[1:]} operations, {traffic(op)} bytes in float32.\n"


def family_of(family: Family) -> Iterator[str]:
    """Write what is said of a family in prose."""
    yield f"\n## {family['name']}\n\n"
    yield f"- Gradient: {family['gradient']}.\n"
    yield f"- Elsewhere: {family['elsewhere']}.\n"
    yield f"- reference: {family['reference']}.\n"
    yield f"- cpu: {family['cpu']}.\n"
    yield f"- Scratch: {family['scratch']}.\n"
    yield f"- Tested for: {family['pitfall']}.\n"
    yield f"\n```python\n{family['example']}```\n"


def reference() -> str:
    """Write what stands below the mark in docs/kernels.md."""
    ops = {op["name"]: (op, index) for index, op in enumerate(_core.ops())}
    lines = [MARK, "\n\n## Axes\n\n| letter | meaning |\n| --- | --- |\n"]
    lines += [f"| {letter} | {meaning} |\n" for letter, meaning in _core.axis_letters()]
    for family in families():
        lines += family_of(family)
        for name in family["kernels"]:
            lines += entry_of(*ops[name])
    lines.append("\n## Made of others\n\n")
    for name, function in sorted(COMPOSED.items()):
        first = (function.__doc__ or "").partition("\n")[0]
        lines.append(f"- `{name}`: {first}\n")
    lines.append("\n## Older names\n\n| older | now |\n| --- | --- |\n")
    lines += [f"| {older} | {name} |\n" for older, name in kernels.ALIASES.items()]
    return "".join(lines)


def document(current: str) -> str:
    """Give docs/kernels.md with its prose kept and the rest made anew."""
    prose, mark, _ = current.partition(MARK)
    if not mark:
        prose = prose.rstrip("\n") + "\n\n"
    return prose + reference()


def main() -> int:
    """Write or check both files; the exit code says whether they were as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    stale = []
    for path, make in ((STUB, lambda _: stub()), (DOCS, document)):
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = make(current)
        if current == wanted:
            continue
        stale.append(path.relative_to(ROOT))
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'is not up to date; run ' + sys.argv[0] if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
