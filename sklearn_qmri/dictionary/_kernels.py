"""Means of posteriors that are narrower than atoms are apart.

Each atom stands for the tissues around it, its kernel: a normal distribution of coordinates, about
as wide as atoms are apart. All kernels together are nearly the even prior that the atoms fill. For
the few atoms with the largest likelihoods, the posterior within the kernel is taken as normal: its
center is the end of one step of Newton's method from the atom, its height the likelihood there, and
its width follows from the Fisher information. All other atoms count as points.

Arrays have pairs of voxels and kernels along their last axis, by which operations on many small
matrices are fast.
"""

from typing import NamedTuple

import numpy as np
import torch

from ._atoms import magnitudes, signals_and_slopes
from ._elimination import solve_small
from ._profile import LEAST, rows_at

N_KERNELS = 16  # likeliest atoms of a voxel that are kernels
# Standard deviation of a kernel, as a share of the distance between atoms. That of a uniform
# distribution is .29 of its width. A wider kernel leaves no gaps between atoms that lie unevenly.
_WIDTH = 0.45
# Largest logarithm of the share of other atoms over that of the kernels. It is only reached where
# single precision rounds the likelihood, thousands of sigma from any tissue.
_MOST = 30.0
_WIDEST = 0.5  # largest variance of a logarithm that moves the mean of its exponential


class _Data(NamedTuple):
    """Weights and weighted data of least squares (n_measurements, n_pairs), see `Nearest`."""

    weight: torch.Tensor
    pull: torch.Tensor

    def fit(self, signal):
        """Amplitude of a signal with the largest likelihood, and its gain over no signal."""
        along = (self.pull * signal).sum(0).clamp(min=0)
        amplitude = along / (self.weight * signal.square()).sum(0).clamp(min=LEAST)
        return amplitude, along * amplitude / 2

    def expand(self, amplitude, signal, slope):
        """Gradient and information of the log-likelihood by the coordinates.

        At the best amplitude the gradient by the amplitude is 0. With the information q of the
        amplitude, h between amplitude and coordinates, and H of the coordinates, that of
        coordinates whose amplitude follows them is H - h h^T / q.
        """
        slope = slope * amplitude
        gradient = ((self.pull - self.weight * signal * amplitude) * slope).sum(1)
        weighted = self.weight * slope
        cross = (weighted * signal).sum(1)
        own = (self.weight * signal.square()).sum(0).clamp(min=LEAST)
        information = (weighted[:, None] * slope[None]).sum(2)
        return gradient, information - cross[:, None] * cross[None] / own


class _Kernels(NamedTuple):
    """Posteriors within kernels, all of which are n_pairs.

    Attributes
    ----------
    evidence : tensor of shape (n_pairs,)
        Logarithm of the integral of the likelihood over the kernel.
    tissues : tensor of shape (n_parameters, n_pairs)
        Means.
    """

    evidence: torch.Tensor
    tissues: torch.Tensor


def mean_over_kernels(simulated, signal_model, noise, nearest, posterior):
    """Means of posteriors over the kernels of atoms.

    Parameters
    ----------
    simulated : SimulatedAtoms
    signal_model : SignalModel
    noise : NoiseModel
    nearest : Nearest
    posterior : Posterior
        With its likeliest atoms, which are the kernels.

    Returns
    -------
    tensor of shape (n_voxels, n_parameters)
    """
    atoms, index = simulated.atoms, posterior.index
    best = nearest.amplitude * rows_at(simulated.columns, nearest.best)
    pull = nearest.residual + nearest.weight * best
    n_kernels = index.shape[-1]
    data = _Data(*(part.T.repeat_interleave(n_kernels, 1) for part in (nearest.weight, pull)))
    amplitudes = posterior.amplitudes.flatten()
    inside = _within(simulated, signal_model, noise, data, index.flatten(), amplitudes)
    # Likelihoods are relative to that of the best atom, whose gain is half of pull * signal.
    evidence = inside.evidence.unflatten(0, index.shape) - (pull * best).sum(-1, keepdim=True) / 2
    top = evidence.amax(-1, keepdim=True)
    kernels = (evidence - top).exp()
    # All atoms but the kernels.
    points = (posterior.total - posterior.likelihood.sum(-1, keepdim=True)).clamp(min=0)
    tissues = torch.as_tensor(atoms.tissues).float()[index]
    tissues[..., atoms.amplitude] = posterior.amplitudes
    unit = torch.where(torch.arange(len(atoms.log)) == atoms.amplitude, nearest.amplitude, 1.0)
    sums = posterior.total * posterior.mean * unit
    sums -= (posterior.likelihood[..., None] * tissues).sum(-2)
    scale = (-top).clamp(max=_MOST).exp()
    sums = sums * scale + (inside.tissues.unflatten(1, index.shape) * kernels).sum(-1).T
    return sums / (kernels.sum(-1, keepdim=True) + points * scale)


def _within(simulated, signal_model, noise, data, pairs, amplitude):
    """Posteriors within the kernels of atoms `pairs` (n_pairs,), which have these amplitudes."""
    atoms, columns, slopes = simulated
    free = np.flatnonzero(np.arange(len(atoms.log)) != atoms.amplitude)
    log = torch.as_tensor(atoms.log[free])[:, None]
    least, most = torch.as_tensor(atoms.coordinates(atoms.ranges)[:, free]).float()[..., None]
    spread = _WIDTH * len(atoms.tissues) ** (-1 / len(free)) * (most - least)
    narrow = torch.diag(spread[:, 0] ** -2)[..., None]
    start = torch.as_tensor(atoms.coordinates(atoms.tissues)[:, free].T).float()[:, pairs]
    slope = slopes[..., free].permute(2, 1, 0)[..., pairs]
    gradient, information = data.expand(amplitude, columns.T[:, pairs], slope)
    step, _, _ = solve_small(information + narrow, gradient)
    center = torch.minimum(torch.maximum(start + step, least), most)
    tissues = torch.ones(len(atoms.log), len(pairs))
    tissues[free] = torch.where(log, center.exp(), center)
    signal, slope = magnitudes(noise, *signals_and_slopes(signal_model, tissues, atoms.log))
    amplitude, gain = data.fit(signal)
    _, information = data.expand(amplitude, signal, slope[free])
    _, variance, log_determinant = solve_small(information + narrow, step)
    # Integral over the kernel: exp(gain) at the center, by the heights and widths of two normals.
    away = ((center - start) / spread).square().sum(0)
    evidence = gain - (away + log_determinant) / 2 - spread.log().sum()
    # The mean of the exponential of a normal variable is exp(mean + variance / 2).
    tissues[free] = torch.where(log, (center + variance.clamp(max=_WIDEST) / 2).exp(), center)
    tissues[atoms.amplitude] = amplitude
    return _Kernels(evidence, tissues)
