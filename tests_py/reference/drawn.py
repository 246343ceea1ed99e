"""Shapes for every kernel, drawn by hypothesis: the same ones in every run.

A case has the options of one of the definition's own cases and sizes drawn anew: small ones, and
ones around the widths of vectors and tiles.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .registry import DEFINITIONS, Case

SHAPES = 20  # of each kernel at least
_TRIES = 60

_small = st.integers(1, 9)
_size = st.one_of(
    st.integers(1, 70), st.sampled_from([1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129])
)
_rows = st.one_of(
    st.tuples(_size),
    st.tuples(_small, _small),
    st.tuples(st.integers(1, 4), _small, _small),
)
_SIZES: dict[str, st.SearchStrategy[Any]] = {
    "B": st.integers(1, 4),
    "T": _size,
    "S": _size,
    "C": st.one_of(_size, st.sampled_from([255, 257, 1023, 1025])),
    "O": _size,
    "V": st.one_of(_size, st.sampled_from([255, 257, 1031])),
    "M": st.integers(0, 70),
    "R": st.integers(2, 64),
    "nkv": st.integers(1, 3),
    "nh": st.integers(1, 6),
    "hs": _size,
    "size": st.one_of(st.integers(1, 300), st.sampled_from([1023, 1024, 1025, 4095, 4097])),
}


@st.composite
def _case(draw: st.DrawFn, name: str) -> Case:
    base = draw(st.sampled_from(DEFINITIONS[name].cases))
    case = dict(base)
    for letter in base:
        if letter == "N":
            case["N"] = draw(_rows if isinstance(base["N"], tuple) else _size)
        elif letter in _SIZES:
            case[letter] = draw(_SIZES[letter])
    if "nkv" in base:
        case["nh"] = case["nkv"] * draw(st.integers(1, 3))
    if "partial_rows" in base:
        case["partial_rows"] = draw(st.integers(0, 10))
    if name.startswith(("rope", "positional", "kv_cache", "attention_inference")):
        # Queries are places of a table or cache, behind an offset where there is one.
        case["S"] = case["T"] + base.get("offset", 0) + draw(st.integers(0, 70))
    if name.startswith("rope"):
        case["hs"] = 2 * draw(st.integers(1, 65))
    return case


@functools.cache
def drawn_cases(name: str) -> tuple[Case, ...]:
    """Give at least SHAPES different cases of a kernel, fewer where there are no more."""
    cases: list[Case] = []

    @settings(
        max_examples=_TRIES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_case(name))
    def collect(case: Case) -> None:
        if case not in cases and volume(case) <= _MOST:
            cases.append(case)

    collect()
    return tuple(cases[:SHAPES])


_MOST = 400_000  # numbers in the largest array of a case, so that NumPy takes milliseconds


def volume(case: Case) -> int:
    """Count the numbers in the largest array of a case, or more."""
    n = case.get("N", 1)
    rows = math.prod(n) if isinstance(n, tuple) else n
    heads = case.get("B", 1) * case.get("nh", 1)
    attention = heads * case.get("T", 1) * max(case.get("S", 1), case.get("hs", 1))
    wide = max(case.get("C", 1), case.get("O", 1), case.get("V", 1), case.get("M", 1))
    return max(rows * wide, attention, case.get("B", 1) * case.get("T", 1) * wide)
