"""Checks of arguments, with errors that say name, value and limits."""

from __future__ import annotations

import numbers
import operator
from typing import Any

from msltx._core import InvalidValueError

MOST_COUNT = 2**62
MOST_SEED = 2**64 - 1
MOST_TOKEN = 2**31 - 1

DEFAULT_TEMPERATURE = 0.8


def whole_number(value: Any, name: str, least: int, most: int) -> int:
    """Give value as an int.

    Raises
    ------
    InvalidValueError
        For a bool, what is no integer of Python or NumPy, and what lies outside [least, most].
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        limits = f"of at least {least}" if most == MOST_COUNT else f"from {least} to {most}"
        raise InvalidValueError(f"{name} is {value!r}; it takes a whole number {limits}")
    return number


def number(value: Any, name: str) -> float:
    """Give value as a float.

    Raises
    ------
    InvalidValueError
        For a bool, and what is no real number of Python or NumPy.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidValueError(f"{name} is {value!r}; it takes a number")
    return float(value)


def check_type(value: Any, kind: type, name: str) -> None:
    """Raise TypeError where value is no `kind`, which a caller knows as msltx.<its name>."""
    if not isinstance(value, kind):
        shown = "None" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"{name} is {shown}; a msltx.{kind.__name__} is expected")


def check_folder(name: str, what: str) -> None:
    """Refuse an empty name, which a shell makes of a variable that is not set."""
    if not name:
        raise InvalidValueError(f'{what} is ""; it takes the name of a folder')
