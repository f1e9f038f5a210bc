"""Noise models: likelihood, derivatives, sampling.

Everything here is elementwise and in units of sigma: `x` is a measurement and `a` the noise-free
signal, both divided by the standard deviation of the Gaussian noise per channel.
"""

import math
from abc import ABC, abstractmethod
from functools import cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ._bessel import log_bessel

__all__ = ["Gaussian", "Rician", "sigma_from_background", "sigma_from_repeats"]

_ROWS = 65536  # of X checked at once, so that checking needs no memory to speak of


class _NoiseModel(ABC):
    """Noise models have no state: all instances of a class are the same."""

    even = False  # whether the likelihood is even in the signal

    @abstractmethod
    def derivatives(self, x, a):
        """Negative log-likelihood without `normalizer`, and its two derivatives by `a`.

        Parameters
        ----------
        x, a : tensor
            Measurement and noise-free signal in units of sigma; broadcast against each other.

        Returns
        -------
        loss, first, second : tensor
            Loss in nats, of the shape that x and a have together.
        """

    @abstractmethod
    def normalizer(self, x):
        """What `derivatives` leaves out of the negative log-likelihood.

        Parameters
        ----------
        x : tensor
            Measurement in units of sigma.

        Returns
        -------
        tensor
            In nats, for a density in units of sigma.
        """

    @abstractmethod
    def without_bias(self, x):
        """Measurements as least squares expects them.

        Parameters
        ----------
        x : tensor
            Measurement in units of sigma.

        Returns
        -------
        tensor
            Less most of the bias that noise adds, if it does.
        """

    @abstractmethod
    def mean(self, a):
        """Expected measurement.

        Parameters
        ----------
        a : tensor
            Noise-free signal in units of sigma.

        Returns
        -------
        tensor
            In units of sigma.
        """

    @abstractmethod
    def variance(self, a):
        """Variance of the measurement.

        Parameters
        ----------
        a : tensor
            Noise-free signal in units of sigma.

        Returns
        -------
        tensor
            In units of sigma^2.
        """

    @abstractmethod
    def information(self, a):
        """Fisher information of one measurement on the noise-free signal.

        Parameters
        ----------
        a : ndarray
            Noise-free signal in units of sigma.

        Returns
        -------
        ndarray
            In units of 1 / sigma^2.
        """

    @abstractmethod
    def sample(self, a, rng):
        """Draw one measurement for each noise-free signal.

        Parameters
        ----------
        a : ndarray
            Noise-free signals in units of sigma.
        rng : numpy.random.RandomState
            Is advanced.

        Returns
        -------
        ndarray
            Measurements in units of sigma.
        """

    def is_valid(self, X):
        """Which rows can be measurements at all.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
            In any units.

        Returns
        -------
        bool ndarray of shape (n_voxels,)
            False for rows with NaN or infinity, or values that this noise cannot give.
        """
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
    """Additive Gaussian noise: signed, averaged or spherical-mean data.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import Gaussian
    >>> loss, first, second = Gaussian().derivatives(torch.tensor(3.0), torch.tensor(1.0))
    >>> loss.item(), first.item(), second.item()
    (2.0, -2.0, 1.0)
    """

    def derivatives(self, x, a):
        residual = a - x
        return 0.5 * residual * residual, residual, torch.ones_like(residual)

    def normalizer(self, x):
        return torch.full_like(x, 0.5 * math.log(2 * math.pi))

    def without_bias(self, x):
        return x

    def mean(self, a):
        return a

    def variance(self, a):
        return torch.ones_like(a)

    def information(self, a):
        return np.ones_like(a)

    def sample(self, a, rng):
        return a + rng.standard_normal(a.shape)

    def _is_valid(self, X):
        return np.isfinite(X).all(axis=1)


class Rician(_NoiseModel):
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


def sigma_from_repeats(repeats):
    """Noise level from repeated measurements of the same signals.

    The pooled standard deviation over repeats of the signals that are at least 5 times as large;
    below, magnitudes are not Gaussian.

    Parameters
    ----------
    repeats : array-like of shape (n_repeats, ...)
        Magnitudes or signed signals, the same ones in every repeat.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the signals.

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

    As of Rician noise without a signal (Gudbjartsson and Patz, Magn Reson Med 1995;34:910).

    Parameters
    ----------
    background : array-like
        Magnitudes of voxels without signal, from one receiver channel or an adaptive combination.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the magnitudes.

    Raises
    ------
    ValueError
        If there are no values, any is negative or not finite, or so many are 0 that the scanner
        has masked them.

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
