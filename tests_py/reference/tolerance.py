"""How near a kernel must come to its float64 definition.

||out - ref|| <= tol x (||ref|| + ||magnitude||), for the whole array and for each row of it. Only
the rows are checked: where all of them are within, the whole is, by the triangle inequality.
"""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Result, float64

# About 16 roundings of float32 (2^-24 each), and 2.5 of bfloat16 (2^-8 each).
FLOAT32 = 1e-6
FLOAT32_LONG_SUMS = 1e-5  # sums of more than 4,096 terms
BFLOAT16 = 1e-2


def _norms(array: Array) -> Array:
    """Euclidean norm of every row; a scalar is one row."""
    return np.asarray(np.linalg.norm(np.atleast_1d(array), axis=-1))


def _describe(out: Anything, ref: Anything, magnitude: Array, row: tuple[int, ...]) -> str:
    """Name the worst element of a row."""
    difference = np.atleast_1d(np.abs(out - ref))[row]
    where = (*row, int(difference.argmax()))
    parts = (np.atleast_1d(array)[where] for array in (out, ref, magnitude))
    got, expected, size = parts
    return (
        f"worst element {list(where)}: got {got:.9g}, expected {expected:.9g} "
        f"(error {difference.max():.3g}, magnitude {size:.3g})"
    )


def assert_close(
    out: Anything,
    ref: Anything,
    magnitude: Array | None,
    tol: float,
    name: str,
    undecided: Anything | None = None,
) -> float:
    """Fail with the worst element unless `out` is within tolerance of `ref`.

    With magnitude None the two must be equal. Infinities must stand at the same places. Rows
    marked in `undecided` are left out. Gives the largest error of a row as a share of its limit.
    """
    assert out.shape == ref.shape, f"{name}: shape is {out.shape}, expected {ref.shape}"
    if undecided is not None:
        out, ref = out[~undecided], ref[~undecided]
        magnitude = None if magnitude is None else magnitude[~undecided]
    out, ref = float64(out), float64(ref)
    if out.size == 0:
        return 0.0
    if magnitude is None:
        unequal = np.argwhere(out != ref)
        if len(unequal):
            where = tuple(unequal[0])
            raise AssertionError(
                f"{name}: {len(unequal)} of {out.size} elements differ, the first at "
                f"{[int(i) for i in where]}: got {out[where]}, expected {ref[where]}"
            )
        return 0.0

    assert magnitude.shape == ref.shape, f"{name}: magnitude has shape {magnitude.shape}"
    finite = np.isfinite(ref)
    misplaced = np.argwhere((np.isfinite(out) != finite) | (~finite & (out != ref)))
    if len(misplaced):
        where = tuple(misplaced[0])
        raise AssertionError(
            f"{name}: {len(misplaced)} elements are not finite where they should be or the other "
            f"way round, the first at {[int(i) for i in where]}: got {out[where]}, "
            f"expected {ref[where]}"
        )
    out, ref = np.where(finite, out, 0), np.where(finite, ref, 0)

    # Below the smallest normal float32 there are no digits to compare.
    error = _norms(out - ref)
    limit = tol * (_norms(ref) + _norms(magnitude)) + np.finfo(np.float32).tiny
    ratio = error / limit
    row = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
    worst = f"row {list(row)}: " + _describe(out, ref, magnitude, row)
    assert ratio.max() <= 1, f"{name}: error is {ratio.max():.3g} times the limit in {worst}"
    return float(ratio.max())


def assert_result(out: Anything, result: Result, tol: float, name: str) -> float:
    """Compare with one output of a definition; give the largest error as a share of its limit."""
    return assert_close(out, result.value, result.magnitude, tol, name, result.undecided)
