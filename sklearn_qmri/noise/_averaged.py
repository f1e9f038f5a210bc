"""Noise of magnitudes that were averaged or denoised: Gaussian about the mean of a magnitude."""

import math
from abc import abstractmethod
from numbers import Real

import numpy as np
import torch

from .._arrays import row_extremes
from ._base import NoiseModel
from ._rician import Rician, rician_mean

_FAR = 100.0  # signal from which on the derivatives of the variance are those of its series
_NO_FLOOR = 1e-3  # noise floors below this are none: they are beyond the digits of the noise


class _AboutMean(NoiseModel):
    """Gaussian noise about the mean of a magnitude, with a mean m(a) and variance s(a)."""

    even = True

    @abstractmethod
    def _moments(self, a):
        """Mean and variance for signals a >= 0, each with its two derivatives."""

    def derivatives(self, x, a):
        (mean, m1, m2), (variance, s1, s2) = self._moments(a.abs())
        # Loss e^2 / (2 s) + log(s) / 2 with e = x - m. With the relative change r = s' / s, and
        # s'' / s - r^2 as the derivative of r:
        #   d/da e^2 / (2 s) = -e m' / s - e^2 r / (2 s), and d/da log(s) / 2 = r / 2,
        #   second: (m'^2 - e m'' + 2 e m' r - e^2 (s'' / s - 2 r^2) / 2) / s + (s'' / s - r^2) / 2.
        e, r, r2 = x - mean, s1 / variance, s2 / variance
        square = e * e / variance
        loss = 0.5 * (square + torch.log(variance))
        first = -e * m1 / variance + 0.5 * r * (1 - square)
        second = (m1 * m1 - e * m2 + 2 * e * m1 * r) / variance
        second = second - square * (0.5 * r2 - r * r) + 0.5 * (r2 - r * r)
        # Not `sign`, which is 0 at a = 0, where both derivatives of the mean are needed.
        return loss, first * torch.where(a < 0, -1.0, 1.0).to(a.dtype), second

    def normalizer(self, x):
        return torch.full_like(x, 0.5 * math.log(2 * math.pi))

    def mean(self, a):
        return self._moments(a.abs())[0][0]

    def variance(self, a):
        return self._moments(a.abs())[1][0]

    def information(self, a):
        # Of a normal variable: m'^2 / s + (s' / s)^2 / 2.
        (_, m1, _), (variance, s1, _) = self._moments(torch.as_tensor(np.abs(a)))
        return (m1 * m1 / variance + 0.5 * (s1 / variance) ** 2).numpy()

    def sample(self, a, rng):
        mean, variance = (part[0].numpy() for part in self._moments(torch.as_tensor(np.abs(a))))
        return mean + np.sqrt(variance) * rng.standard_normal(a.shape)

    def _is_valid(self, X):
        low, high = row_extremes(X)  # NaN where there is one, which compares as false
        return (low > -np.inf) & (high < np.inf)


class AveragedMagnitude(_AboutMean):
    """Mean of several Rician magnitudes: Gaussian about the Rician mean.

    Magnitudes are averaged where a scan has several acquisitions of each volume (NSA, NEX), or
    several directions of diffusion whose mean is kept. Averages have less variance, but the same
    noise floor as one acquisition. Sigma is that of one acquisition.

    Parameters
    ----------
    n_averages : float or array-like of shape (n_measurements,)
        Number of acquisitions that were averaged, one number or one per measurement.

    Raises
    ------
    ValueError
        If a number is not positive and finite.

    Notes
    -----
    Mean and variance of one acquisition are those of `Rician`; the variance of the mean of n is
    that over n. By the central limit theorem the distribution tends to a normal one. From a
    signal-to-noise ratio of about 2 on that is close for one acquisition too.

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 1995;34:910.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import AveragedMagnitude
    >>> noise = AveragedMagnitude([1, 4])
    >>> noise.variance(torch.tensor([10.0, 10.0], dtype=torch.float64)).numpy().round(3)
    array([0.995, 0.249])
    """

    def __init__(self, n_averages):
        numbers = np.asarray(n_averages)
        of_numbers = numbers.dtype.kind in "iuf" and numbers.ndim < 2 and numbers.size > 0
        if not of_numbers or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise ValueError(
                f"n_averages expects a positive number, or one per measurement, got {n_averages!r}."
            )
        self.n_averages = n_averages

    axis = -1  # of the measurements

    @property
    def n_measurements(self):
        """Number of measurements that the argument is for; None if it is for any."""
        return len(self.n_averages) if np.ndim(self.n_averages) else None

    def along(self, axis):
        return _AveragedAlong(self.n_averages, axis)

    def _moments(self, a):
        mean, m1, m2 = rician_mean(a)
        variance = Rician().variance(a)
        # Variance 2 + a^2 - m^2 and its derivatives. For large a, where these lose their digits, it
        # tends to 1 - 1 / (2 a^2), see `rician_mean` and DLMF 13.7.
        far = a.clamp(min=_FAR)
        s1 = torch.where(a > _FAR, far**-3, 2 * (a - mean * m1))
        s2 = torch.where(a > _FAR, -3 * far**-4, 2 * (1 - m1 * m1 - mean * m2))
        n = torch.as_tensor(np.asarray(self.n_averages, dtype=np.float64)).to(a)
        if n.ndim:
            behind = (-1 if self.axis < 0 else a.ndim - 1) - self.axis
            n = n.reshape(-1, *[1] * behind)
        return (mean, m1, m2), (variance / n, s1 / n, s2 / n)

    def without_bias(self, x):
        return _without_rician_bias(x)


class _AveragedAlong(AveragedMagnitude):
    """`AveragedMagnitude` for arrays whose measurements are along an axis."""

    def __init__(self, n_averages, axis):
        super().__init__(n_averages)
        self.axis = axis


class DenoisedMagnitude(_AboutMean):
    """Denoised magnitudes: Gaussian about the Rician mean of the noise before denoising.

    Denoising of magnitudes, such as that by principal components, takes away most of their
    variance, but not the noise floor.

    Parameters
    ----------
    floor : float
        Sigma before denoising over the standard deviation that is left, which is the estimators'
        sigma. It is at least 0; at 0 there is no noise floor.

    Raises
    ------
    ValueError
        If `floor` is not a finite number of at least 0.

    Notes
    -----
    With the Rician mean m and the floor r, the mean measurement is ``r * m(a / r)``, in units of
    the standard deviation that is left. The noise that is left counts as independent.

    References
    ----------
    Veraart et al., NeuroImage 2016;142:394, for the denoising. Gudbjartsson and Patz, Magn Reson
    Med 1995;34:910, for the mean.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import DenoisedMagnitude
    >>> DenoisedMagnitude(3.0).mean(torch.tensor([0.0, 30.0], dtype=torch.float64)).numpy().round(2)
    array([ 3.76, 30.15])
    """

    def __init__(self, floor):
        if not isinstance(floor, Real) or not 0 <= floor < np.inf:
            raise ValueError(f"floor expects a finite number of at least 0, got {floor!r}.")
        self.floor = floor

    def _moments(self, a):
        r = self.floor
        one, zero = torch.ones_like(a), torch.zeros_like(a)
        if r < _NO_FLOOR:
            return (a, one, zero), (one, zero, zero)
        mean, m1, m2 = rician_mean(a / r)
        return (r * mean, m1, m2 / r), (one, zero, zero)

    def without_bias(self, x):
        return x if self.floor < _NO_FLOOR else self.floor * _without_rician_bias(x / self.floor)


def _without_rician_bias(mean):
    """Signal with a Rician mean, nearly; 0 for means below that of noise."""
    # The squared mean is a^2 + 2 less the variance, which is 1 for large a.
    a = (mean * mean - 1).clamp(min=0).sqrt()
    for _ in range(3):
        a = (mean * mean - 2 + Rician().variance(a)).clamp(min=0).sqrt()
    return torch.where(mean > 0, a, 0.0)
