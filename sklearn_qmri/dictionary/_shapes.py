"""Posteriors over atoms of a learnt prior, the amplitude of each being integrated.

An atom is a tissue without its amplitude. For given least squares (`_expansion`) the amplitude of a
voxel is normal for each atom, so that a table of a few matrix products has the likelihood of all.
"""

import math

import torch

from ._cells import systematic
from ._expansion import least_squares
from ._linear import draw_truncated

_LEAST = 1e-20  # keeps divisions by sums over no measurement finite
_EVERY = 4  # of as many atoms, one is looked at first
_FLOOR = 1e-3  # share of the draws by the prior alone


class ShapeDraws:
    """Likelihoods of atoms, and draws of atoms with amplitudes for each voxel.

    Parameters
    ----------
    signal_model : SignalModel
        Model with one amplitude.
    noise : NoiseModel
    tissues : ndarray of shape (n_atoms, n_parameters)
        Atoms, whose amplitudes do not matter.
    amplitude : int
        Column of the amplitude.
    low, high : float
        Range of the amplitude, in which its prior is uniform.
    """

    def __init__(self, signal_model, noise, tissues, amplitude, low, high):
        self.noise, self.amplitude, self.low, self.high = noise, amplitude, low, high
        self.tissues = torch.as_tensor(tissues.T.copy(), dtype=torch.float32)
        unit = tissues.copy()
        unit[:, amplitude] = 1.0
        columns = torch.as_tensor(signal_model.simulate(unit).T.copy(), dtype=torch.float32)
        self.columns = columns.abs() if noise.even else columns
        self.squares = self.columns.square()

    def masses(self, x, precision):
        """Likelihood of each atom, and the amplitude of a voxel for each.

        Parameters
        ----------
        x, precision : tensor of shape (n_voxels, n_measurements)
            Measurements, and 1 / sigma of each; 0 where there is none.

        Returns
        -------
        log_mass : tensor of shape (n_voxels, n_atoms)
            Logarithm of the integral of the likelihood over the amplitude, up to a constant.
        amplitude, precision : tensor of shape (n_voxels, n_atoms)
            Its mean, and one over its variance, before the limit to the range.
        """
        weight, pull = least_squares(self.noise, x, precision, self._best)
        return self._masses(weight, pull, self.columns, self.squares)

    def _best(self, weight, pull):
        # Only some of the atoms, as an expansion may begin anywhere near the optimum.
        columns, squares = (part[:, ::_EVERY].contiguous() for part in (self.columns, self.squares))
        log_mass, amplitude, _ = self._masses(weight, pull, columns, squares)
        best = log_mass.argmax(1, keepdim=True)
        scale = amplitude.gather(1, best).clamp_(self.low, self.high)
        return scale * columns.T[best[:, 0]]

    def _masses(self, weight, pull, columns, squares):
        along, size = pull @ columns, (weight @ squares).clamp_(min=_LEAST)
        amplitude = along / size
        inside = amplitude.clamp(self.low, self.high)
        gain = inside * torch.addcmul(along, inside, size, value=-0.5)
        # A normal density over a range is at most as wide as the range.
        width = (size / (2 * math.pi)).clamp_(min=(self.high - self.low) ** -2)
        return gain.add_(width.log_(), alpha=-0.5), amplitude, size

    def draw(self, x, precision, log_prior, unit):
        """Draw atoms by their posterior, and amplitudes.

        Parameters
        ----------
        x, precision
            Same as in `masses`.
        log_prior : tensor of shape (n_atoms,)
            Logarithms of the atoms' shares of the prior.
        unit : tensor of shape (n_points,)
            Points that fill the unit interval evenly, in a random order.

        Returns
        -------
        tissues : tensor of shape (n_parameters, n_voxels, n_points)
        log_weights : tensor of shape (n_voxels, n_points)
            Logarithms of the density of the prior over that of the draws.
        """
        log_mass, amplitude, size = self.masses(x, precision)
        share = torch.softmax(log_mass.add_(log_prior), 1)
        share.mul_(1 - _FLOOR).add_(log_prior.exp(), alpha=_FLOOR)
        atom = systematic(share, len(unit))
        drawn, volume = draw_truncated(
            unit, amplitude.gather(1, atom), size.gather(1, atom).rsqrt(), self.low, self.high
        )
        tissues = torch.stack([values[atom] for values in self.tissues])
        tissues[self.amplitude] = drawn
        log_weights = (volume / (self.high - self.low)).log_()
        return tissues, log_weights.add_(log_prior[atom]).sub_(share.gather(1, atom).log_())
