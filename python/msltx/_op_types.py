"""What the engine says of its ops and backends, as types (msltx._core.ops and backends)."""

from __future__ import annotations

from typing import Literal, TypedDict


class Field(TypedDict):
    """A tensor of an op."""

    name: str
    role: Literal["reads", "writes", "updates", "accumulates"]
    axes: str
    dtype: Literal["compute", "wide", "chosen", "float32", "int32"]
    doc: str
    range: str
    optional: bool
    condition: str
    may_alias: str


class Attribute(TypedDict):
    """A number, a switch or a choice of an op; `default` is None where it is required."""

    name: str
    type: Literal["float", "int", "bool", "str"]
    doc: str
    range: str
    default: float | int | bool | str | None
    required: bool
    choices: list[str]


class Op(TypedDict):
    """An op: its fields in C++ order, outputs before inputs."""

    name: str
    summary: str
    fields: list[Field]
    attributes: list[Attribute]


class BackendDescription(TypedDict):
    """A backend, with the compute types in which it has each op.

    `widened` are the ops that it computes in float32 where their tensors are bfloat16.
    """

    name: str
    description: str
    supports: dict[str, tuple[str, ...]]
    widened: list[str]


def inputs_of(op: Op) -> list[Field]:
    """Give the fields that a caller passes, in order."""
    return [field for field in op["fields"] if field["role"] in ("reads", "updates")]


def outputs_of(op: Op) -> list[Field]:
    """Give the fields that a caller gets back, in order."""
    return [field for field in op["fields"] if field["role"] != "reads"]


def has_default(op: Op, position: int) -> bool:
    """Tell whether an input may be left out: it and all after it are optional."""
    return all(field["optional"] for field in inputs_of(op)[position:])


def condition_of(op: Op, field: Field) -> str:
    """Say when a field with a condition is there; empty where it has none."""
    name = field["condition"]
    if not name:
        return ""
    for attribute in op["attributes"]:
        if attribute["name"] == name:
            return f"where {name} is not {attribute['default']!r}"
    return f"where {name} is given"
