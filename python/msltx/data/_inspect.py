"""What text is made of, and what a cleaning would change in it."""

from __future__ import annotations

import dataclasses

from msltx import _core
from msltx.data._sources import Sources, engine_sources, read_options, text_files
from msltx.tokenizer import ProgressFunction

__all__ = ["CATEGORY_GROUPS", "CleaningStep", "TextReport", "inspect"]

#: First letter of a general category -> what such characters are.
CATEGORY_GROUPS = {
    "L": "letters",
    "M": "marks",
    "N": "numbers",
    "P": "punctuation",
    "S": "symbols",
    "Z": "separators",
    "C": "control and others",
}


@dataclasses.dataclass(frozen=True)
class CleaningStep:
    """What one step of a cleaning would do to text that the steps before it have cleaned."""

    name: str
    """As prepare() calls it."""
    documents: int
    """Documents changed."""
    lines: int
    """Lines changed."""
    removed: int
    """Characters gone, or become others."""
    added: int
    """Characters that came in their place."""
    examples: list[tuple[str, str]]
    """Stretches of lines before and after."""


@dataclasses.dataclass(frozen=True)
class TextReport:
    """What inspect() found."""

    documents: int
    """A document of more than 64 KiB counts once per part."""
    bytes: int
    """Of text, as UTF-8."""
    characters: int
    categories: dict[str, int]
    """Characters by general category of Unicode 16.0: {"Lu": 120, "Zs": 300, ...}."""
    counts: dict[str, int]
    """Every character of the text and how often it occurs, by code point."""
    steps: list[CleaningStep]
    """The steps of the cleaning, in the order in which they are applied."""
    replaced: int
    """Broken pieces of UTF-8 read as U+FFFD."""
    skipped: int
    """Documents left out because they are not UTF-8."""

    @property
    def groups(self) -> dict[str, int]:
        """Characters by the first letter of their category, in words; only those that occur."""
        return {
            words: count
            for letter, words in CATEGORY_GROUPS.items()
            if (count := sum(n for name, n in self.categories.items() if name[0] == letter))
        }


def inspect(
    sources: Sources,
    *,
    documents: str = "blank_line",
    separator: str | None = None,
    field: str = "text",
    remove_control: bool = False,
    normalize_unicode: str = "none",
    strip_accents: bool = False,
    lowercase: bool = False,
    remove_punctuation: bool = False,
    normalize_whitespace: bool = False,
    invalid_utf8: str = "refuse",
    sample_bytes: int = 0,
    examples: int = 5,
    progress: ProgressFunction | None = None,
) -> TextReport:
    """Count the characters of text by kind, and say what a cleaning would change.

    Parameters
    ----------
    sources, documents, separator, field, invalid_utf8
        As prepare() takes them, and so are the cleaning steps.
    sample_bytes : int
        Stop after so many bytes of text; 0: read everything.
    examples : int
        Of each step, at most so many.
    progress : callable, optional
        Called with ("inspect", bytes done, bytes in all).

    Returns
    -------
    TextReport

    Raises
    ------
    ValueError
        An option out of range.
    FileError
        A file that cannot be read, or bytes that are not UTF-8.
    """
    if sample_bytes < 0 or examples < 0:
        name, value = ("examples", examples) if examples < 0 else ("sample_bytes", sample_bytes)
        raise _core.InvalidValueError(f"{name} is {value}; it takes at least 0")
    found = _core.inspect_text(
        engine_sources(text_files(sources), field),
        reading=read_options(documents, separator, field, invalid_utf8),
        cleaning=_core.Cleaning(
            remove_control=remove_control,
            normalize_unicode=normalize_unicode,
            strip_accents=strip_accents,
            lowercase=lowercase,
            remove_punctuation=remove_punctuation,
            normalize_whitespace=normalize_whitespace,
        ),
        most_bytes=sample_bytes,
        examples=examples,
        progress=progress,
    )
    steps = [CleaningStep(**step) for step in found.pop("steps")]
    return TextReport(steps=steps, **found)
