"""Cross entropy of the next token, alone and fused with the output projection."""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Integers, Result, float64, rows
from .softmax import logsumexp


def _one_hot(targets: Integers, vocab_size: int, counted: Anything) -> Array:
    one_hot = np.zeros((len(targets), vocab_size))
    one_hot[counted, targets[counted]] = 1
    return one_hot


def softmax_cross_entropy_forward(
    logits: Anything, targets: Integers, *, ignore_index: int = -1, normalizer: float = 0
) -> tuple[Result, Result]:
    """loss = sum of (lse - logits[target]) over counted rows / normalizer, lse = log(sum(exp)).

    logits [N, V], targets [N] -> loss [], lse [N]. Rows whose target is ignore_index do not count;
    normalizer 0 means their number. With none counted the loss is 0.
    """
    logits = float64(logits)
    lse = logsumexp(logits)
    highest = logits.max(-1)
    lse_size = np.abs(highest) + np.abs(lse - highest)

    counted = targets != ignore_index
    target_logits = np.take_along_axis(logits[counted], targets[counted][:, None], -1)[:, 0]
    divisor = normalizer or max(int(counted.sum()), 1)
    loss = (lse[counted] - target_logits).sum() / divisor
    size = (lse_size[counted] + np.abs(target_logits)).sum() / divisor
    return Result(np.asarray(loss), np.asarray(size)), Result(lse, lse_size)


def softmax_cross_entropy_backward(
    logits: Anything,
    targets: Integers,
    lse: Anything,
    *,
    ignore_index: int = -1,
    normalizer: float = 0,
) -> Result:
    """d_logits = (exp(logits - lse) - one_hot(target)) / normalizer, 0 in rows not counted."""
    logits, lse = float64(logits), float64(lse)[..., None]
    counted = targets != ignore_index
    divisor = normalizer or max(int(counted.sum()), 1)
    one_hot = _one_hot(targets, logits.shape[-1], counted)
    probs = np.exp(logits - lse) * counted[:, None]
    return Result((probs - one_hot) / divisor, (probs + one_hot) / divisor)


def linear_cross_entropy_forward(
    hidden: Anything,
    weight: Anything,
    targets: Integers,
    bias: Anything | None = None,
    *,
    ignore_index: int = -1,
    scale: float = 1.0,
    logit_softcap: float = 0.0,
) -> Result:
    """loss = scale x sum of the counted rows' cross entropies of logits = hidden weight^T + bias.

    With logit_softcap c, c tanh(logits / c) take their place.

    hidden [N, C], weight [V, C], targets [N], bias [V] -> loss [].
    """
    return linear_cross_entropy_forward_backward(
        hidden,
        weight,
        targets,
        bias,
        ignore_index=ignore_index,
        scale=scale,
        logit_softcap=logit_softcap,
    )[0]


def linear_cross_entropy_forward_backward(
    hidden: Anything,
    weight: Anything,
    targets: Integers,
    bias: Anything | None = None,
    *,
    ignore_index: int = -1,
    scale: float = 1.0,
    logit_softcap: float = 0.0,
) -> tuple[Result, ...]:
    """Give the loss, d_hidden [N, C], d_weight [V, C] and, where there is a bias, d_bias [V]."""
    shape, hidden, weight = hidden.shape, rows(float64(hidden)), float64(weight)
    targets = targets.reshape(-1)
    offset = np.zeros(len(weight)) if bias is None else float64(bias)
    logits = hidden @ weight.T + offset
    logits_size = np.abs(hidden) @ np.abs(weight.T) + np.abs(offset)
    slope, slope_size = np.asarray(1.0), np.asarray(1.0)
    if logit_softcap:
        tanh = np.tanh(logits / logit_softcap)
        logits = logit_softcap * tanh
        slope = 1 - tanh**2
        # A rounded logit moves the slope by at most that share of the cap.
        slope_size = (1 + tanh**2) * (1 + logits_size / logit_softcap)

    counted = targets != ignore_index
    lse = logsumexp(logits)[:, None]
    one_hot = _one_hot(targets, len(weight), counted)
    probs = np.exp(logits - lse) * counted[:, None]
    loss = scale * (counted[:, None] * lse - (one_hot * logits).sum(-1, keepdims=True)).sum()
    d_logits = scale * slope * (probs - one_hot)

    lse_size = np.abs(lse) + (probs * logits_size).sum(-1, keepdims=True)
    loss_size = counted[:, None] * lse_size + (one_hot * logits_size).sum(-1, keepdims=True)
    # A rounded logit moves its probability by that much of it: in a row of d_weight whose token is
    # improbable there is nothing else.
    size = abs(scale) * slope_size * (probs * (1 + logits_size) + one_hot)
    results = (
        Result(np.asarray(loss), np.asarray(abs(scale) * loss_size.sum())),
        Result((d_logits @ weight).reshape(shape), (size @ np.abs(weight)).reshape(shape)),
        Result(d_logits.T @ hidden, size.T @ np.abs(hidden)),
    )
    return results if bias is None else (*results, Result(d_logits.sum(0), size.sum(0)))
