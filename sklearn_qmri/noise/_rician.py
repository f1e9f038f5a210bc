"""Noise of magnitude images from one receiver channel, or an adaptive combination."""

import math
from functools import cache

import numpy as np
import torch
from scipy import special
from scipy.interpolate import CubicSpline

from .._arrays import row_extremes
from ._base import NoiseModel
from ._bessel import log_bessel


class Rician(NoiseModel):
    """Magnitude of a complex signal with independent Gaussian noise in both channels.

    Notes
    -----
    With ``z = x * a``, the density of x is ``x * exp(-(x^2 + a^2) / 2) * I0(z)``. It is even in `a`
    and smooth at ``a = 0``. At ``x = 0`` the density is 0 for every `a`. Measured zeros come from
    rounding. Their ``-log(x)`` is infinite and the same for every signal, so that `normalizer`
    excludes it: likelihoods, AIC and BIC of several signal models stay comparable. Rows that are
    negative anywhere, or 0 everywhere, are no measurements.

    The mean is ``sqrt(pi / 2) * L_{1/2}(-a^2 / 2)``. The variance grows from 2 - pi / 2 without
    signal to 1 at large signals. `without_bias` is ``sqrt(x^2 - 1)``, or 0 for x below 1 (all of
    these: Gudbjartsson and Patz). The information is ``E[x^2 * r(z)^2] - a^2`` with r = I1 / I0
    (Karlsen et al.). It tends to a^2 for small `a` and to 1 - 1 / (2 * a^2) for large `a`. Variance
    and information have relative errors under 1e-8 at every `a`.

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 1995;34:910. Karlsen et al., Magn Reson Med 1999;41:614.
    NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov, 13.7.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import Rician
    >>> Rician().mean(torch.tensor([0.0, 10.0], dtype=torch.float64)).numpy().round(3)
    array([ 1.253, 10.05 ])
    """

    even = True

    def derivatives(self, x, a):
        # (x^2 + a^2) / 2 - log(I0(z)) = (a - x)^2 / 2 + z - log(I0(z)), and log_bessel is
        # log(I0(z)) - z: no large terms cancel.
        size = a.abs()
        log_i0e, slope, bend = log_bessel(x * size)
        residual = size - x
        loss = 0.5 * residual * residual - log_i0e
        # z = x * a: each derivative by a brings one factor x.
        first = (residual - x * slope) * torch.sign(a)
        return loss, first, 1 - x * x * bend

    def normalizer(self, x):
        # The factor x of the density, except for measured zeros, see the notes of the class.
        return -torch.log(torch.where(x > 0, x, 1.0))

    def without_bias(self, x):
        return (x * x - 1).clamp(min=0).sqrt()

    def mean(self, a):
        # L_{1/2}(-2 q) = exp(-q) * ((1 + 2 q) * I0(q) + 2 q * I1(q)), with I1 = I0 * (1 + slope).
        q = a * a / 4
        log_i0e, slope, _ = log_bessel(q)
        return math.sqrt(math.pi / 2) * torch.exp(log_i0e) * (1 + 4 * q + 2 * q * slope)

    def variance(self, a):
        a = a.abs()
        # E[x^2] - E[x]^2, with E[x^2] = a^2 + 2.
        near = a.clamp(max=_FAR)
        return torch.where(a > _FAR, _far_variance(a), 2 + near * near - self.mean(near) ** 2)

    def information(self, a):
        # share^2 is a^2 / (1 + a^2); hypot does not overflow.
        a = np.abs(a)
        share = a / np.hypot(1.0, a)
        return share * share * _information_ratio()(a / (a + _INFORMATION_CENTER))

    def sample(self, a, rng):
        real = a + rng.standard_normal(a.shape)
        return np.hypot(real, rng.standard_normal(a.shape))

    def _is_valid(self, X):
        low, high = row_extremes(X)  # NaN where there is one, which compares as false
        return (low >= 0) & (high > 0) & (high < np.inf)


_FAR = 12.0  # signal, in units of sigma, from which on the variance is taken from its series
_FAR_TERMS = 7


def _far_variance(a):
    """Variance at signals above `_FAR`, where ``2 + a^2 - mean^2`` would lose its digits.

    The mean is ``sqrt(pi / 2) * M(-1/2, 1, -a^2 / 2)``, with Kummer's function M (that is
    L_{1/2}). DLMF 13.7.2, for large negative arguments, makes it ``a * sum_k c_k * w^k`` with
    ``w = 2 / a^2`` and ``c_k = ((-1/2)_k)^2 / k!``, so that ``c_k / c_{k-1} = (k - 3/2)^2 / k``.
    As c_0 = 1, the mean is ``a * (1 + w * p)`` with a polynomial p(w), and
    ``2 + a^2 - mean^2 = 2 - a^2 * w * p * (2 + w * p) = 2 - 2 * p * (2 + w * p)``: 1 where p is
    its limit 1/4, without any cancellation. From a = 12 on the first omitted term is below 1e-11.
    """
    w = 2 / a.clamp(min=_FAR) ** 2
    coefficients = [1.0]
    for k in range(1, _FAR_TERMS + 1):
        coefficients.append(coefficients[-1] * (k - 1.5) ** 2 / k)
    # Horner's rule from the last coefficient down to c_1; c_0 = 1 is not part of p.
    p = torch.zeros_like(w)
    for c in coefficients[:0:-1]:
        p = p * w + c
    return 2 - 2 * p * (2 + w * p)


_INFORMATION_CENTER = 2.0
_INFORMATION_KNOTS = 256


@cache
def _information_ratio():
    """Spline of the Rician information over ``a^2 / (1 + a^2)``, by ``a / (a + c)``.

    The ratio is 1 at both ends and smooth between them, so that the information keeps its
    relative accuracy down to a = 0, where it is a^2: the score is ``x * r(x * a) - a``, which is
    ``a * (x^2 / 2 - 1)`` there, and x^2 / 2 is exponential with variance 1.
    """
    t = np.arange(1, _INFORMATION_KNOTS) / _INFORMATION_KNOTS
    a = _INFORMATION_CENTER * t / (1 - t)
    # Gauss-Legendre quadrature of E[score^2] over all but 1e-32 of the density. Arrays become
    # (n_knots, n_nodes).
    nodes, weights = np.polynomial.legendre.leggauss(200)
    low, high = np.maximum(a - 12, 0), a + 12
    half = (high - low)[:, None] / 2
    x, a = low[:, None] + half * (nodes + 1), a[:, None]
    # Not from `log_bessel`, whose error would count 1 / a times at small a.
    i0e = special.i0e(x * a)
    score = x * special.i1e(x * a) / i0e - a
    density = x * np.exp(-0.5 * (x - a) ** 2) * i0e
    value = (half * weights * density * score**2).sum(axis=1) * (1 + a[:, 0] ** -2)
    return CubicSpline(np.concatenate([[0.0], t, [1.0]]), np.concatenate([[1.0], value, [1.0]]))
