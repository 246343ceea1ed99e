"""Text generation: ``msltx.generate``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from msltx import _core
from msltx._arguments import DEFAULT_TEMPERATURE, MOST_COUNT, MOST_SEED, MOST_TOKEN, whole_number
from msltx._core import InvalidValueError
from msltx.model import GPT, token_array

if TYPE_CHECKING:
    from msltx.tokenizer import Tokenizer

__all__ = ["Generation", "Timings", "generate"]


@dataclasses.dataclass(frozen=True)
class Timings:
    """How fast a generation was."""

    prefill_tokens_per_s: float
    """Prompt tokens over the time to the first new token."""
    decode_tokens_per_s: float
    """New tokens after the first over their time; 0 where there are none."""


@dataclasses.dataclass(frozen=True)
class Generation:
    """What generate() gives."""

    text: str
    """The new text, the prompt left out; empty without a tokenizer."""
    tokens: npt.NDArray[np.int32]
    """The new tokens, shape (n,)."""
    finish_reason: str
    """max_tokens, stop (a stop token or text), or context (the context_length is full)."""
    timings: Timings


def _put_before_texts(tokenizer: Tokenizer) -> npt.NDArray[np.int32]:
    """Give the tokens that a text to be continued begins with, such as Llama's [BOS].

    They are those that the tokenizer puts before a text, where it puts none behind: who marks
    both ends means whole documents, as msltx's own tokenizers do, and a prompt is none.
    """
    alone, marked = (tokenizer.encode("a", add_special_tokens=mark) for mark in (False, True))
    before = len(marked) - len(alone)
    return marked[: before if np.array_equal(marked[before:], alone) else 0]


class _TextWatch:
    """Turns tokens into text as they come, and looks for texts to stop at."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: npt.NDArray[np.int32],
        stops: Sequence[str],
        on_text: Callable[[str], object] | None,
    ) -> None:
        self._decoder = tokenizer.stream_decoder()
        self._known = tokenizer.vocab_size
        for token in prompt.tolist():  # what follows a token may depend on it, such as a space
            if token < self._known:
                self._decoder.push(token)
        self._stops = [stop for stop in stops if stop]
        self._on_text = on_text
        self.text = ""
        self._shown = 0

    def push(self, token: int) -> bool:
        """Take a token in; False where a stop text has come up.

        A model may have more tokens than the tokenizer, to round its size up; they have no text.
        """
        if token < self._known:
            self.text += self._decoder.push(token)
        found = [at for stop in self._stops if (at := self.text.find(stop, self._shown)) >= 0]
        if found:
            self.text = self.text[: min(found)]
        self._show(len(self.text) if found else len(self.text) - self._held_back())
        return not found

    def finish(self) -> None:
        self.text += self._decoder.finish()
        self._show(len(self.text))

    def _held_back(self) -> int:
        """Characters at the end that may turn out to begin a stop text."""
        return max(
            (
                n
                for stop in self._stops
                for n in range(1, len(stop))
                if self.text.endswith(stop[:n])
            ),
            default=0,
        )

    def _show(self, end: int) -> None:
        if end > self._shown:
            if self._on_text is not None:
                self._on_text(self.text[self._shown : end])
            self._shown = end


def generate(
    model: GPT,
    tokenizer: Tokenizer | None,
    prompt: str | npt.ArrayLike,
    *,
    max_tokens: int = 128,
    temperature: float = DEFAULT_TEMPERATURE,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: str | int | Sequence[str | int] = (),
    on_text: Callable[[str], object] | None = None,
) -> Generation:
    """Continue a text.

    Parameters
    ----------
    model : GPT
    tokenizer : Tokenizer or None
        Needed for a prompt of text, for stop texts and for text in the result.
    prompt : str or array_like of int
        Text, or token ids of shape (T,), 1 <= T <= context_length. A text gets before it what the
        tokenizer puts there, such as Llama's [BOS], unless it marks the end of texts, too. An empty
        text begins with the tokenizer's [BOS] or [EOS], the mark between documents.
    max_tokens : int, default 128
        New tokens at most; fewer where the model's context_length is full.
    temperature : float, default 0.8
        Logits are divided by it, 1e-6 to 1e6; 0 means greedy: the most probable token always.
    top_k : int, optional
        Draw from the k most probable tokens only.
    top_p : float, optional
        Draw from the fewest most probable tokens whose probabilities reach p.
    seed : int, default 0
        Same model, prompt, options and seed: same tokens.
    stop : str, int, or sequence of them
        Texts and token ids that end the generation and are left out of it. The tokenizer's [EOS]
        always does.
    on_text : callable, optional
        Called with each further piece of text as it comes; never half a character.

    Returns
    -------
    Generation

    Raises
    ------
    InvalidValueError
        For an option out of its range, a prompt longer than the context, a token outside the
        vocabulary, or text without a tokenizer.
    """
    alone = isinstance(stop, str) or not isinstance(stop, Iterable)
    stops: list[str | int] = [stop] if alone else list(stop)  # type: ignore[list-item, arg-type]
    stop_texts = [s for s in stops if isinstance(s, str)]
    stop_tokens = [whole_number(s, "stop", 0, MOST_TOKEN) for s in stops if not isinstance(s, str)]
    if tokenizer is None and (isinstance(prompt, str) or stop_texts or on_text is not None):
        raise InvalidValueError(
            "text needs a tokenizer; without one, prompt and stop are token ids"
        )
    if isinstance(prompt, str):
        assert tokenizer is not None
        prompt = np.concatenate([_put_before_texts(tokenizer), tokenizer.encode(prompt)])
        beginning = tokenizer.bos_id if tokenizer.eos_id is None else tokenizer.eos_id
        if len(prompt) == 0 and beginning is not None:
            prompt = np.array([beginning], dtype=np.int32)
    if tokenizer is not None and tokenizer.eos_id is not None:
        stop_tokens.append(tokenizer.eos_id)
    ids = token_array(prompt, "the prompt")
    if len(ids) != 1 or ids.ndim != 2:
        raise InvalidValueError(
            f"the prompt has shape {np.shape(prompt)}; one sequence of tokens is expected"
        )
    watch = None if tokenizer is None else _TextWatch(tokenizer, ids[0], stop_texts, on_text)

    needs_watch = watch is not None and (stop_texts or on_text is not None)
    made = _core.generate_tokens(
        model._core,
        ids[0],
        max_tokens=whole_number(max_tokens, "max_tokens", 0, MOST_COUNT),
        temperature=temperature,
        top_k=0 if top_k is None else whole_number(top_k, "top_k", 0, MOST_COUNT),
        top_p=1.0 if top_p is None else top_p,
        seed=whole_number(seed, "seed", 0, MOST_SEED),
        stop_tokens=stop_tokens,
        on_token=watch.push if watch is not None and needs_watch else None,
    )
    tokens = made["tokens"]
    if watch is not None:
        if not needs_watch:
            for token in tokens.tolist():
                watch.push(token)
        if made["finish_reason"] != "callback":
            watch.finish()
    reason = made["finish_reason"]
    later = max(0, len(tokens) - 1)
    return Generation(
        text="" if watch is None else watch.text,
        tokens=tokens,
        finish_reason="stop" if reason in ("stop_token", "callback") else reason,
        timings=Timings(
            prefill_tokens_per_s=made["prompt_tokens"] / max(made["prefill_seconds"], 1e-9),
            decode_tokens_per_s=later / max(made["decode_seconds"], 1e-9) if later else 0.0,
        ),
    )
