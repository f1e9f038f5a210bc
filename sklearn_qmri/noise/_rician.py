"""Noise of magnitude images from one receiver channel, or an adaptive combination."""

import math

import numpy as np
import torch

from ._bessel import log_bessel
from ._chi import NonCentralChi


class Rician(NonCentralChi):
    """Magnitude of a complex signal with independent Gaussian noise in both channels.

    Notes
    -----
    It is `NonCentralChi` for one coil, whose notes hold. With ``z = x * a``, the density of x is
    ``x * exp(-(x^2 + a^2) / 2) * I0(z)``.

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

    n_coils = 1

    def __init__(self):
        """Store no argument."""

    def mean(self, a):
        return rician_mean(a)[0]

    def variance(self, a):
        a = a.abs()
        # E[x^2] - E[x]^2, with E[x^2] = a^2 + 2.
        near = a.clamp(max=_FAR)
        return torch.where(a > _FAR, _far_variance(a), 2 + near * near - self.mean(near) ** 2)

    def sample(self, a, rng):
        real = a + rng.standard_normal(a.shape)
        return np.hypot(real, rng.standard_normal(a.shape))


def rician_mean(a):
    """Mean of a Rician magnitude with the signal a, a tensor, and its two derivatives by a.

    It is ``L_{1/2}(-2 q)`` times sqrt(pi / 2), with ``q = a^2 / 4``. With the scaled Bessel
    functions i0 and i1, ``exp(-q) * I(q)``, that is ``(1 + 2 q) * i0 + 2 q * i1``. By
    ``I0' = I1`` and ``I1' = I0 - I1 / q`` its derivative by q is ``i0 + i1``, and that of the
    latter ``-i1 / q``. The chain rule has ``dq/da = a / 2``.
    """
    q = a * a / 4
    log_i0e, slope, _ = log_bessel(q)
    unit = math.sqrt(math.pi / 2) * torch.exp(log_i0e)  # I1 = I0 * (1 + slope)
    return unit * (1 + 4 * q + 2 * q * slope), unit * a / 2 * (2 + slope), -unit / 2 * slope


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
