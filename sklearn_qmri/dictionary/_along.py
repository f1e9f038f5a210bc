"""Exact log-likelihoods of many signals of one measurement, by a polynomial in the signal."""

import numpy as np
import torch
from numpy.polynomial import chebyshev, polynomial

_DEGREE = 10  # of the polynomial if noise is not normal
_HAIR = 1e-3  # least width of a range of signals, in units of sigma


class LossAlong:
    """Losses of signals, (n_measurements, n_voxels, n_signals), summed over measurements.

    For one measurement the loss is a smooth function of the signal. Between the smallest and the
    largest signal of a voxel it is interpolated in Chebyshev nodes. The noise model is then
    evaluated at a few nodes instead of hundreds of signals.

    Parameters
    ----------
    noise : NoiseModel
    """

    def __init__(self, noise):
        self.noise = noise.along(-3)
        one = torch.ones(noise.n_measurements or 1, 1, 1, dtype=torch.float64)
        excess = self.noise.derivatives(2 * one, one)[0] - 0.5 * one
        degree = 2 if excess.abs().max() < 1e-12 else _DEGREE
        nodes = chebyshev.chebpts1(degree + 1)
        self.nodes = torch.as_tensor(nodes[:, None, None, None], dtype=torch.float32)
        # Powers of the position are as good as Chebyshev polynomials up to this degree, and faster.
        self.to_powers = torch.as_tensor(np.linalg.inv(polynomial.polyvander(nodes, degree)))

    def __call__(self, x, signal):
        """Losses of measurements x (n_measurements, n_voxels, 1).

        Both are in units of sigma. `signal` is overwritten.

        Returns
        -------
        loss : tensor of shape (n_voxels, n_signals)
            Less `middle`.
        middle : tensor of shape (n_voxels, 1)
            Loss at the middle of all ranges, in double precision.
        """
        low, high = signal.amin(-1, keepdim=True), signal.amax(-1, keepdim=True)
        half = (0.5 * (high - low)).clamp_(min=_HAIR)
        middle = low + half
        # (n_nodes, n_measurements, n_voxels, 1)
        losses = self.noise.derivatives(x, torch.addcmul(middle, half, self.nodes))[0].double()
        powers = (self.to_powers @ losses.flatten(1)).view_as(losses)
        constant, powers = powers[0].sum(0), powers.float()
        position = signal.sub_(middle).div_(half)
        # Horner's rule without the constant, which is in `middle`.
        value = powers[-1]
        for power in powers[1:-1].flip(0):
            value = torch.addcmul(power, value, position)
        return (value * position).sum(0), constant
