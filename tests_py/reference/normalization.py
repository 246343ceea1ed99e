"""LayerNorm, the residual sum, and both in one."""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Result, float64, rows


def layernorm_forward(
    x: Anything, gamma: Anything, beta: Anything | None = None, *, eps: float = 1e-5
) -> tuple[Result, Result, Result]:
    """out = (x - mean) rstd gamma + beta with rstd = 1 / sqrt(variance + eps), per row.

    x [N, C], gamma and beta [C] -> out [N, C], mean [N], rstd [N].
    """
    x, gamma = float64(x), float64(gamma)
    beta = np.zeros_like(gamma) if beta is None else float64(beta)
    mean = x.mean(-1)
    centred = x - mean[..., None]
    variance = (centred**2).mean(-1)
    rstd = 1 / np.sqrt(variance + eps)
    out = centred * rstd[..., None] * gamma + beta

    mean_size = np.abs(x).mean(-1)
    centred_size = np.abs(x) + mean_size[..., None]
    rstd_size = rstd * (1 + (np.abs(centred) * centred_size).mean(-1) * rstd**2)
    size = (centred_size * rstd[..., None] + np.abs(centred) * rstd_size[..., None]) * np.abs(gamma)
    return Result(out, size + np.abs(beta)), Result(mean, mean_size), Result(rstd, rstd_size)


def layernorm_backward(
    d_out: Anything,
    x: Anything,
    gamma: Anything,
    mean: Anything | None = None,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Result, Result, Result]:
    """Give d_x [N, C], d_gamma [C], d_beta [C].

    With n = (x - mean) rstd and g = d_out gamma: d_x = rstd (g - mean(g) - n mean(g n)),
    d_gamma = sum of d_out n, d_beta = sum of d_out over rows. A missing mean and rstd [N] are
    computed from x again.
    """
    d_out, x, gamma = float64(d_out), float64(x), float64(gamma)
    if mean is None or rstd is None:
        mean, rstd = (result.value for result in layernorm_forward(x, gamma, eps=eps)[1:])
    mean, rstd = float64(mean)[..., None], float64(rstd)[..., None]

    def averaged(a: Array) -> Array:
        return np.asarray(a.mean(-1, keepdims=True))

    normal = (x - mean) * rstd
    g = d_out * gamma
    d_x = rstd * (g - averaged(g) - normal * averaged(g * normal))

    normal_size = (np.abs(x) + np.abs(mean)) * rstd
    g_size = np.abs(g)
    size = rstd * (g_size + averaged(g_size) + normal_size * averaged(g_size * normal_size))
    return (
        Result(d_x, size),
        Result(rows(d_out * normal).sum(0), rows(np.abs(d_out) * normal_size).sum(0)),
        Result(rows(d_out).sum(0), rows(np.abs(d_out)).sum(0)),
    )


def residual_add_forward(x: Anything, residual: Anything) -> Result:
    """out = x + residual, any shape."""
    x, residual = float64(x), float64(residual)
    return Result(x + residual, np.abs(x) + np.abs(residual))


def residual_add_backward(d_out: Anything) -> tuple[Result, Result]:
    """d_x = d_residual = d_out."""
    d_out = float64(d_out)
    return Result(d_out, None), Result(d_out, None)


def residual_layernorm_forward(
    x: Anything,
    residual: Anything,
    gamma: Anything,
    beta: Anything | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Result, Result, Result, Result]:
    """sum = x + residual, out = LayerNorm(sum); -> out, sum [N, C], mean, rstd [N]."""
    added = residual_add_forward(x, residual)
    out, mean, rstd = layernorm_forward(added.value, gamma, beta, eps=eps)
    return out, added, mean, rstd


def residual_layernorm_backward(
    d_out: Anything,
    d_sum: Anything | None,
    sum: Anything,
    gamma: Anything,
    mean: Anything | None = None,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Result, Result, Result]:
    """d_x = d_sum + the LayerNorm's d_x, the gradient of x and of residual alike.

    d_sum [N, C] is what reaches the sum by its other path, None where there is none.
    """
    d_x, d_gamma, d_beta = layernorm_backward(d_out, sum, gamma, mean, rstd, eps=eps)
    if d_sum is not None:
        assert d_x.magnitude is not None
        d_sum = float64(d_sum)
        d_x = Result(d_sum + d_x.value, np.abs(d_sum) + d_x.magnitude)
    return d_x, d_gamma, d_beta
