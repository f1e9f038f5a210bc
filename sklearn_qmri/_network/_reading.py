"""Posteriors over atoms in the form that a network takes, whatever the protocol."""

from typing import NamedTuple

import numpy as np
import torch

from ..dictionary import (
    Nearest,
    Posterior,
    find_nearest,
    find_posterior,
    rows_at,
    step_from_best,
)
from ..noise import columns_of

# Rows are read in blocks of exactly this many: their arrays fit into a processor's cache, and a
# row's result does not depend on the rows beside it, see `FittedNetwork`.
_ROWS = 2048
_RAREST = 1e-4  # cells with less probability than this are alike to the network
_FARTHEST = 5.0  # longest way to the nearby optimum that is an input, in standard deviations
_NARROWEST = 1e-6  # smallest variance of a posterior, as a share of the squared range
_RELATIVE = 0.5  # largest change of the logarithm of the amplitude in a step from the best atom


class Reading(NamedTuple):
    """Posteriors of voxels, as tensors with one row per voxel.

    Attributes
    ----------
    inputs : tensor of shape (n_voxels, n_inputs)
        Network inputs.
    mean, std : tensor of shape (n_voxels, n_parameters)
        Moments of the posterior, in the units of the parameters.
    misfit : tensor of shape (n_voxels,)
        Squared residuals near the best atom, in units of the variance, summed.
    nearest : Nearest
    posterior : Posterior
    """

    inputs: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    misfit: torch.Tensor
    nearest: Nearest
    posterior: Posterior


def read(simulated, noise, x, precision, n_likeliest=0):
    """Posteriors of voxels over atoms.

    Parameters
    ----------
    simulated : SimulatedAtoms
    noise : NoiseModel
    x, precision : tensor of shape (n_voxels, n_measurements)
        Measurements, and 1 / sigma of each; 0 where there is none.
    n_likeliest : int, default=0
        Number of atoms whose own likelihoods are returned.

    Returns
    -------
    Reading
    """
    atoms = simulated.atoms
    found, posterior = find_posterior(noise, x, precision, simulated, n_likeliest)
    step, deviation = step_from_best(atoms, found, simulated.slopes)
    amplitude = torch.arange(len(atoms.log)) == atoms.amplitude
    log, (low, high) = torch.as_tensor(atoms.log), torch.as_tensor(atoms.ranges).float()
    spread = torch.where(amplitude, 1.0, high - low)
    least, most, start, end = _within_range(atoms, found, step)
    optimum = torch.where(log, end.exp(), end)
    # Standard deviations of parameters, as d(theta) = theta * d(log(theta)), and of the posterior:
    # where it is between atoms, they know less of it than its own width.
    local = torch.minimum(deviation * torch.where(log, optimum, 1.0), spread)
    std = (posterior.variance + local.square()).sqrt()
    way = optimum - posterior.mean
    # Where few atoms count, the posterior is narrower than they are apart, and near the optimum.
    mean = posterior.mean + way / posterior.size.square()
    centered = torch.where(amplitude, mean - 1, (mean - low) / spread)
    other = ~amplitude
    parts = (
        (posterior.cells / posterior.total + _RAREST).log(),
        centered,
        (std / spread).log(),
        (deviation / (most - least)).log(),
        (posterior.variance / spread.square() + _NARROWEST).log()[..., other],
        (way / std).clamp(-_FARTHEST, _FARTHEST),
        ((end - least) / (most - least))[..., other],
        posterior.size.log(),
        posterior.losses.log1p(),
    )
    size = torch.where(amplitude, found.amplitude, 1.0)
    misfit = _misfit(simulated, found, end - start)
    return Reading(torch.cat(parts, -1), mean * size, std * size, misfit, found, posterior)


def misfit_of_nearest(simulated, noise, x, precision):
    """Squared residuals near the best atom, in units of the variance, summed, (n_voxels,).

    Parameters
    ----------
    simulated, noise, x, precision
        Same as `read`.
    """
    found = find_nearest(noise, x, precision, simulated)
    step, _ = step_from_best(simulated.atoms, found, simulated.slopes)
    _, _, start, end = _within_range(simulated.atoms, found, step)
    return _misfit(simulated, found, end - start)


def _within_range(atoms, found, step):
    """Coordinates of the atoms' range, of the best atom, and of the end of a step in the range."""
    free = _RELATIVE * (torch.arange(len(atoms.log)) == atoms.amplitude)
    least, most = torch.as_tensor(atoms.coordinates(atoms.ranges)).float()
    least, most = least - free, most + free
    start = torch.as_tensor(atoms.coordinates(atoms.tissues)).float()[found.best[..., 0]]
    return least, most, start, torch.minimum(torch.maximum(start + step, least), most)


def _misfit(simulated, found, step):
    """Squared residuals after a step from the best atom, to second order."""
    slopes = rows_at(simulated.slopes, found.best)
    moved = (slopes @ step[..., None])[..., 0] * found.amplitude
    left = found.residual - found.weight * moved
    # With the weight h the residual of the signal is left / h, and its variance is 1 / h.
    return torch.where(found.weight > 0, left.square() / found.weight, 0.0).sum(-1)


def blocks(X, sigma):
    """Blocks of exactly as many rows, of which the last is completed by copies of its first row.

    Parameters
    ----------
    X : ndarray of shape (n_voxels, n_measurements)
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        Noise levels; infinity where there is no measurement.

    Yields
    ------
    rows : slice
        Rows of X in the block.
    x, precision : tensor of shape (_ROWS, n_measurements)
        Measurements, and 1 / sigma of each.
    """
    sigma = np.broadcast_to(columns_of(sigma), X.shape)
    for i in range(0, len(X), _ROWS):
        rows = slice(i, i + _ROWS)
        yield rows, _block(X[rows]), _block(1 / sigma[rows])


def _block(rows):
    """Single-precision tensor of exactly _ROWS rows."""
    missing = _ROWS - len(rows)
    rows = np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]) if missing else rows
    return torch.as_tensor(rows, dtype=torch.float32)
