"""What happens to gradients: zeroing, clipping by global norm, AdamW, Adam, SGD."""

from __future__ import annotations

import math

import numpy as np

from .result import Anything, Result, exact, float64


def zero(x: Anything) -> Result:
    """out = 0."""
    return exact(np.zeros(x.shape))


def global_norm(x: Anything) -> Result:
    """norm = sqrt(sum of x^2) over everything; x any shape -> norm []."""
    norm = np.asarray(np.sqrt((float64(x) ** 2).sum()))
    return Result(norm, norm)


def clip(
    x: Anything,
    norm: Anything,
    loss: Anything | None = None,
    *,
    max_norm: float = 1.0,
    skip_always: bool = False,
) -> tuple[Result, Result, Result]:
    """grad_scale = min(1, max_norm / norm), or 1 where max_norm is 0; out = grad_scale x.

    skip is 1 where the norm or any of the losses is not finite or skip_always is set, else 0;
    where it is 1, nobody reads the others and they may be anything.
    x [N], norm [], loss [M] -> out [N], grad_scale [], skip [].
    """
    x, length = float64(x), float(float64(norm))
    losses = np.zeros(1) if loss is None else float64(loss)
    skip = skip_always or not (math.isfinite(length) and bool(np.isfinite(losses).all()))
    clipped = not skip and max_norm > 0 and length > max_norm
    grad_scale = np.asarray(max_norm / length if clipped else 1.0)
    out = x * grad_scale
    return (
        Result(out, np.abs(out), np.asarray(skip)),
        Result(grad_scale, grad_scale, np.asarray(skip)),
        exact(np.asarray(float(skip))),
    )


def adamw(
    param: Anything,
    m: Anything,
    v: Anything,
    grad: Anything,
    grad_scale: Anything | None = None,
    skip: Anything | None = None,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    step: int = 1,
) -> tuple[Result, Result, Result]:
    """One step of AdamW (Loshchilov and Hutter 2019), decay decoupled; `step` counts from 1.

    m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, with g = grad_scale grad;
    m_hat = m / (1 - beta1^step), v_hat = v / (1 - beta2^step);
    param = (1 - lr weight_decay) param - lr m_hat / (sqrt(v_hat) + eps).
    Nothing changes where skip is not 0. All [N], the two scalars [] -> param, m, v.
    """
    param, m, v = float64(param), float64(m), float64(v)
    if skip is not None and float(float64(skip)) != 0:
        return exact(param), exact(m), exact(v)
    g = float64(grad) * (1.0 if grad_scale is None else float(float64(grad_scale)))

    new_m = beta1 * m + (1 - beta1) * g
    new_v = beta2 * v + (1 - beta2) * g**2
    rate = lr / (1 - beta1**step) / (np.sqrt(new_v / (1 - beta2**step)) + eps)
    kept = (1 - lr * weight_decay) * param

    m_size = beta1 * np.abs(m) + (1 - beta1) * np.abs(g)
    return (
        Result(kept - rate * new_m, np.abs(kept) + rate * m_size),
        Result(new_m, m_size),
        Result(new_v, new_v),
    )


def adam(
    param: Anything,
    m: Anything,
    v: Anything,
    grad: Anything,
    grad_scale: Anything | None = None,
    skip: Anything | None = None,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    step: int = 1,
) -> tuple[Result, Result, Result]:
    """One step of Adam (Kingma and Ba 2015), decay as a part of the gradient.

    As adamw with g = grad_scale grad + weight_decay param, and param not decayed besides.
    """
    if skip is not None and float(float64(skip)) != 0:
        return exact(float64(param)), exact(float64(m)), exact(float64(v))
    decay = weight_decay * float64(param)
    scaled = float64(grad) * (1.0 if grad_scale is None else float(float64(grad_scale)))
    g, g_size = scaled + decay, np.abs(scaled) + np.abs(decay)
    new_m = beta1 * float64(m) + (1 - beta1) * g
    new_v = beta2 * float64(v) + (1 - beta2) * g**2
    m_size = beta1 * np.abs(float64(m)) + (1 - beta1) * g_size
    # Where g is a small difference, so is its digits' worth in the second moment.
    v_size = beta2 * float64(v) + (1 - beta2) * g_size**2
    root = np.sqrt(new_v / (1 - beta2**step))
    rate = lr / (1 - beta1**step) / (root + eps)
    root_size = np.where(new_v > 0, v_size / np.maximum(new_v, 1e-300), 1.0)
    param = float64(param)
    return (
        Result(param - rate * new_m, np.abs(param) + rate * (m_size + np.abs(new_m) * root_size)),
        Result(new_m, m_size),
        Result(new_v, v_size),
    )


def sgd(
    param: Anything,
    grad: Anything,
    m: Anything | None = None,
    grad_scale: Anything | None = None,
    skip: Anything | None = None,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Result | tuple[Result, Result]:
    """One step of gradient descent with momentum (Polyak 1964), or Nesterov's (Sutskever 2013).

    g = grad_scale grad + weight_decay param; m = momentum m + g; param -= lr m, or with nesterov
    param -= lr (g + momentum m). Without m it is taken as zero and not given back.
    All [N], the two scalars [] -> param and, where given, m.
    """
    param = float64(param)
    velocity = np.zeros_like(param) if m is None else float64(m)
    if skip is not None and float(float64(skip)) != 0:
        return exact(param) if m is None else (exact(param), exact(velocity))
    scaled = float64(grad) * (1.0 if grad_scale is None else float(float64(grad_scale)))
    g, g_size = scaled + weight_decay * param, np.abs(scaled) + np.abs(weight_decay * param)
    new_m = momentum * velocity + g
    m_size = momentum * np.abs(velocity) + g_size
    change = g + momentum * new_m if nesterov else new_m
    change_size = g_size + momentum * m_size if nesterov else m_size
    new = Result(param - lr * change, np.abs(param) + lr * change_size)
    return new if m is None else (new, Result(new_m, m_size))
