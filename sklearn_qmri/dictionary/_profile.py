"""Posteriors over a thousand fixed atoms, under any protocol, noise model and noise level.

For each atom the amplitude is eliminated: it has the value at which the likelihood of a voxel is
largest. The likelihood is that of the noise model to second order around the voxel's best atom, so
that all pairs of voxels and atoms together are a few matrix products. It is exact for Gaussian
noise. In all arrays, voxels and atoms may have a leading axis of protocols.
"""

import math
from typing import NamedTuple

import torch

from ._elimination import solve_small
from ._expansion import least_squares

_LOWEST = -60.0  # least logarithm to base 2 of a likelihood, relative to that of the best atom
_COARSE = 4  # of as many atoms, one is looked at first
# Voxels whose likelihoods are computed at once: with a thousand atoms they fit a processor's cache.
_CHUNK = 256
LEAST = 1e-20  # keeps divisions by sums over no measurement finite
_BITS = 2 * math.log(2)


class Nearest(NamedTuple):
    """Best atoms of voxels, and the likelihood around them.

    Attributes
    ----------
    best : int tensor of shape (n_voxels, 1)
        Index of the best atom.
    amplitude : tensor of shape (n_voxels, 1)
        Its amplitude, in the units of the signal.
    weight, residual : tensor of shape (n_voxels, n_measurements)
        To second order, a change s of the best atom's signal changes the log-likelihood by
        ``residual * s - weight * s^2 / 2``, summed over measurements.
    """

    best: torch.Tensor
    amplitude: torch.Tensor
    weight: torch.Tensor
    residual: torch.Tensor


class Posterior(NamedTuple):
    """Posteriors of voxels over the atoms, each of which is as likely before the measurement.

    Attributes
    ----------
    losses : tensor of shape (n_voxels, n_cells)
        By how much the log-likelihood of the first atom of each cell is below that of the best
        atom. It tells how far away even those atoms are whose likelihood is 0 to all digits.
    cells : tensor of shape (n_voxels, n_cells)
        Likelihood of each cell of atoms, relative to that of the best atom.
    size : tensor of shape (n_voxels, 1)
        Effective number of atoms: ``(sum p)^2 / sum p^2`` of their likelihoods p.
    mean, variance : tensor of shape (n_voxels, n_parameters)
        Moments of the parameters; the amplitude is relative to that of the best atom.
    likelihood, amplitudes : tensor of shape (n_voxels, n_likeliest)
        Likelihoods of the likeliest atoms, relative to that of the best one, and their amplitudes.
    index : int tensor of shape (n_voxels, n_likeliest)
        Which atoms those are.
    """

    losses: torch.Tensor
    cells: torch.Tensor
    size: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor
    likelihood: torch.Tensor
    amplitudes: torch.Tensor
    index: torch.Tensor

    @property
    def total(self):
        """Sum of the likelihoods of all atoms, (n_voxels, 1)."""
        return self.cells.sum(-1, keepdim=True)


def find_nearest(noise, x, precision, simulated):
    """Best atoms of voxels, with the amplitude of each atom eliminated.

    Parameters
    ----------
    noise : NoiseModel
    x : tensor of shape (n_voxels, n_measurements)
        Measurements.
    precision : tensor of shape (n_voxels, n_measurements)
        1 / sigma of each measurement; 0 where there is none.
    simulated : SimulatedAtoms

    Returns
    -------
    Nearest
    """
    return _find(noise, x, precision, simulated, _best)[0]


def find_posterior(noise, x, precision, simulated, n_likeliest=0):
    """Best atoms of voxels, and posteriors over all atoms.

    Parameters
    ----------
    noise, x, precision, simulated
        Same as `find_nearest`.
    n_likeliest : int, default=0
        Number of atoms whose own likelihoods are returned.

    Returns
    -------
    Nearest
    Posterior
    """

    def look(atoms, gain, half):
        best, amplitude = _best(atoms, gain, half)
        return best, amplitude, *_weigh(atoms, gain, half, best, amplitude, n_likeliest)

    found, parts = _find(noise, x, precision, simulated, look)
    return found, Posterior(*parts)


def _find(noise, x, precision, simulated, look):
    """Expand the likelihood, eliminate amplitudes, and look at the atoms' gains, in chunks.

    Returns
    -------
    Nearest
    list of tensor
        Results of `look` behind the first two.
    """
    atoms, columns, _ = simulated
    doubled = _BITS * columns.square()
    few = max(len(atoms.tissues) // _COARSE, atoms.n_cells)

    def fit(weight, pull):
        # Only some of the atoms, as an expansion may begin anywhere near the optimum.
        best, amplitude = _chunked(_best, atoms, pull, weight, columns, doubled, few)
        return amplitude * rows_at(columns, best)

    weight, pull = least_squares(noise, x, precision, fit)
    best, amplitude, *parts = _chunked(look, atoms, pull, weight, columns, doubled)
    signal = amplitude * rows_at(columns, best)
    return Nearest(best, amplitude, weight, pull - weight * signal), parts


def _chunked(look, atoms, pull, weight, columns, doubled, few=None):
    """Results of a look at the gains of the first few atoms, or of all, chunk by chunk.

    The gain in log-likelihood of an atom with the column c at an amplitude A, over no signal, is
    ``A p - A^2 q / 2``, with the sums p of pull * c and q of weight * c^2. It is largest at
    A = p / q, where it is ``p A / 2``. In bits, which `exp2` takes, that is p h with
    ``h = p / (2 ln(2) q)``, and A is ``2 ln(2) h``.
    """
    columns, doubled = columns[..., :few, :].mT, doubled[..., :few, :].mT
    chunks = []
    for p, w in zip(pull.split(_CHUNK, -2), weight.split(_CHUNK, -2), strict=True):
        along = (p @ columns).clamp_(min=0)
        half = along / (w @ doubled).clamp_(min=LEAST)
        chunks.append(look(atoms, along.mul_(half), half))
    return [torch.cat(parts, -2) for parts in zip(*chunks, strict=True)]


def _best(atoms, gain, half):
    """Index of the best atom and its amplitude, both (n_voxels, 1)."""
    # Neighbours in memory are of different cells. A maximum over an axis that is not the last one
    # takes a sixth of the time of a search along all atoms, so the best cell is found first.
    by_cell = gain.unflatten(-1, (-1, atoms.n_cells))
    cell = by_cell.amax(-2).argmax(-1, keepdim=True)
    wanted = cell[..., None, :].expand(*by_cell.shape[:-1], 1)
    best = by_cell.gather(-1, wanted)[..., 0].argmax(-1, keepdim=True) * atoms.n_cells + cell
    return best, _BITS * half.gather(-1, best)


def _weigh(atoms, gain, half, best, amplitude, n_likeliest):
    """Fields of a `Posterior`; `gain` is overwritten."""
    gain.sub_(gain.gather(-1, best))
    losses = -math.log(2) * gain[..., : atoms.n_cells]
    # Numbers too small for single precision would be slow, and do not count.
    likelihood = gain.clamp_(min=_LOWEST).exp2_()
    cells = likelihood.unflatten(-1, (-1, atoms.n_cells)).sum(-2)
    total = cells.sum(-1, keepdim=True)
    tissues = torch.as_tensor(atoms.tissues.T, dtype=total.dtype)
    # A product with few columns is slow, one with few rows is not.
    sums = (torch.cat([tissues, tissues.square()]) @ likelihood.mT).mT / total
    mean, square = sums.chunk(2, -1)
    mean = mean.clone()
    variance = (square - mean.square()).clamp(min=0)
    middle = _BITS * torch.linalg.vecdot(likelihood, half)[..., None] / total
    mean[..., atoms.amplitude] = (middle / amplitude.clamp(min=LEAST))[..., 0]
    size = total.square() / torch.linalg.vecdot(likelihood, likelihood)[..., None]
    top, index = likelihood.topk(n_likeliest, -1)
    return losses, cells, size, mean, variance, top, _BITS * half.gather(-1, index), index


def rows_at(rows, index):
    """Rows (n_atoms, ...) at an index (n_voxels, 1), which may both have a leading axis."""
    # `gather` takes one index per value, so further axes are flattened.
    flat = rows.flatten(index.ndim - 1)
    taken = flat.gather(-2, index.expand(*index.shape[:-1], flat.shape[-1]))
    return taken.unflatten(-1, rows.shape[index.ndim - 1 :])


def step_from_best(atoms, found, slopes):
    """One step of Newton's method from the best atom, with the atoms' variance as a prior's.

    Parameters
    ----------
    atoms : Atoms
    found : Nearest
    slopes : tensor of shape (n_atoms, n_measurements, n_parameters)
        Derivatives of the atoms' signals by the coordinates.

    Returns
    -------
    step, deviation : tensor of shape (n_voxels, n_parameters)
        Step in coordinates, and standard deviations around its end.
    """
    # Voxels are the last axes of small systems, by which operations on many of them are fast.
    slope = (rows_at(slopes, found.best) * found.amplitude[..., None]).movedim((-1, -2), (0, 1))
    slope = slope.contiguous()
    weighted = slope * found.weight.movedim(-1, 0)
    gradient = (slope * found.residual.movedim(-1, 0)).sum(1)
    information = (weighted[:, None] * slope).sum(2)
    information.diagonal().add_(torch.as_tensor(1 / atoms.variance(), dtype=slope.dtype))
    step, variance, _ = solve_small(information, gradient)
    return step.movedim(0, -1), variance.clamp(min=0).sqrt().movedim(0, -1)
