"""Additive Gaussian noise."""

import math

import numpy as np
import torch

from ._base import NoiseModel


class Gaussian(NoiseModel):
    """Additive Gaussian noise: signed, averaged or spherical-mean data.

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.noise import Gaussian
    >>> loss, first, second = Gaussian().derivatives(torch.tensor(3.0), torch.tensor(1.0))
    >>> loss.item(), first.item(), second.item()
    (2.0, -2.0, 1.0)
    """

    estimates_need_sigma = False  # least squares

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
