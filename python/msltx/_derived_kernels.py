"""Python functions for the engine's ops: signature and docstring follow from each op's description.

Called by msltx.kernels, which is what users see.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from msltx import _core
from msltx._op_types import Field, Op, condition_of, has_default, inputs_of, outputs_of

Kernel = Callable[..., Any]

_WIDTH = 88


def signature_of(op: Op) -> inspect.Signature:
    """Give the signature: inputs in C++ order, then attributes, out and backend by name."""
    parameters = [
        inspect.Parameter(
            field["name"],
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None if has_default(op, position) else inspect.Parameter.empty,
        )
        for position, field in enumerate(inputs_of(op))
    ]
    keywords: dict[str, Any] = {
        attribute["name"]: inspect.Parameter.empty
        if attribute["required"]
        else attribute["default"]
        for attribute in op["attributes"]
    }
    keywords.update(out=None, backend=None)
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in keywords.items()
    ]
    return inspect.Signature(parameters)


def shape_text(axes: str) -> str:
    """Write "B nh T hs" as (B, nh, T, hs), and a single number as ()."""
    return "()" if axes == "1" else f"({', '.join(axes.split())})"


def axis_legend(op: Op) -> str:
    """Explain the axis letters that occur in an op's shapes."""
    used = set(re.split(r"[ *]", " ".join(field["axes"] for field in op["fields"])))
    meanings = [f"{letter} {text}" for letter, text in _core.axis_letters() if letter in used]
    return "; ".join(meanings)


def _type_text(field: Field) -> str:
    dtype = {
        "compute": "float32 or bfloat16",
        "wide": "float32 or the compute type",
        "chosen": "float32 or bfloat16",
        "float32": "float32",
        "int32": "integers",
    }[field["dtype"]]
    if field["role"] in ("writes", "accumulates") and field["dtype"] == "int32":
        dtype = "int32"
    return f"{dtype} {shape_text(field['axes'])}"


def input_text(op: Op, field: Field) -> tuple[str, str]:
    """Give an input's type, and what is to be said of it."""
    kind = _type_text(field) + (", optional" if field["optional"] else "")
    notes = [field["doc"], field["range"]]
    if field["condition"] and field["condition"] != field["name"]:
        notes.append(f"needed {condition_of(op, field)}")
    if field["role"] == "updates":
        notes.append("copied, unless out= is this same array")
    return kind, "; ".join(note for note in notes if note)


def output_text(op: Op, field: Field) -> tuple[str, str]:
    """Give an output's type, and what is to be said of it."""
    notes = [field["doc"]]
    if field["condition"]:
        notes.append(f"only {condition_of(op, field)}")
    if field["may_alias"]:
        notes.append(f"may be the memory of {field['may_alias']}")
    return _type_text(field), "; ".join(note for note in notes if note)


def _entry(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"{name} : {kind}"
    if text:
        yield textwrap.fill(
            text[0].upper() + text[1:] + ("" if text.endswith(".") else "."),
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
        )


def docstring_of(op: Op) -> str:
    """Write a NumPy-style docstring: formula, shapes, dtypes, attributes, errors."""
    lines = [textwrap.fill(op["summary"], _WIDTH), "", "Parameters", "----------"]
    for field in inputs_of(op):
        lines += _entry(field["name"], *input_text(op, field))
    for attribute in op["attributes"]:
        kind: str = attribute["type"]
        if attribute["choices"]:
            kind = "{" + ", ".join(map(repr, attribute["choices"])) + "}"
        if not attribute["required"]:
            kind += f", default {attribute['default']!r}"
        notes = [attribute["doc"], attribute["range"]]
        lines += _entry(attribute["name"], kind, "; ".join(note for note in notes if note))
    outputs = outputs_of(op)
    single = len(outputs) == 1
    lines += _entry(
        "out",
        "array, optional" if single else "tuple of arrays, optional",
        "where to write the output"
        if single
        else "where to write the outputs, in order; None in it stands for a new array",
    )
    names = ", ".join(repr(backend["name"]) for backend in reversed(_core.backends()))
    lines += _entry(
        "backend",
        f"{{{names}}}, optional",
        "MSLTX_BACKEND or the fastest by default",
    )
    lines += ["", "Returns", "-------"]
    for field in outputs:
        lines += _entry(field["name"], *output_text(op, field))
    lines += [
        "",
        "Raises",
        "------",
        "msltx.InvalidValueError",
        "    For a dtype, shape, memory layout or value that is not taken; arrays are used in",
        "    place and floats are never converted.",
        "",
        "Notes",
        "-----",
        textwrap.fill(f"Axes: {axis_legend(op)}.", _WIDTH),
    ]
    return "\n".join(lines)


def make_kernel(index: int, op: Op) -> Kernel:
    """Make the function that calls the op at this index."""
    call = _core.call_op

    def kernel(*inputs: Any, **named: Any) -> Any:
        return call(index, inputs, named)

    kernel.__name__ = kernel.__qualname__ = op["name"]
    kernel.__module__ = "msltx.kernels"
    kernel.__doc__ = docstring_of(op)
    kernel.__signature__ = signature_of(op)  # type: ignore[attr-defined]
    return kernel


DERIVED: dict[str, Kernel] = {
    op["name"]: make_kernel(index, op) for index, op in enumerate(_core.ops())
}
