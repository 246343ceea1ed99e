"""Checks of arguments, with errors that say name, value and limits."""

from __future__ import annotations

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


def check_folder(name: str, what: str) -> None:
    """Refuse an empty name, which a shell makes of a variable that is not set."""
    if not name:
        raise InvalidValueError(f'{what} is ""; it takes the name of a folder')
