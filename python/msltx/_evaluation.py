"""The loss of a model on a split of a dataset."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from msltx._arguments import MOST_COUNT, whole_number
from msltx._core import FileError
from msltx.data import Mixture
from msltx.model import GPT
from msltx.tokenizer import Tokenizer

if TYPE_CHECKING:
    from msltx.data import Dataset

MOST_SEQUENCES = 2**31  # of a batch


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Loss of a model on a split."""

    loss: float | None
    """Mean cross entropy of a token in nats; None where the split is empty."""
    tokens: int
    """Tokens that were predicted."""
    bits_per_byte: float | None
    """Loss in bits over the bytes of text that a token stands for on average."""

    @property
    def perplexity(self) -> float | None:
        """The exponential of the loss."""
        return None if self.loss is None else math.exp(min(self.loss, 700.0))


def check_tokenizer(data: Dataset | Mixture, tokenizer: Tokenizer | None, whose: str) -> None:
    """Refuse a dataset whose ids are not a tokenizer's, where the tokenizer is known.

    Raises
    ------
    FileError
        Naming the dataset and `whose` the tokenizer is.
    """
    if tokenizer is not None and tokenizer.to_json() != data.tokenizer.to_json():
        raise FileError(f"{data.path} was prepared with another tokenizer than {whose}")


def evaluate(
    model: GPT,
    data: Dataset | Mixture,
    *,
    split: str = "val",
    batch_size: int = 16,
    max_tokens: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Evaluation:
    """Give the mean loss over a split, its windows of context_length tokens in order.

    Parameters
    ----------
    model : GPT
    data : Dataset
    split : {"val", "train"}
    batch_size : int
        Windows at a time.
    max_tokens : int, optional
        Stop after the first so many tokens, in whole batches.
    tokenizer : Tokenizer, optional
        The model's, to make sure that the dataset was prepared with it.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    FileError
        For a dataset that was prepared with another tokenizer.
    MemoryLimitError
        For batches that do not fit in memory.
    """
    check_tokenizer(data, tokenizer, "the one given")
    length = model.config.context_length
    batch_size = whole_number(batch_size, "batch_size", 1, min(MOST_SEQUENCES, 2**40 // length))
    if max_tokens is not None:
        max_tokens = whole_number(max_tokens, "max_tokens", 1, MOST_COUNT)
    # Before the batches are made, so that those too large for memory are refused with advice.
    model._core.plan_evaluation(batch_size, length)
    total, counted = 0.0, 0
    for tokens, targets in data.windows(batch_size, length, split=split):
        total += model._core.evaluate_sum(tokens, targets, -1)
        counted += int(np.count_nonzero(targets != -1))
        if max_tokens is not None and counted >= max_tokens:
            break
    if counted == 0:
        return Evaluation(None, 0, None)
    loss = total / counted
    bytes_per_token = data.bytes_per_token(split)
    bits = loss / math.log(2) / bytes_per_token if bytes_per_token else None
    return Evaluation(loss, counted, bits)
