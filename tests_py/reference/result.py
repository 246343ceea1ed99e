"""What a NumPy definition returns: values, and how far rounding may move them.

Axis letters, used in every definition: B batch, T length, S keys or cache slots, C embedding,
O outputs of a linear map, nh heads, nkv key/value heads, hs head size, V vocabulary,
N any leading dimensions, P = prod(N) rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Anything: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Result:
    """One output of a definition.

    Attributes
    ----------
    value
        The output in float64, or integers.
    magnitude
        Same shape: the sums that make `value`, taken over absolute values, with the rounding of
        intermediate results carried along to first order. Rounding errors are a small multiple of
        it, so a comparison allows tol x (||value|| + ||magnitude||). None where nothing is
        computed (copies, integers): the output must be equal.
    undecided
        Rows (shape without the last axis, or the shape of integers) in which rounding may decide
        the answer, such as a probability that reaches the limit exactly; they are not compared.
    """

    value: Anything
    magnitude: Array | None
    undecided: npt.NDArray[np.bool_] | None = None


Results: TypeAlias = "Result | tuple[Result, ...]"
Definable: TypeAlias = Callable[..., Results]


def exact(value: Anything) -> Result:
    """Give a result that must come out equal."""
    return Result(value, None)


def as_tuple(results: Results) -> tuple[Result, ...]:
    """Give a definition's results as a tuple, one output or many."""
    return (results,) if isinstance(results, Result) else results


def float64(array: npt.ArrayLike) -> Array:
    """Widen any float array, bfloat16 included."""
    return np.asarray(array).astype(np.float64)


def rows(array: Anything) -> Anything:
    """View an array [..., C] as [P, C]."""
    return array.reshape(-1, array.shape[-1])


def partial_sums(array: Array, partial_rows: int) -> Array:
    """Add up rows [P', C] in groups of partial_rows, the last one smaller; 0: all in one group."""
    step = partial_rows or len(array)
    return np.add.reduceat(array, np.arange(0, len(array), step), axis=0)
