"""What the machine can do at best, measured from Python."""

from __future__ import annotations

import pytest

import msltx


@pytest.mark.slow
def test_peaks_are_in_flops_and_bytes_per_second() -> None:
    assert 0 <= msltx.matrix_peak() < 1e14
    assert 5e8 < msltx.read_bandwidth() < 5e12


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(msltx.InvalidValueError, match="dtype is int8; it takes"):
        msltx.matrix_peak("int8")
