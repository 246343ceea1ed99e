"""What comes of encoding text with everything that is known of its tokens."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["EncodedBatch", "Encoding", "TokenView"]


@dataclass(frozen=True, eq=False)
class Encoding:
    """A text as tokens, with everything that is known of them.

    Attributes
    ----------
    ids, type_ids : ndarray of int32, shape (tokens,)
    tokens : list of str
        As the file writes them; an added token as it stood in the text.
    offsets : ndarray of int32, shape (tokens, 2)
        Where each token begins and ends in the text, in characters; 0, 0 for what was added.
    words : ndarray of int32, shape (tokens,)
        Number of the piece that each token is a part of; -1 for what was added.
    special_tokens_mask, attention_mask : ndarray of uint8, shape (tokens,)
        1 for special tokens and padding that were added; 0 for padding.
    """

    ids: npt.NDArray[np.int32]
    type_ids: npt.NDArray[np.int32]
    tokens: list[str]
    offsets: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    special_tokens_mask: npt.NDArray[np.uint8]
    attention_mask: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def _of(cls, fields: dict[str, Any]) -> Encoding:
        return cls(**{name: fields[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Encodings of many texts; long texts may have several windows.

    Attributes
    ----------
    encodings : list of Encoding
        The windows of the first text, then those of the second, and so on.
    text_of : ndarray of int32, shape (windows,)
        The text that each window is of.
    """

    encodings: list[Encoding]
    text_of: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.encodings)

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Token ids, shape (windows, tokens); they must be padded to one length."""
        return self._stack("ids", np.int32)

    @property
    def attention_mask(self) -> npt.NDArray[np.uint8]:
        """0 for padding, else 1; shape (windows, tokens)."""
        return self._stack("attention_mask", np.uint8)

    @property
    def special_tokens_mask(self) -> npt.NDArray[np.uint8]:
        """1 for special tokens and padding that were added; shape (windows, tokens)."""
        return self._stack("special_tokens_mask", np.uint8)

    @property
    def offsets(self) -> npt.NDArray[np.int32]:
        """Places in the texts, in characters; shape (windows, tokens, 2)."""
        return self._stack("offsets", np.int32)

    def _stack(self, name: str, dtype: type[Any]) -> npt.NDArray[Any]:
        lengths = {len(encoding) for encoding in self.encodings}
        if len(lengths) > 1:
            raise ValueError(
                f"the encodings have {min(lengths)} to {max(lengths)} tokens; pad them to stack"
            )
        rows = [getattr(encoding, name) for encoding in self.encodings]
        return np.stack(rows) if rows else np.zeros((0, 0), dtype)


class TokenView:
    """The tokens of a text, one after the other: coloured in Jupyter, between bars as text."""

    # Light backgrounds that black text can be read on, one after the other.
    COLOURS = ("#cfe8ff", "#ffe3c2", "#d8f5d0", "#f7d4ea", "#fff3b0", "#e0d9f7")

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.text, self.encoding = text, encoding

    def __repr__(self) -> str:
        return "|".join(self.encoding.tokens)

    def _repr_html_(self) -> str:
        parts = []
        for i, token in enumerate(self.encoding.tokens):
            begin, end = self.encoding.offsets[i].tolist()
            style = f"background:{self.COLOURS[i % len(self.COLOURS)]};color:black"
            title = html.escape(f"{token} = {int(self.encoding.ids[i])}", quote=True)
            shown = html.escape(self.text[begin:end] or token)
            parts.append(f'<span style="{style}" title="{title}">{shown}</span>')
        return f'<pre style="white-space:pre-wrap">{"".join(parts)}</pre>'
