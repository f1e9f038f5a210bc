"""Posteriors over a thousand fixed atoms, under any protocol, noise model and noise level.

For each atom the amplitude is eliminated: it has the value at which the likelihood of a voxel is
largest. The likelihood is that of the noise model to second order around the voxel's best atom, so
that all pairs of voxels and atoms together are a few matrix products. It is exact for Gaussian
noise. In all arrays, voxels and atoms may have a leading axis of protocols.
"""

from typing import NamedTuple

import numpy as np
import torch

from ._cube import fill_cube
from ._elimination import solve_small

_LOWEST = -40.0  # least logarithm of a likelihood, relative to that of the best atom
_COARSE = 4  # of as many atoms, one is looked at first
_HAIR = 1e-6  # least width of a range, as a share of its values
_APART = 16  # of as many atoms, the loss of one is kept
_LEAST = 1e-20  # keeps divisions by sums over no measurement finite


class Atoms(NamedTuple):
    """Tissues of amplitude 1 that fill ranges evenly, sorted into compact cells of equal size.

    Coordinates are the parameters or, where these are on a logarithmic axis, their logarithms. The
    coordinate of the amplitude is always its logarithm.

    Attributes
    ----------
    tissues : ndarray of shape (n_atoms, n_parameters)
    ranges : ndarray of shape (2, n_parameters)
    log : bool ndarray of shape (n_parameters,)
        Whether each coordinate is a logarithm.
    amplitude : int
        Column of the amplitude.
    n_cells : int
    """

    tissues: np.ndarray
    ranges: np.ndarray
    log: np.ndarray
    amplitude: int
    n_cells: int

    def coordinates(self, tissues):
        """Coordinates of tissues (n, n_parameters)."""
        return np.where(self.log, np.log(np.where(self.log, tissues, 1.0)), tissues)

    def variance(self):
        """Variances of coordinates that fill the ranges; 1 for that of the amplitude."""
        low, high = self.coordinates(self.ranges)
        variance = (high - low) ** 2 / 12
        variance[self.amplitude] = 1.0
        return variance


def make_atoms(signal_model, ranges, n_atoms, n_cells):
    """Fill ranges with atoms.

    Parameters
    ----------
    signal_model : SignalModel
        Signal model with one amplitude.
    ranges : ndarray of shape (2, n_parameters)
        Those of the amplitude do not matter.
    n_atoms, n_cells : int, powers of 2

    Returns
    -------
    Atoms

    Raises
    ------
    ValueError
        If the signal model has no amplitude, or several.
    """
    amplitudes = [j for j, p in enumerate(signal_model.parameters) if p.amplitude]
    if len(amplitudes) != 1:
        raise ValueError(
            f"Networks for any protocol expect a signal model with one amplitude, got "
            f"{signal_model!r} with {len(amplitudes)}."
        )
    amplitude = amplitudes[0]
    ranges = ranges.copy()
    # A range of one value gets a width by which values in it can be divided.
    ranges[1] = np.maximum(ranges[1], ranges[0] + _HAIR * np.maximum(np.abs(ranges[0]), 1.0))
    ranges[:, amplitude] = 1.0
    log = np.array([p.log for p in signal_model.parameters]) & (ranges[0] > 0)
    log[amplitude] = True
    unit = np.insert(fill_cube(len(log) - 1, n_cells, n_atoms), amplitude, 0.0, axis=1)
    return Atoms(place(unit, ranges, log), ranges, log, amplitude, n_cells)


def place(unit, ranges, log):
    """Parameters at positions (n, n_parameters) from 0 to 1 of ranges (2, n_parameters)."""
    low, high = ranges
    ratio = np.where(log, high / np.where(log, low, 1.0), 1.0)
    return np.where(log, low * ratio**unit, low + (high - low) * unit)


def signals_and_slopes(signal_model, tissues, log):
    """Signals of tissues, and their derivatives by the coordinates, see `Atoms`.

    Returns
    -------
    signal : tensor of shape (n_tissues, n_measurements)
    slopes : tensor of shape (n_tissues, n_measurements, n_parameters)
    """
    with torch.no_grad():
        theta = torch.as_tensor(np.ascontiguousarray(tissues.T))
        signal, jacobian = signal_model.jacobian(theta)
        # By the chain rule, the derivative by log(theta) is theta times that by theta.
        jacobian *= torch.where(torch.as_tensor(log)[:, None], theta, 1.0)[:, None]
    return signal.T, jacobian.permute(2, 1, 0)


class SimulatedAtoms(NamedTuple):
    """Atoms under one protocol, in single precision; tensors may have an axis of protocols.

    Attributes
    ----------
    atoms : Atoms
    columns : tensor of shape (n_atoms, n_measurements)
        Signals; their magnitudes if the likelihood is even in the signal.
    slopes : tensor of shape (n_atoms, n_measurements, n_parameters)
        Derivatives by the coordinates.
    """

    atoms: Atoms
    columns: torch.Tensor
    slopes: torch.Tensor


def simulate_atoms(atoms, signal_model, noise):
    """Simulate atoms under the protocol of a signal model."""
    signal, slopes = signals_and_slopes(signal_model, atoms.tissues, atoms.log)
    if noise.even:
        slopes, signal = slopes * torch.sign(signal)[..., None], signal.abs()
    return SimulatedAtoms(atoms, signal.float(), slopes.float())


class Profile(NamedTuple):
    """Likelihoods of voxels under atoms.

    Attributes
    ----------
    likelihood : tensor of shape (n_voxels, n_atoms)
        Relative to that of the best atom.
    losses : tensor of shape (n_voxels, n_atoms / 16)
        By how much the log-likelihood of every sixteenth atom is below that of the best one. It
        tells how far away even those atoms are whose likelihood is 0 to all digits.
    amplitudes : tensor of shape (n_voxels, n_atoms)
        Amplitude of each atom, in the units of the signal.
    best : int tensor of shape (n_voxels, 1)
        Index of the best atom.
    weight, residual : tensor of shape (n_voxels, n_measurements)
        To second order, a change s of the best atom's signal changes the log-likelihood by
        ``residual * s - weight * s^2 / 2``, summed over measurements.
    """

    likelihood: torch.Tensor
    losses: torch.Tensor
    amplitudes: torch.Tensor
    best: torch.Tensor
    weight: torch.Tensor
    residual: torch.Tensor

    @property
    def amplitude(self):
        """Amplitude of the best atom, (n_voxels, 1)."""
        return self.amplitudes.gather(-1, self.best)


def profile(noise, x, precision, columns):
    """Likelihoods of voxels under atoms, with the amplitude of each eliminated.

    Parameters
    ----------
    noise : NoiseModel
    x : tensor of shape (n_voxels, n_measurements)
        Measurements.
    precision : tensor of shape (n_voxels, n_measurements)
        1 / sigma of each measurement; 0 where there is none.
    columns : tensor of shape (n_atoms, n_measurements)
        Signals of the atoms. Where the likelihood is even in the signal, their magnitudes.

    Returns
    -------
    Profile
    """
    scaled = x * precision
    squares = columns.square()
    # First without second derivatives: least squares of the measurements without their bias, and
    # only some of the atoms, as an expansion may begin anywhere near the optimum.
    weight, some = precision.square(), columns[..., ::_COARSE, :]
    pull = noise.without_bias(scaled) * precision
    _, amplitudes, best = _eliminate(pull, weight, some, squares[..., ::_COARSE, :])
    signal = amplitudes.gather(-1, best) * rows_at(some, best)
    # Then the expansion around the best atom's signal a. With the gradient g of the loss and the
    # expected information h, the loss of a signal s is g (s - a) + h (s - a)^2 / 2 and a constant.
    # It is that of least squares with the weight h and the data a - g / h.
    gradient = noise.derivatives(scaled, signal * precision)[1] * precision
    information = noise.information((signal * precision).numpy())
    weight = weight * torch.as_tensor(information, dtype=x.dtype)
    pull = weight * signal - gradient
    gain, amplitudes, best = _eliminate(pull, weight, columns, squares)
    signal = amplitudes.gather(-1, best) * rows_at(columns, best)
    gain.sub_(gain.gather(-1, best))
    losses = -gain[..., ::_APART]
    # Numbers too small for single precision would be slow, and do not count.
    likelihood = gain.clamp_(min=_LOWEST).exp_()
    return Profile(likelihood, losses, amplitudes, best, weight, pull - weight * signal)


def _eliminate(pull, weight, columns, squares):
    """Gain in log-likelihood over no signal of each atom, its amplitude, and the best atom.

    The gain of an atom with the column c at an amplitude A is ``A p - A^2 q / 2``, with the sums p
    of pull * c and q of weight * c^2. It is largest at A = p / q, where it is ``p A / 2``.
    """
    along = (pull @ columns.mT).clamp_(min=0)
    amplitudes = along / (weight @ squares.mT).clamp_(min=_LEAST)
    gain = along.mul_(amplitudes).mul_(0.5)
    return gain, amplitudes, gain.argmax(-1, keepdim=True)


def rows_at(rows, index):
    """Rows (n_atoms, ...) at an index (n_voxels, 1), which may both have a leading axis."""
    # `gather` takes one index per value, so further axes are flattened.
    flat = rows.flatten(index.ndim - 1)
    taken = flat.gather(-2, index.expand(*index.shape[:-1], flat.shape[-1]))
    return taken.unflatten(-1, rows.shape[index.ndim - 1 :])


class Moments(NamedTuple):
    """Posteriors over the atoms, each of which is as likely before the measurement.

    Attributes
    ----------
    cells : tensor of shape (n_voxels, n_cells)
        Probability of each cell of atoms.
    size : tensor of shape (n_voxels, 1)
        Effective number of atoms: ``(sum p)^2 / sum p^2`` of their probabilities p.
    mean, variance : tensor of shape (n_voxels, n_parameters)
        Moments of the parameters; the amplitude is relative to that of the best atom.
    """

    cells: torch.Tensor
    size: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor


def posterior_moments(atoms, found):
    """Moments of the posteriors of a `Profile` over its `Atoms`."""
    cells = found.likelihood.unflatten(-1, (atoms.n_cells, -1)).sum(-1)
    total = cells.sum(-1, keepdim=True)
    tissues = torch.as_tensor(atoms.tissues, dtype=total.dtype)
    sums = found.likelihood @ torch.cat([tissues, tissues.square()], 1) / total
    mean, square = sums.chunk(2, -1)
    variance = (square - mean.square()).clamp(min=0)
    amplitude = _dot(found.likelihood, found.amplitudes) / total
    relative = amplitude / found.amplitude.clamp(min=_LEAST)
    mean[..., atoms.amplitude] = relative[..., 0]
    size = total.square() / _dot(found.likelihood, found.likelihood)
    return Moments(cells / total, size, mean, variance)


def _dot(a, b):
    """Sums of the products of two tensors over the last axis, (n_voxels, 1), in one pass."""
    return (a[..., None, :] @ b[..., None])[..., 0]


def step_from_best(atoms, found, slopes):
    """One step of Newton's method from the best atom, with the atoms' variance as a prior's.

    Parameters
    ----------
    atoms : Atoms
    found : Profile
    slopes : tensor of shape (n_atoms, n_measurements, n_parameters)
        Derivatives of the atoms' signals by the coordinates.

    Returns
    -------
    step, deviation : tensor of shape (n_voxels, n_parameters)
        Step in coordinates, and standard deviations around its end.
    """
    slope = rows_at(slopes, found.best) * found.amplitude[..., None]
    prior = torch.as_tensor(1 / atoms.variance(), dtype=slope.dtype)
    information = (slope * found.weight[..., None]).mT @ slope + torch.diag(prior)
    gradient = (slope.mT @ found.residual[..., None])[..., 0]
    # The axes of the systems come first.
    step, variance, _ = solve_small(information.movedim((-2, -1), (0, 1)), gradient.movedim(-1, 0))
    return step.movedim(0, -1), variance.clamp(min=0).sqrt().movedim(0, -1)
