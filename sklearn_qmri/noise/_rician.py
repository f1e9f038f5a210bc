"""Noise of magnitude images from one receiver channel, or an adaptive combination."""

import math
from functools import cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ._base import NoiseModel
from ._bessel import log_bessel


class Rician(NoiseModel):
    """Magnitude of a complex signal with independent Gaussian noise in both channels.

    Notes
    -----
    With ``z = x * a``, the density of x is ``x * exp(-(x^2 + a^2) / 2) * I0(z)``. It is even in
    `a`, so signed signals meet no kink. At x = 0 it is 0, so the log-likelihood of a measured zero
    is -inf; its derivatives are finite. Rows that are negative anywhere, or 0 everywhere, are no
    measurements.

    The mean is ``sqrt(pi / 2) * L_{1/2}(-a^2 / 2)``, the variance between 2 - pi / 2 (no signal)
    and 1 (all signal); `without_bias` is ``sqrt(x^2 - 1)``, 0 below 1 (all Gudbjartsson and Patz).
    The information is ``E[x^2 * r(z)^2] - a^2`` with r = I1 / I0 (Karlsen et al.): a^2 near 0,
    1 - 1 / (2 * a^2) where a is large.

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 1995;34:910. Karlsen et al., Magn Reson Med 1999;41:614.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import Rician
    >>> Rician().mean(torch.tensor([0.0, 10.0], dtype=torch.float64)).numpy().round(3)
    array([ 1.253, 10.05 ])
    """

    even = True

    def derivatives(self, x, a):
        size = a.abs()
        log_i0e, slope, bend = log_bessel(x * size)
        residual = size - x
        loss = 0.5 * residual * residual - log_i0e
        first = (residual - x * slope) * torch.sign(a)
        return loss, first, 1 - x * x * bend

    def normalizer(self, x):
        return -torch.log(x)

    def without_bias(self, x):
        return (x * x - 1).clamp(min=0).sqrt()

    def mean(self, a):
        q = a * a / 4
        log_i0e, slope, _ = log_bessel(q)
        return math.sqrt(math.pi / 2) * torch.exp(log_i0e) * (1 + 4 * q + 2 * q * slope)

    def variance(self, a):
        return 2 + a * a - self.mean(a) ** 2

    def information(self, a):
        a = np.abs(a)
        return _rician_information()(a / (a + _INFORMATION_CENTER))

    def sample(self, a, rng):
        real = a + rng.standard_normal(a.shape)
        return np.hypot(real, rng.standard_normal(a.shape))

    def _is_valid(self, X):
        return np.isfinite(X).all(axis=1) & (X >= 0).all(axis=1) & (X > 0).any(axis=1)


_INFORMATION_CENTER = 2.0
_INFORMATION_KNOTS = 256


@cache
def _rician_information():
    """Spline of the Rician information over ``a / (a + c)``, smooth on all of [0, 1]."""
    t = np.arange(_INFORMATION_KNOTS) / _INFORMATION_KNOTS
    a = _INFORMATION_CENTER * t / (1 - t)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    low, high = np.maximum(a - 12, 0), a + 12  # all but 1e-32 of the density
    half = (high - low)[:, None] / 2
    x = torch.as_tensor(low[:, None] + half * (nodes + 1))
    loss, score, _ = Rician().derivatives(x, torch.as_tensor(a)[:, None])
    density = x * torch.exp(-loss)
    value = (half * weights * (density * score**2).numpy()).sum(axis=1)
    return CubicSpline(np.append(t, 1.0), np.append(value, 1.0))
