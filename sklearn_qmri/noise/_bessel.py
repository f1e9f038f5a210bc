"""The modified Bessel functions of magnitude likelihoods, fast and stable."""

import math
from functools import cache

import numpy as np
import torch
from scipy import special

_CENTER = 4.0  # z at t = 1/2 for order 0
_KNOTS = 2048
_TINY = 1e-280  # below, a Bessel function is taken from its power series


def log_bessel(z, order=0):
    """Logarithm of ``exp(-z) * I_k(z) / (z / 2)^k * k!``, and its first two derivatives, z >= 0.

    For the order k = 0 that is ``log(exp(-z) * I0(z))``. The first derivative is
    ``I_{k+1}(z) / I_k(z) - 1``, with a small relative error also where it is small. All three come
    from one cubic interpolation of the value less ``(k + 1/2) * log(t)`` over ``t = c / (c + z)``,
    which is smooth on all of [0, 1]. That is 8 times faster than ``torch.special.i0e``.

    Parameters
    ----------
    z : tensor
    order : int, default=0
        Order k of the function.

    Returns
    -------
    value, slope, bend : tensor
        For order 0: absolute error of the value under 1e-11, relative error of the slope under 1e-8
        and of the second derivative under 1e-5 (float64).
    """
    center, power = _center(order), order + 0.5
    table = _bessel_table(order, z.dtype, z.device)
    t = center / (z + center)
    position = t * _KNOTS
    # Clamped, because t = 1 (z = 0) is the end of the last row, and NaN needs some row too.
    row = position.detach().to(torch.int32).clamp_(0, _KNOTS - 1)
    h = position - row
    # Coefficients d0 to d3 are the derivatives at the knot, per knot spacing.
    flat = row.reshape(-1)
    d0, d1, d2, d3 = (torch.index_select(d, 0, flat).view(z.shape) for d in table)
    # Taylor's formula around the knot: f'' = d2 + h d3, f' = d1 + h (d2 + f'') / 2 and
    # f = d0 + h (d1 + h (d2 + f'' / 2) / 3), which is d0 + h d1 + h^2 d2 / 2 + h^3 d3 / 6.
    by_tt = torch.addcmul(d2, h, d3)
    by_t = torch.addcmul(d1, h, d2 + by_tt, value=0.5)
    value = torch.addcmul(d1, h, torch.add(d2, by_tt, alpha=0.5), value=1 / 3)
    value = torch.add(torch.addcmul(d0, h, value), torch.log(t), alpha=power)
    # Chain rule with p = k + 1/2, dt/dz = -t^2 / c and, as knots are 1 / K apart, F' = K f' and
    # F'' = K^2 f'': d/dz (F + p log(t)) = -t p / c - t^2 F' / c, and its derivative is
    #   t^2 / c^2 * (p + 2 t F' + t^2 F'').
    scaled = t * by_t
    slope = torch.addcmul((-power / center) * t, t, scaled, value=-_KNOTS / center)
    square = t * t
    bend = torch.addcmul((2 * _KNOTS) * scaled + power, square, by_tt, value=float(_KNOTS**2))
    return value, slope, bend * square * center**-2


def log_scaled_bessel(order, z):
    """``log(exp(-z) * I_k(z))`` and ``I_{k+1}(z) / I_k(z)`` for arrays z > 0.

    Where high orders are too small for double precision, their power series is
    ``I_k(z) = (z / 2)^k / k! * (1 + q / (k + 1) + q^2 / (2 (k + 1) (k + 2)) + ...)``, q = z^2 / 4.
    """
    scaled, above = special.ive(order, z), special.ive(order + 1, z)
    tiny = scaled < _TINY
    scaled, above = np.where(tiny, 1.0, scaled), np.where(tiny, 1.0, above)
    q, k = z * z / 4, order + 1
    series = order * np.log(z / 2) - special.gammaln(k) - z
    series += np.log1p(q / k + q * q / (2 * k * (k + 1)))
    small = z / (2 * k) * (1 + q / (k + 1)) / (1 + q / k)
    return np.where(tiny, series, np.log(scaled)), np.where(tiny, small, above / scaled)


def _center(order):
    """The z at t = 1/2: functions of higher order take longer to reach their asymptotic form."""
    return _CENTER + order * (2 + 0.25 * order)


@cache
def _bessel_table(order, dtype, device):
    """Value and derivatives at the knots of the Hermite cubics of `log_bessel`."""
    center, power = _center(order), order + 0.5
    t = np.arange(1, _KNOTS) / _KNOTS
    z = center * (1 - t) / t
    log_scaled, ratio = log_scaled_bessel(order, z)
    log_factorial = special.gammaln(order + 1)
    value = log_scaled - order * np.log(z / 2) + log_factorial - power * np.log(t)
    # The slope I_{k+1} / I_k - 1 by z, times dz/dt = -c / t^2, less that of p log(t).
    slope = (1 - ratio) * center / t**2 - power / t
    # At t = 0 (infinite z) the asymptotic series of I_k, DLMF 10.40.1, gives the value
    #   -log(2 pi z) / 2 - k log(z / 2) + log(k!) - (4 k^2 - 1) / (8 z) + ...,
    # with z = c (1 - t) / t. So F = log(k!) + k log(2) - log(2 pi) / 2 - p log(c) there and, as
    # -p log(1 - t) = p t + ..., F' = p - (4 k^2 - 1) / (8 c). At t = 1 (z = 0) the value is 0 and
    # its slope by z is -1.
    first = log_factorial + order * math.log(2) - math.log(2 * math.pi) / 2
    value = np.concatenate([[first - power * math.log(center)], value, [0.0]])
    first = power - (4 * order**2 - 1) / (8 * center)
    slope = np.concatenate([[first], slope, [center - power]]) / _KNOTS
    # Cubic on [0, 1] with these values and slopes at both ends: v + s h + c2 h^2 + c3 h^3.
    rise = np.diff(value)
    c2 = 3 * rise - 2 * slope[:-1] - slope[1:]
    c3 = slope[:-1] + slope[1:] - 2 * rise
    coefficients = np.stack([value[:-1], slope[:-1], 2 * c2, 6 * c3])
    return torch.tensor(coefficients, dtype=dtype, device=device)
