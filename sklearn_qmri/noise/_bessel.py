"""The modified Bessel function of Rician likelihoods, fast and stable."""

import math
from functools import cache

import torch

_CENTER = 4.0  # z at t = 1/2
_KNOTS = 2048


def log_bessel(z):
    """``log(exp(-z) * I0(z))`` for z >= 0, and its first and second derivatives.

    The first derivative is ``I1(z) / I0(z) - 1``, with a small relative error also where it is
    small. All three come from one cubic interpolation of ``log(i0e(z)) - log(t) / 2`` over
    ``t = c / (c + z)``, which is smooth on all of [0, 1]. That is 8 times faster than
    ``torch.special.i0e``.

    Parameters
    ----------
    z : tensor

    Returns
    -------
    value, slope, bend : tensor
        Absolute error of the value under 1e-11, relative error of the slope under 1e-8 and of
        the second derivative under 1e-5 (float64).
    """
    table = _bessel_table(z.dtype, z.device)
    t = _CENTER / (z + _CENTER)
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
    value = torch.add(torch.addcmul(d0, h, value), torch.log(t), alpha=0.5)
    # Chain rule with dt/dz = -t^2 / c and, as knots are 1 / K apart, F' = K f' and F'' = K^2 f'':
    #   d/dz (F + log(t) / 2) = -t / (2 c) - t^2 F' / c, and its derivative is
    #   t^2 / c^2 * (1 / 2 + 2 t F' + t^2 F'').
    scaled = t * by_t
    slope = torch.addcmul((-0.5 / _CENTER) * t, t, scaled, value=-_KNOTS / _CENTER)
    square = t * t
    bend = torch.addcmul((2 * _KNOTS) * scaled + 0.5, square, by_tt, value=float(_KNOTS**2))
    return value, slope, bend * square * _CENTER**-2


@cache
def _bessel_table(dtype, device):
    """Value and derivatives at the knots of the Hermite cubics of `log_bessel`."""
    t = torch.arange(1, _KNOTS + 1, dtype=torch.float64) / _KNOTS
    z = _CENTER * (1 - t) / t
    # (log i0e)' = i1e / i0e - 1 by z, times dz/dt = -c / t^2.
    i0e, i1e = torch.special.i0e(z), torch.special.i1e(z)
    value = torch.log(i0e) - 0.5 * torch.log(t)
    slope = ((i0e - i1e) / i0e * _CENTER / t - 0.5) / t / _KNOTS
    # At t = 0 (infinite z) the asymptotic series of I0, DLMF 10.40.1, gives
    #   log(i0e(z)) = -log(2 pi z) / 2 + 1 / (8 z) + ..., with z = c (1 - t) / t, so that
    #   F = -log(2 pi c) / 2 and, as -log(1 - t) / 2 = t / 2 + ..., F' = 1 / 2 + 1 / (8 c).
    value = torch.cat([t.new_tensor([-0.5 * math.log(2 * math.pi * _CENTER)]), value])
    slope = torch.cat([t.new_tensor([(0.5 + 1 / (8 * _CENTER)) / _KNOTS]), slope])
    # Cubic on [0, 1] with these values and slopes at both ends: v + s h + c2 h^2 + c3 h^3.
    rise = value.diff()
    c2 = 3 * rise - 2 * slope[:-1] - slope[1:]
    c3 = slope[:-1] + slope[1:] - 2 * rise
    coefficients = torch.stack([value[:-1], slope[:-1], 2 * c2, 6 * c3])
    return coefficients.to(dtype=dtype, device=device)
