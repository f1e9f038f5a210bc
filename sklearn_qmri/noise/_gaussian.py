"""Additive Gaussian noise."""

import math

import numpy as np
import torch

from .._arrays import row_extremes
from ._base import NoiseModel


class Gaussian(NoiseModel):
    """Additive Gaussian noise, for signed, averaged or spherical-mean data.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import Gaussian
    >>> loss, first, second = Gaussian().derivatives(torch.tensor(3.0), torch.tensor(1.0))
    >>> loss.item(), first.item(), second.item()
    (2.0, -2.0, 1.0)
    """

    # Least squares: sigma scales the loss of every measurement alike.
    estimates_need_sigma = False

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
        low, high = row_extremes(X)  # NaN where there is one, which compares as false
        return (low > -np.inf) & (high < np.inf)


class MagnitudeGaussian(Gaussian):
    """Gaussian noise about the magnitude of a signal that may be negative, for averaged magnitudes.

    Same as `Gaussian` where no signal is negative. ``noise="gaussian"`` means this class for signal
    models of magnitudes whose signal changes its sign, such as
    ``InversionRecovery(..., magnitude=True)``.

    Notes
    -----
    The likelihood is even in the noise-free signal a: with s the sign of a, the loss
    ``(|a| - x)^2 / 2`` has the derivatives ``s * (|a| - x)`` and, away from a = 0, 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import MagnitudeGaussian
    >>> loss, first, _ = MagnitudeGaussian().derivatives(torch.tensor(3.0), torch.tensor(-1.0))
    >>> loss.item(), first.item()
    (2.0, 2.0)
    """

    even = True

    def derivatives(self, x, a):
        loss, first, second = super().derivatives(x, a.abs())
        # Not `sign`, which is 0 at a = 0, where the one-sided slope -x says that more signal helps.
        return loss, first * torch.where(a < 0, -1.0, 1.0).to(a.dtype), second

    def mean(self, a):
        return a.abs()

    def sample(self, a, rng):
        return super().sample(np.abs(a), rng)
