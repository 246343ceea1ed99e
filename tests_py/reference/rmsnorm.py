"""RMSNorm, alone and with the residual sum before it."""

from __future__ import annotations

import numpy as np

from .normalization import residual_add_forward
from .result import Anything, Array, Result, float64, partial_sums, rows


def _weight(gamma: Anything, plus_one: bool) -> tuple[Array, Array]:
    """Give what a row is multiplied by, and its size as a sum."""
    gamma = float64(gamma)
    return gamma + plus_one, np.abs(gamma) + plus_one


def rmsnorm_forward(
    x: Anything, gamma: Anything, *, eps: float = 1e-5, plus_one: bool = False
) -> tuple[Result, Result]:
    """out = x rstd gamma with rstd = 1 / sqrt(mean(x^2) + eps), per row; or x rstd (1 + gamma).

    x [N, C], gamma [C] -> out [N, C], rstd [N].
    """
    x = float64(x)
    weight, weight_size = _weight(gamma, plus_one)
    rstd = 1 / np.sqrt((x**2).mean(-1) + eps)
    normal = x * rstd[..., None]
    return Result(normal * weight, np.abs(normal) * weight_size), Result(rstd, rstd)


def rmsnorm_backward_data(
    d_out: Anything,
    x: Anything,
    gamma: Anything,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
    partial_rows: int = 0,
) -> tuple[Result, Result]:
    """With n = x rstd and g = d_out gamma: d_x = rstd (g - n mean(g n)), and sums of d_out n.

    A missing rstd [N] is computed from x again. d_out and x [N, C] -> d_x [N, C],
    d_gamma_partials [P, C].
    """
    d_out, x = float64(d_out), float64(x)
    if rstd is None:
        rstd = rmsnorm_forward(x, gamma, eps=eps)[1].value
    weight, weight_size = _weight(gamma, plus_one)
    rstd = float64(rstd)[..., None]
    normal, g = x * rstd, d_out * weight
    d_x = rstd * (g - normal * (g * normal).mean(-1, keepdims=True))

    normal_size, g_size = np.abs(normal), np.abs(d_out) * weight_size
    size = rstd * (g_size + normal_size * (g_size * normal_size).mean(-1, keepdims=True))
    terms = d_out * normal
    sums = Result(
        partial_sums(rows(terms), partial_rows), partial_sums(rows(np.abs(terms)), partial_rows)
    )
    return Result(d_x, size), sums


def rmsnorm_backward_weights(d_gamma_partials: Anything) -> Result:
    """Add up partial sums [P, C] -> d_gamma [C]."""
    sums = float64(d_gamma_partials)
    return Result(sums.sum(0), np.abs(sums).sum(0))


def _of_all_rows(data: tuple[Result, Result]) -> tuple[Result, Result]:
    """Give d_x and d_gamma from a backward for data with all rows in one group."""
    d_x, sums = data
    assert sums.magnitude is not None
    return d_x, Result(sums.value[0], sums.magnitude[0])


def rmsnorm_backward(
    d_out: Anything,
    x: Anything,
    gamma: Anything,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
) -> tuple[Result, Result]:
    """Give d_x [N, C], d_gamma [C]: both of the above, one after the other."""
    return _of_all_rows(rmsnorm_backward_data(d_out, x, gamma, rstd, eps=eps, plus_one=plus_one))


def residual_rmsnorm_forward(
    x: Anything,
    residual: Anything,
    gamma: Anything,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
) -> tuple[Result, Result, Result]:
    """sum = x + residual, out = RMSNorm(sum); -> out, sum [N, C], rstd [N]."""
    added = residual_add_forward(x, residual)
    out, rstd = rmsnorm_forward(added.value, gamma, eps=eps, plus_one=plus_one)
    return out, added, rstd


def residual_rmsnorm_backward_data(
    d_out: Anything,
    d_sum: Anything | None,
    sum: Anything,
    gamma: Anything,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
    partial_rows: int = 0,
) -> tuple[Result, Result]:
    """d_x = d_sum + the RMSNorm's d_x, the gradient of x and of residual alike.

    d_sum [N, C] is what reaches the sum by its other path, None where there is none.
    -> d_x [N, C], d_gamma_partials [P, C].
    """
    d_x, sums = rmsnorm_backward_data(
        d_out, sum, gamma, rstd, eps=eps, plus_one=plus_one, partial_rows=partial_rows
    )
    if d_sum is not None:
        assert d_x.magnitude is not None
        d_sum = float64(d_sum)
        d_x = Result(d_sum + d_x.value, np.abs(d_sum) + d_x.magnitude)
    return d_x, sums


def residual_rmsnorm_backward(
    d_out: Anything,
    d_sum: Anything | None,
    sum: Anything,
    gamma: Anything,
    rstd: Anything | None = None,
    *,
    eps: float = 1e-5,
    plus_one: bool = False,
) -> tuple[Result, Result]:
    """Give d_x [N, C], d_gamma [C]: of the data, then summed over all rows."""
    return _of_all_rows(
        residual_rmsnorm_backward_data(d_out, d_sum, sum, gamma, rstd, eps=eps, plus_one=plus_one)
    )
