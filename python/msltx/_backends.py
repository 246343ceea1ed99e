"""Which backends there are, and which op each has in which dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msltx import _core


@dataclass(frozen=True)
class Backend:
    """One way to compute.

    Attributes
    ----------
    name
        What ``backend=`` and MSLTX_BACKEND take.
    description
        What it is made of.
    is_default
        Whether it is used where none is named: MSLTX_BACKEND, or else the fastest.
    ops
        The compute types ("float32", "bfloat16") that it takes for each op; none where it lacks
        the op, which the reference then runs.
    widened
        The ops that it computes from float32 copies where tensors are bfloat16, and rounds what
        they give: right, but no faster than float32.
    """

    name: str
    description: str
    is_default: bool
    ops: Mapping[str, tuple[str, ...]]
    widened: frozenset[str]

    def supports(self, op: str, dtype: str = "float32") -> bool:
        """Tell whether the backend itself has an op for a compute type.

        Parameters
        ----------
        op
            A name such as "layernorm_forward".
        dtype
            "float32" or "bfloat16".

        Returns
        -------
        bool

        Raises
        ------
        msltx.InvalidValueError
            For a name that no op has.
        """
        if op not in self.ops:
            raise _core.InvalidValueError(f"there is no op {op!r}")
        return dtype in self.ops[op]


def backends() -> list[Backend]:
    """List the backends that this build has and this machine runs, the slowest first.

    Returns
    -------
    list of Backend

    Raises
    ------
    msltx.InvalidValueError
        Where MSLTX_BACKEND names none of them.
    """
    default = _core.default_backend()
    return [
        Backend(
            each["name"],
            each["description"],
            each["name"] == default,
            each["supports"],
            frozenset(each["widened"]),
        )
        for each in _core.backends()
    ]
