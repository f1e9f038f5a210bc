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

from ._elimination import solve_small
from ._profile import rows_at

_N_KERNELS = 16
# Standard deviation of a kernel, as a share of the distance between atoms. That of a uniform
# distribution is .29 of its width. A wider kernel leaves no gaps between atoms that lie unevenly.
_WIDTH = 0.45
_WIDEST = 0.5  # largest variance of a logarithm that moves the mean of its exponential
_LEAST = 1e-20  # keeps divisions by sums over no measurement finite


class _Data(NamedTuple):
    """Weights and weighted data of least squares (n_measurements, n_pairs), see `Profile`."""

    weight: torch.Tensor
    pull: torch.Tensor

    def fit(self, signal):
        """Amplitude of a signal with the largest likelihood, and its gain over no signal."""
        along = (self.pull * signal).sum(0).clamp(min=0)
        amplitude = along / (self.weight * signal.square()).sum(0).clamp(min=_LEAST)
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
        own = (self.weight * signal.square()).sum(0).clamp(min=_LEAST)
        information = (weighted[:, None] * slope[None]).sum(2)
        return gradient, information - cross[:, None] * cross[None] / own


def mean_over_kernels(simulated, signal_model, even, found):
    """Means of posteriors over the kernels of atoms.

    Parameters
    ----------
    simulated : SimulatedAtoms
    signal_model : SignalModel
    even : bool
        Whether the likelihood is even in the signal, so that only its magnitude counts.
    found : Profile

    Returns
    -------
    tensor of shape (n_voxels, n_parameters)
    """
    atoms, columns, slopes = simulated
    free = np.flatnonzero(np.arange(len(atoms.log)) != atoms.amplitude)
    log = torch.as_tensor(atoms.log[free])[:, None]
    least, most = torch.as_tensor(atoms.coordinates(atoms.ranges)[:, free]).float()[..., None]
    spread = _WIDTH * len(atoms.tissues) ** (-1 / len(free)) * (most - least)
    narrow = torch.diag(spread[:, 0] ** -2)[..., None]
    best = found.amplitude * rows_at(columns, found.best)
    likelihood, index = found.likelihood.topk(_N_KERNELS, -1)
    data = _Data(
        found.weight.T.repeat_interleave(_N_KERNELS, 1),
        (found.residual + found.weight * best).T.repeat_interleave(_N_KERNELS, 1),
    )
    pairs = index.flatten()
    start = torch.as_tensor(atoms.coordinates(atoms.tissues)[:, free].T).float()[:, pairs]
    amplitude = found.amplitudes.gather(-1, index).flatten()
    slope = slopes[..., free].permute(2, 1, 0)[..., pairs]
    gradient, information = data.expand(amplitude, columns.T[:, pairs], slope)
    step, _, _ = solve_small(information + narrow, gradient)
    center = torch.minimum(torch.maximum(start + step, least), most)
    tissues = torch.ones(len(atoms.log), len(pairs))
    tissues[free] = torch.where(log, center.exp(), center)
    signal, slope = _simulate(signal_model, even, tissues, free, log)
    amplitude, gain = data.fit(signal)
    _, information = data.expand(amplitude, signal, slope)
    _, variance, log_determinant = solve_small(information + narrow, step)
    # Integral over the kernel: exp(gain) at the center, by the heights and widths of two normals.
    away = ((center - start) / spread).square().sum(0)
    evidence = gain - (away + log_determinant) / 2 - spread.log().sum()
    # The mean of the exponential of a normal variable is exp(mean + variance / 2).
    tissues[free] = torch.where(log, (center + variance.clamp(max=_WIDEST) / 2).exp(), center)
    tissues[atoms.amplitude] = amplitude
    # Likelihoods are relative to that of the best atom, whose gain is that of its best amplitude.
    highest = (data.pull.unflatten(1, index.shape)[..., 0].T * best).sum(-1, keepdim=True) / 2
    evidence = evidence.unflatten(0, index.shape) - highest
    top = evidence.amax(-1, keepdim=True).clamp(min=0)
    kernels = (evidence - top).exp()
    points = found.likelihood.scatter(-1, index, 0.0) * (-top).exp()
    sums = points @ torch.as_tensor(atoms.tissues).float()
    sums[:, atoms.amplitude] = (points * found.amplitudes).sum(-1)
    sums += (tissues.unflatten(1, index.shape) * kernels).sum(-1).T
    return sums / (kernels.sum(-1, keepdim=True) + points.sum(-1, keepdim=True))


def _simulate(signal_model, even, tissues, free, log):
    """Signals of tissues (n_measurements, n_pairs), and their derivatives by the coordinates."""
    with torch.no_grad():
        signal, jacobian = signal_model.jacobian(tissues)
    # By the chain rule, the derivative by log(theta) is theta times that by theta.
    slope = jacobian[free] * torch.where(log, tissues[free], 1.0)[:, None]
    return (signal.abs(), slope * torch.sign(signal)) if even else (signal, slope)
