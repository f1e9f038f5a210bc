"""Posteriors over a thousand fixed atoms, under any protocol, noise model and noise level.

For each atom the amplitude is eliminated: it has the value at which the likelihood of a voxel is
largest. The likelihood is that of the noise model to second order around the voxel's best atom, so
that all pairs of voxels and atoms together are a few matrix products. It is exact for Gaussian
noise. In all arrays, voxels and atoms may have a leading axis of protocols.
"""

from typing import NamedTuple

import torch

from ._elimination import solve_small

_LOWEST = -40.0  # least logarithm of a likelihood, relative to that of the best atom
_COARSE = 4  # of as many atoms, one is looked at first
_AWAY = 1.5  # distance between signals, in units of sigma, over which a curvature is measured
_APART = 16  # of as many atoms, the loss of one is kept
LEAST = 1e-20  # keeps divisions by sums over no measurement finite


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
    # Then the expansion around the best atom's signal a. With the gradient g of the loss and a
    # curvature h, the loss of a signal s is g (s - a) + h (s - a)^2 / 2 and a constant. It is that
    # of least squares with the weight h and the data a - g / h.
    gradient, curvature = _expand(noise, scaled, signal * precision)
    weight = weight * curvature
    pull = weight * signal - gradient * precision
    gain, amplitudes, best = _eliminate(pull, weight, columns, squares)
    signal = amplitudes.gather(-1, best) * rows_at(columns, best)
    gain.sub_(gain.gather(-1, best))
    losses = -gain[..., ::_APART]
    # Numbers too small for single precision would be slow, and do not count.
    likelihood = gain.clamp_(min=_LOWEST).exp_()
    return Profile(likelihood, losses, amplitudes, best, weight, pull - weight * signal)


def _expand(noise, x, signal):
    """Gradient and curvature of the loss at signals in units of sigma.

    The curvature is the expected information. Where a magnitude is at the noise floor, that is 0,
    although much larger signals are unlikely. Then it is the curvature of the parabola through the
    loss at the signal and `_AWAY` above it.
    """
    loss, gradient, _ = noise.derivatives(x, signal)
    above = noise.derivatives(x, signal + _AWAY)[0]
    secant = 2 * (above - loss - gradient * _AWAY) / _AWAY**2
    information = torch.as_tensor(noise.information(signal.numpy()), dtype=x.dtype)
    # No noise model bends more than a normal one: a curvature beyond 1 comes from rounding.
    return gradient, torch.maximum(information, secant.clamp(max=1))


def _eliminate(pull, weight, columns, squares):
    """Gain in log-likelihood over no signal of each atom, its amplitude, and the best atom.

    The gain of an atom with the column c at an amplitude A is ``A p - A^2 q / 2``, with the sums p
    of pull * c and q of weight * c^2. It is largest at A = p / q, where it is ``p A / 2``.
    """
    along = (pull @ columns.mT).clamp_(min=0)
    amplitudes = along / (weight @ squares.mT).clamp_(min=LEAST)
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
    relative = amplitude / found.amplitude.clamp(min=LEAST)
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
