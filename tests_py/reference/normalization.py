"""LayerNorm, the residual sum, and both in one."""

from __future__ import annotations

import numpy as np

from .result import Anything, Array, Result, float64, partial_sums, rows


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


def layernorm_backward_data(
    d_out: Anything,
    x: Anything,
    gamma: Anything,
    mean: Anything | None = None,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    partial_rows: int = 0,
) -> tuple[Result, Result, Result]:
    """With n = (x - mean) rstd and g = d_out gamma: d_x = rstd (g - mean(g) - n mean(g n)).

    Also sums of d_out n and of d_out over groups of rows. A missing mean and rstd [N] are computed
    from x again. d_out and x [N, C] -> d_x [N, C], d_gamma_partials [P, C], d_beta_partials [P, C].
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

    def summed(terms: Array, sizes: Array) -> Result:
        return Result(
            partial_sums(rows(terms), partial_rows), partial_sums(rows(sizes), partial_rows)
        )

    d_out_size = np.abs(d_out)
    return (
        Result(d_x, size),
        summed(d_out * normal, d_out_size * normal_size),
        summed(d_out, d_out_size),
    )


def layernorm_backward_weights(
    d_gamma_partials: Anything, d_beta_partials: Anything | None = None
) -> Result | tuple[Result, Result]:
    """Add up partial sums [P, C] -> d_gamma [C] and, where given, d_beta [C]."""

    def summed(sums: Anything) -> Result:
        return Result(float64(sums).sum(0), np.abs(float64(sums)).sum(0))

    d_gamma = summed(d_gamma_partials)
    return d_gamma if d_beta_partials is None else (d_gamma, summed(d_beta_partials))


def _of_all_rows(data: tuple[Result, Result, Result]) -> tuple[Result, Result, Result]:
    """Give d_x, d_gamma and d_beta from a backward for data with all rows in one group."""
    d_x, *sums = data
    d_gamma, d_beta = (
        Result(s.value[0], None if s.magnitude is None else s.magnitude[0]) for s in sums
    )
    return d_x, d_gamma, d_beta


def layernorm_backward(
    d_out: Anything,
    x: Anything,
    gamma: Anything,
    mean: Anything | None = None,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
) -> tuple[Result, Result, Result]:
    """Give d_x [N, C], d_gamma [C], d_beta [C]: both of the above, one after the other."""
    return _of_all_rows(layernorm_backward_data(d_out, x, gamma, mean, rstd, eps=eps))


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


def residual_layernorm_backward_data(
    d_out: Anything,
    d_sum: Anything | None,
    sum: Anything,
    gamma: Anything,
    mean: Anything | None = None,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    partial_rows: int = 0,
) -> tuple[Result, Result, Result]:
    """d_x = d_sum + the LayerNorm's d_x, the gradient of x and of residual alike.

    d_sum [N, C] is what reaches the sum by its other path, None where there is none.
    -> d_x [N, C], d_gamma_partials [P, C], d_beta_partials [P, C].
    """
    d_x, d_gamma, d_beta = layernorm_backward_data(
        d_out, sum, gamma, mean, rstd, eps=eps, partial_rows=partial_rows
    )
    if d_sum is not None:
        assert d_x.magnitude is not None
        d_sum = float64(d_sum)
        d_x = Result(d_sum + d_x.value, np.abs(d_sum) + d_x.magnitude)
    return d_x, d_gamma, d_beta


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
    """Give d_x [N, C], d_gamma [C], d_beta [C]: of the data, then summed over all rows."""
    return _of_all_rows(
        residual_layernorm_backward_data(d_out, d_sum, sum, gamma, mean, rstd, eps=eps)
    )
