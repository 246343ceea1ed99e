"""What happens to gradients: zeroing, clipping by global norm, AdamW."""

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
