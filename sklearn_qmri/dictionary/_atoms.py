"""Atoms: tissues that fill ranges evenly, and their signals under one protocol."""

from typing import NamedTuple

import numpy as np
import torch

from ._cube import fill_cube

# Least width of a range, as a share of its values: small, but many steps of single precision. A
# value of 0 counts as _LEAST_SIZE.
_HAIR, _LEAST_SIZE = 1e-5, 1e-3


class Atoms(NamedTuple):
    """Tissues of amplitude 1 that fill ranges evenly, in compact cells of equal size.

    The i-th tissue is in cell ``i % n_cells``. Their first quarter fills the cells evenly too.

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
    amplitude = amplitude_of(signal_model)
    ranges = with_widths(ranges)
    ranges[:, amplitude] = 1.0
    log = np.array([p.log for p in signal_model.parameters]) & (ranges[0] > 0)
    log[amplitude] = True
    unit = np.insert(_interleaved(len(log) - 1, n_cells, n_atoms), amplitude, 0.0, axis=1)
    return Atoms(place(unit, ranges, log), ranges, log, amplitude, n_cells)


def amplitude_of(signal_model):
    """Column of the amplitude of a signal model that has exactly one.

    Raises
    ------
    ValueError
        If it has none, or several.
    """
    amplitudes = [j for j, p in enumerate(signal_model.parameters) if p.amplitude]
    if len(amplitudes) != 1:
        raise ValueError(
            f"Expected a signal model with one amplitude, got {signal_model!r} with "
            f"{len(amplitudes)}."
        )
    return amplitudes[0]


def with_widths(ranges):
    """Ranges (2, n_parameters) in which one value gets a width by which numbers can be divided."""
    low, high = ranges
    return np.stack([low, np.maximum(high, low + _HAIR * np.maximum(np.abs(low), _LEAST_SIZE))])


def _interleaved(n_axes, n_cells, n_atoms):
    """Points of the unit cube, neighbours in memory from different cells, see `Atoms`."""
    within = fill_cube(n_axes, n_cells, n_atoms).reshape(n_cells, -1, n_axes).swapaxes(0, 1)
    order = np.concatenate([np.arange(start, len(within), 4) for start in range(4)])
    return within[order].reshape(-1, n_axes)


def place(unit, ranges, log):
    """Parameters at positions (n, n_parameters) from 0 to 1 of ranges (2, n_parameters)."""
    low, high = ranges
    ratio = np.where(log, high / np.where(log, low, 1.0), 1.0)
    return np.where(log, low * ratio**unit, low + (high - low) * unit)


def signals_and_slopes(signal_model, tissues, log):
    """Signals of tissues, and their derivatives by the coordinates, see `Atoms`.

    Parameters
    ----------
    signal_model : SignalModel
    tissues : tensor of shape (n_parameters, n_tissues)
    log : bool ndarray of shape (n_parameters,)

    Returns
    -------
    signal : tensor of shape (n_measurements, n_tissues)
    slopes : tensor of shape (n_parameters, n_measurements, n_tissues)
    """
    with torch.no_grad():
        signal, jacobian = signal_model.jacobian(tissues)
        # By the chain rule, the derivative by log(theta) is theta times that by theta.
        factor = torch.where(torch.as_tensor(log)[:, None], tissues, 1.0)
        return signal, jacobian * factor[:, None]


def magnitudes(noise, signal, slopes):
    """Magnitudes of signals and their slopes if the likelihood is even in the signal, else both."""
    return (signal.abs(), slopes * torch.sign(signal)) if noise.even else (signal, slopes)


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
    tissues = torch.as_tensor(np.ascontiguousarray(atoms.tissues.T))
    signal, slopes = magnitudes(noise, *signals_and_slopes(signal_model, tissues, atoms.log))
    return SimulatedAtoms(atoms, signal.T.float(), slopes.permute(2, 1, 0).float())
