"""Log-likelihoods of very many atoms, by interpolation."""

import numpy as np
import torch
from numpy.polynomial import chebyshev

from ..noise import columns_of

_NODES = 48  # Chebyshev nodes in log(signal): errors of a log-likelihood are under 1e-3 nats
_FAINTEST = 1e-3  # smallest signal over sigma; smaller ones count as this


class Interpolation:
    """Log-likelihoods of all pairs of measurements and atoms as one matrix product.

    The difference to the log-likelihood of Gaussian noise is a smooth function of log(signal) for
    every measurement. It is approximated by a sum of Chebyshev polynomials, whose values at the
    atoms are one factor and whose coefficients for the measurement are the other.

    Parameters
    ----------
    noise : noise model
    signals : ndarray of shape (n_atoms, n_measurements)
    sigma : float
        Smallest noise level of the data; signals below a thousandth of it are not resolved.
    """

    def __init__(self, noise, signals, sigma):
        self.noise = noise
        # Offsets from the mean atom are smaller than signals, and so are their float32 errors.
        self.center = signals.mean(axis=0)
        # One pair of a measurement and a signal tells whether there is any difference.
        self.gaussian = not self._beyond_gaussian(np.full((1, 1), 2.0), np.ones(1)).any()
        largest = max(np.abs(signals).max(), sigma)
        # Range of log(signal), with a margin of 0.1 % so that no atom is beyond its end.
        self.low, self.high = np.log(_FAINTEST * sigma), np.log(largest * 1.001)

    def of_atoms(self, signals):
        """Factors of the atoms, float32 of shape (n_factors, n_atoms)."""
        # With o = a - c, -(x - a)^2 / (2 sigma^2) is -o^2 / (2 sigma^2) + (x - c) * o / sigma^2
        # plus a term of x alone, which is the same for all atoms and dropped. A measurement that
        # does not exist has 1 / sigma = 0.
        offset = signals - self.center
        factors = [-0.5 * offset**2, offset]
        if not self.gaussian:
            log = np.log(np.abs(signals).clip(min=np.exp(self.low)))
            unit = (2 * log - self.low - self.high) / (self.high - self.low)
            # (n_atoms, n_measurements, n_nodes), flattened to columns like the coefficients.
            polynomials = chebyshev.chebvander(unit.clip(-1, 1), _NODES - 1)
            factors.append(polynomials.reshape(len(signals), -1))
        return np.ascontiguousarray(np.hstack(factors).T, dtype=np.float32)

    def of_data(self, X, sigma):
        """Factors of measurements, float32 of shape (n_voxels, n_factors)."""
        level = columns_of(sigma)
        precision = np.broadcast_to(1 / level**2, X.shape)
        factors = [precision, (X - self.center) * precision]
        if not self.gaussian:
            # With N nodes t_i, the coefficients are c_k = 2 / N * sum_i f(t_i) * T_k(t_i), and half
            # of that for k = 0.
            nodes = chebyshev.chebpts1(_NODES)
            signals = np.exp(0.5 * (self.low + self.high + (self.high - self.low) * nodes))
            to_coefficients = chebyshev.chebvander(nodes, _NODES - 1) * (2 / _NODES)
            to_coefficients[:, 0] /= 2
            # (n_voxels, n_measurements, n_nodes)
            values = self._beyond_gaussian(X / level, signals / level[..., None])
            factors.append((values @ to_coefficients).reshape(len(X), -1))
        return np.hstack(factors).astype(np.float32)

    def constant(self, X, sigma):
        """Term of each row's log-likelihood that the product excludes, (n_voxels,)."""
        level = columns_of(sigma)
        return -0.5 * np.sum(((X - self.center) / level) ** 2, axis=1)

    def _beyond_gaussian(self, x, a):
        """Log-likelihood less that of Gaussian noise, for all x[..., None] and a."""
        x, a = torch.as_tensor(x)[..., None], torch.as_tensor(a)
        noise = self.noise.along(-2)  # nodes are behind the measurements
        return (0.5 * (x - a) ** 2 - noise.derivatives(x, a)[0]).numpy()
