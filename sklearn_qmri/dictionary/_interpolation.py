"""Log-likelihoods of very many atoms, by interpolation."""

import numpy as np
import torch
from numpy.polynomial import chebyshev

_NODES = 48  # in log(signal); error of a log-likelihood under 1e-3 nats
_FAINTEST = 1e-3  # of sigma; smaller signals count as this


class Interpolation:
    """Log-likelihoods of all pairs of measurements and atoms as one matrix product.

    Beyond that of Gaussian noise, the log-likelihood is a smooth function of log(signal) for
    every measurement: a sum of Chebyshev polynomials, whose values at the atoms are one factor
    and whose coefficients for the measurement are the other.

    Parameters
    ----------
    noise : noise model
    signals : ndarray of shape (n_atoms, n_measurements)
    sigma : float
        The least noise level to come; smaller signals than a thousandth of it are not resolved.
    """

    def __init__(self, noise, signals, sigma):
        self.noise = noise
        self.center = signals.mean(axis=0)
        self.gaussian = not self._beyond_gaussian(np.full((1, 1), 2.0), np.ones(1)).any()
        largest = max(np.abs(signals).max(), sigma)
        self.low, self.high = np.log(_FAINTEST * sigma), np.log(largest * 1.001)

    def of_atoms(self, signals):
        """Factors of the atoms, float32 of shape (n_factors, n_atoms)."""
        offset = signals - self.center
        factors = [-0.5 * (offset**2).sum(axis=1, keepdims=True), offset]
        if not self.gaussian:
            log = np.log(np.abs(signals).clip(min=np.exp(self.low)))
            unit = (2 * log - self.low - self.high) / (self.high - self.low)
            polynomials = chebyshev.chebvander(unit.clip(-1, 1), _NODES - 1)
            factors.append(polynomials.reshape(len(signals), -1))
        return np.ascontiguousarray(np.hstack(factors).T, dtype=np.float32)

    def of_data(self, X, sigma):
        """Factors of measurements, float32 of shape (n_voxels, n_factors)."""
        precision = 1 / sigma[:, None] ** 2
        factors = [precision, (X - self.center) * precision]
        if not self.gaussian:
            nodes = chebyshev.chebpts1(_NODES)
            signals = np.exp(0.5 * (self.low + self.high + (self.high - self.low) * nodes))
            to_coefficients = chebyshev.chebvander(nodes, _NODES - 1) * (2 / _NODES)
            to_coefficients[:, 0] /= 2
            values = self._beyond_gaussian(X / sigma[:, None], signals / sigma[:, None, None])
            factors.append((values @ to_coefficients).reshape(len(X), -1))
        return np.hstack(factors).astype(np.float32)

    def _beyond_gaussian(self, x, a):
        """What the noise adds to the Gaussian log-likelihood, for all x[..., None] and a."""
        x, a = torch.as_tensor(x)[..., None], torch.as_tensor(a)
        return (0.5 * (x - a) ** 2 - self.noise.derivatives(x, a)[0]).numpy()
