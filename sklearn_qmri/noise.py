"""Noise models: likelihood, derivatives, sampling.

Everything here is elementwise and in units of sigma: `x` is a measurement and `a` the noise-free
signal, both divided by the standard deviation of the Gaussian noise per channel.
"""

import math
from functools import cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ._bessel import log_bessel

__all__ = ["Gaussian", "Rician", "sigma_from_background", "sigma_from_repeats"]

_ROWS = 65536  # of X checked at once, so that checking needs no memory to speak of


class _NoiseModel:
    """Noise models have no state: all instances of a class are the same."""

    even = False  # whether the likelihood is even in the signal

    def is_valid(self, X):
        """Rows of X (n_voxels, n_measurements) that can be measurements at all."""
        valid = np.empty(len(X), dtype=bool)
        for i in range(0, len(X), _ROWS):
            valid[i : i + _ROWS] = self._is_valid(X[i : i + _ROWS])
        return valid

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))

    def __repr__(self):
        return f"{type(self).__name__}()"


class Gaussian(_NoiseModel):
    """Additive Gaussian noise: signed, averaged or spherical-mean data."""

    def derivatives(self, x, a):
        """Negative log-likelihood without `normalizer`, and its two derivatives by `a`.

        Parameters
        ----------
        x, a : tensor
            Measurement and noise-free signal in units of sigma; broadcast against each other.

        Returns
        -------
        loss, first, second : tensor
        """
        residual = a - x
        return 0.5 * residual * residual, residual, torch.ones_like(residual)

    def normalizer(self, x):
        """What `derivatives` leaves out of the negative log-likelihood of ``x``."""
        return torch.full_like(x, 0.5 * math.log(2 * math.pi))

    def without_bias(self, x):
        """Measurements as least squares expects them."""
        return x

    def mean(self, a):
        """Expected measurement."""
        return a

    def variance(self, a):
        """Variance of the measurement."""
        return torch.ones_like(a)

    def information(self, a):
        """Fisher information of one measurement on the noise-free signal ``a`` (ndarray)."""
        return np.ones_like(a)

    def sample(self, a, rng):
        """Draw one measurement for each noise-free signal.

        Parameters
        ----------
        a : ndarray
        rng : numpy.random.RandomState

        Returns
        -------
        ndarray
        """
        return a + rng.standard_normal(a.shape)

    def _is_valid(self, X):
        return np.isfinite(X).all(axis=1)


class Rician(_NoiseModel):
    """Magnitude of a complex signal with independent Gaussian noise in both channels.

    With ``z = x * a``, the density of x is ``x * exp(-(x^2 + a^2) / 2) * I0(z)``
    (Gudbjartsson and Patz, Magn Reson Med 1995;34:910). It is even in `a`, so signed signals
    meet no kink. The density at x = 0 is 0, so the likelihood of a measured zero is -inf; its
    derivatives are finite.
    """

    even = True

    def derivatives(self, x, a):
        """Negative log-likelihood without `normalizer`, and its two derivatives by `a`.

        Parameters
        ----------
        x, a : tensor
            Measurement and noise-free signal in units of sigma; broadcast against each other.

        Returns
        -------
        loss, first, second : tensor
        """
        size = a.abs()
        log_i0e, slope, bend = log_bessel(x * size)
        residual = size - x
        loss = 0.5 * residual * residual - log_i0e
        first = (residual - x * slope) * torch.sign(a)
        return loss, first, 1 - x * x * bend

    def normalizer(self, x):
        """What `derivatives` leaves out of the negative log-likelihood of ``x``."""
        return -torch.log(x)

    def without_bias(self, x):
        """Measurements with most of what noise adds to small magnitudes taken off.

        ``sqrt(x^2 - 1)``, 0 below 1 (Gudbjartsson and Patz, Magn Reson Med 1995;34:910).
        """
        return (x * x - 1).clamp(min=0).sqrt()

    def mean(self, a):
        """Expected measurement, ``sqrt(pi/2) * L_{1/2}(-a^2 / 2)``."""
        q = a * a / 4
        log_i0e, slope, _ = log_bessel(q)
        return math.sqrt(math.pi / 2) * torch.exp(log_i0e) * (1 + 4 * q + 2 * q * slope)

    def variance(self, a):
        """Variance of the measurement, between 2 - pi/2 (no signal) and 1 (all signal)."""
        return 2 + a * a - self.mean(a) ** 2

    def information(self, a):
        """Fisher information of one measurement on the noise-free signal ``a`` (ndarray).

        ``E[x^2 r(x a)^2] - a^2`` with r = I1 / I0 (Karlsen et al., Magn Reson Med 1999;41:614),
        a^2 near 0 and 1 - 1 / (2 a^2) where it is large.
        """
        a = np.abs(a)
        return _rician_information()(a / (a + _INFORMATION_CENTER))

    def sample(self, a, rng):
        """Draw one measurement for each noise-free signal.

        Parameters
        ----------
        a : ndarray
        rng : numpy.random.RandomState

        Returns
        -------
        ndarray
        """
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


def sigma_from_repeats(repeats):
    """Noise level from repeated measurements of the same signals.

    The pooled standard deviation over repeats of the signals that are at least 5 times as large;
    below, magnitudes are not Gaussian.

    Parameters
    ----------
    repeats : array-like of shape (n_repeats, ...)

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel.

    Raises
    ------
    ValueError
        For fewer than two repeats, values that are not finite, or no signal that is large enough.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.noise import sigma_from_repeats
    >>> round(sigma_from_repeats(100 + np.random.RandomState(0).normal(size=(9, 10_000))), 2)
    1.0
    """
    repeats = np.asarray(repeats, dtype=np.float64)
    if repeats.ndim < 1 or len(repeats) < 2:
        raise ValueError(f"repeats expects at least two along its first axis, got {repeats.shape}.")
    if not np.isfinite(repeats).all():
        raise ValueError("repeats expects finite values, got NaN or infinity among them.")
    mean, variance = repeats.mean(axis=0), repeats.var(axis=0, ddof=1)
    sigma = math.sqrt(np.mean(variance))
    large = np.abs(mean) >= 5 * sigma
    if not large.any():
        raise ValueError(f"No signal is 5 times the standard deviation over repeats ({sigma:.4g}).")
    return math.sqrt(np.mean(variance[large]))


def sigma_from_background(background):
    """Noise level from magnitudes of air, which are Rayleigh distributed: sqrt(mean(M^2) / 2).

    Parameters
    ----------
    background : array-like
        Magnitudes of voxels without signal, from one receiver channel or an adaptive combination.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel.

    Raises
    ------
    ValueError
        If values are negative or not finite, or so many are 0 that the scanner has masked them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.noise import sigma_from_background
    >>> round(sigma_from_background(np.random.RandomState(0).rayleigh(3.0, 100_000)), 1)
    3.0
    """
    background = np.asarray(background, dtype=np.float64)
    if background.size == 0 or not (np.isfinite(background) & (background >= 0)).all():
        raise ValueError("background expects finite magnitudes of at least 0, and at least one.")
    sigma = math.sqrt(np.mean(background**2) / 2)
    # Rounding to integers puts this share of honest Rayleigh noise below half a count.
    expected = 0.125 / sigma**2 if sigma else 0.0
    zeros = np.mean(background == 0)
    if zeros > 0.01 + 2 * expected:
        raise ValueError(
            f"{zeros:.0%} of the background is exactly 0: the scanner has masked it, and what is "
            "left tells nothing about the noise."
        )
    return sigma
