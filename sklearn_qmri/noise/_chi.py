"""Noise of magnitude images that are combined from several receiver coils."""

import math
from functools import cache
from numbers import Integral

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from .._arrays import row_extremes
from ._base import NoiseModel
from ._bessel import log_bessel, log_scaled_bessel


class NonCentralChi(NoiseModel):
    """Root of the sum of squares of complex signals from n coils, with independent Gaussian noise.

    Parameters
    ----------
    n_coils : int
        Number of coils. With one coil it is `Rician`. Where coils share noise, or an acceleration
        combines them, an effective number that is smaller describes the noise.

    Raises
    ------
    ValueError
        If `n_coils` is not an integer from 1 to 128.

    Notes
    -----
    The signal a is the root of the sum of the squared noise-free signals of the coils. With
    ``z = x * a``, ``k = n - 1`` and the modified Bessel function I_k, the density of x is
    ``x^n / a^k * exp(-(x^2 + a^2) / 2) * I_k(z)``. It is even in `a` and smooth at ``a = 0``. At
    ``x = 0`` the density is 0 for every `a`. Measured zeros come from rounding. Their ``-log(x)``
    is infinite and the same for every signal, so that `normalizer` excludes it: likelihoods, AIC
    and BIC of several signal models stay comparable. Rows that are negative anywhere, or 0
    everywhere, are no measurements.

    The mean square is ``a^2 + 2 n``. The variance grows from that without signal, ``2 n`` less the
    squared mean ``2 * (Gamma(n + 1/2) / Gamma(n))^2``, to 1. `without_bias` is
    ``sqrt(x^2 - 2 n + 1)``, or 0. The information is ``E[(x * r(z) - a)^2]`` with
    ``r = I_n / I_{n-1}``. It tends to a^2 / n for small `a` and to 1 for large `a`. Variance and
    information come from quadrature, with relative errors under 1e-7.

    References
    ----------
    Constantinides, Atalar, McVeigh, Magn Reson Med 1997;38:852. Dietrich et al., Magn Reson Imaging
    2008;26:754. NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov, 10.29.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import NonCentralChi
    >>> NonCentralChi(8).mean(torch.tensor([0.0, 10.0], dtype=torch.float64)).numpy().round(3)
    array([ 3.938, 10.727])
    """

    even = True

    def __init__(self, n_coils):
        whole = isinstance(n_coils, Integral) and not isinstance(n_coils, bool)
        if not whole or not 1 <= n_coils <= _MOST_COILS:
            raise ValueError(
                f"n_coils expects a positive integer up to {_MOST_COILS}, got {n_coils!r}."
            )
        self.n_coils = n_coils

    def derivatives(self, x, a):
        # (x^2 + a^2) / 2 - log(I_k(z) / z^k) = (a - x)^2 / 2 + z - log(I_k(z) / z^k), and
        # log_bessel has the latter two up to a constant: no large terms cancel.
        size = a.abs()
        log_ive, slope, bend = log_bessel(x * size, self.n_coils - 1)
        residual = size - x
        loss = 0.5 * residual * residual - log_ive
        # z = x * a: each derivative by a brings one factor x.
        first = (residual - x * slope) * torch.sign(a)
        return loss, first, 1 - x * x * bend

    def normalizer(self, x):
        # x^n / a^k * I_k(x a) = x^n * (x / 2)^k / k! times a function of x a that is 1 at 0. Its
        # factor x^(2 n - 1) is excluded for measured zeros, see the notes of the class.
        n = self.n_coils
        constant = (n - 1) * math.log(2) + math.lgamma(n)
        return constant - (2 * n - 1) * torch.log(torch.where(x > 0, x, 1.0))

    def without_bias(self, x):
        return (x * x - (2 * self.n_coils - 1)).clamp(min=0).sqrt()

    def mean(self, a):
        return (a * a + 2 * self.n_coils - self.variance(a)).sqrt()

    def variance(self, a):
        spline = _moments(self.n_coils)[0]
        return torch.as_tensor(spline(_place(a.abs().cpu().numpy(), self.n_coils))).to(a)

    def information(self, a):
        # share^2 is a^2 / (n + a^2); hypot does not overflow.
        a = np.abs(a)
        share = a / np.hypot(np.sqrt(self.n_coils), a)
        return share * share * _moments(self.n_coils)[1](_place(a, self.n_coils))

    def sample(self, a, rng):
        # Noise along the signal; all other components together have a chi-squared distribution.
        along = a + rng.standard_normal(a.shape)
        return np.sqrt(along**2 + rng.chisquare(2 * self.n_coils - 1, a.shape))

    def _is_valid(self, X):
        low, high = row_extremes(X)  # NaN where there is one, which compares as false
        return (low >= 0) & (high > 0) & (high < np.inf)


_MOST_COILS = 128  # up to which the splines and the Bessel functions are tested
_CENTER = 2.0  # signal at the middle of the splines, times the root of the number of coils
_KNOTS = 256


def _place(a, n_coils):
    """Position of signals in the splines, from 0 to 1."""
    return a / (a + _CENTER * math.sqrt(n_coils))


@cache
def _moments(n_coils):
    """Splines over `_place` of the variance, and of the information over ``a^2 / (n + a^2)``.

    Both are smooth and have finite limits. The information keeps its relative accuracy down to
    a = 0, where it is a^2 / n: the score is ``x * r(x * a) - a``, which is
    ``a * (x^2 / (2 n) - 1)`` there, and x^2 has the variance 4 n.
    """
    t = np.arange(1, _KNOTS) / _KNOTS
    a = _CENTER * math.sqrt(n_coils) * t / (1 - t)
    # Gauss-Legendre quadrature over all but 1e-32 of the density; arrays are (n_knots, n_nodes).
    nodes, weights = np.polynomial.legendre.leggauss(200)
    middle = np.sqrt(a**2 + 2 * n_coils - 1)
    low, high = np.maximum(middle - 12, 0), middle + 12
    half = (high - low)[:, None] / 2
    x, a = low[:, None] + half * (nodes + 1), a[:, None]
    # Not from `log_bessel`, whose error would count 1 / a times at small a.
    order = n_coils - 1
    log_scaled, bessel_ratio = log_scaled_bessel(order, x * a)
    score = x * bessel_ratio - a
    log_density = n_coils * np.log(x) - order * np.log(a) + log_scaled - 0.5 * (x - a) ** 2
    density = half * weights * np.exp(log_density)
    mean = (density * x).sum(axis=1, keepdims=True)
    variance = (density * (x - mean) ** 2).sum(axis=1)
    ratio = (density * score**2).sum(axis=1) * (1 + n_coils / a[:, 0] ** 2)
    root = math.exp(math.lgamma(n_coils + 0.5) - math.lgamma(n_coils))
    knots = np.concatenate([[0.0], t, [1.0]])
    return (
        CubicSpline(knots, np.concatenate([[2 * n_coils - 2 * root**2], variance, [1.0]])),
        CubicSpline(knots, np.concatenate([[1.0], ratio, [1.0]])),
    )
