"""Tissues drawn for each voxel from an approximation of its posterior, under a prior of ranges.

The amplitude and a signal fraction have posteriors of their own (`_linear`). The one or two other
parameters are the axes of a grid, first over all of the prior, with the same tissues for all
voxels, then over the part in which a voxel has likelihood. Tissues are drawn cell by cell. Their
weight is one over their density.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from ._atoms import amplitude_of, with_widths
from ._cells import centers, draw_tilted, relevant, slopes, systematic
from ._expansion import least_squares
from ._linear import Shares, Table, best_of_shared, draw_truncated, eliminate, integrate

_GLOBAL = {0: (64, 1), 1: (256, 1), 2: (16, 16)}  # cells per axis over the prior, by axes
_LOCAL = {0: (64, 1), 1: (64, 1), 2: (16, 8)}  # and over a part of it
# Cells whose likelihood is smaller than the largest by more nats are outside.
_RELEVANT = 12.0
_MOST_ZOOMS = 6
_EVERY, _OFFSET = 3, 1  # which of the cells an expansion begins with
_FLOOR = 1e-3  # share of the draws that fill a part evenly
_LEAST = 1e-30


class Cells(NamedTuple):
    """Cells of the part of the prior in which each voxel has likelihood.

    Attributes
    ----------
    box : tensor of shape (2, 2, n_voxels)
        Both ends of that part along both axes, as positions from 0 to 1 in the prior.
    shape : pair of int
        Numbers of cells along both axes.
    shares : Shares
        Posterior of amplitude and fraction in each cell, (n_voxels, n_cells).
    """

    box: torch.Tensor
    shape: tuple
    shares: Shares


class LocalDraws:
    """Draws tissues for each voxel.

    Parameters
    ----------
    signal_model : SignalModel
        Signal model for which `can_draw` is True.
    noise : NoiseModel
    ranges : ndarray of shape (2, n_parameters)
        Prior, uniform within ranges.
    """

    def __init__(self, signal_model, noise, ranges):
        self.signal_model, self.noise = signal_model, noise
        self.ranges = with_widths(ranges)
        self.amplitude, self.affine, self.axes = split_parameters(signal_model, noise)
        log = np.array([p.log for p in signal_model.parameters]) & (ranges[0] > 0)
        self.log = [bool(log[j]) for j in self.axes]
        self.global_shape = _GLOBAL[len(self.axes)]
        self.everything = torch.tensor([[0.0, 1.0]] * 2)[:, :, None]
        positions = centers(self.everything, self.global_shape)
        column, change = (part[:, 0] for part in self._columns(positions))
        self.table = Table.of(column, change)
        # An expansion may begin anywhere near the optimum, for which some of the cells are enough.
        self.some = Table.of(column[:, _OFFSET::_EVERY], change[:, _OFFSET::_EVERY])

    def cells(self, x, precision, finer=1):
        """Divide the part of the prior in which each voxel has likelihood.

        Parameters
        ----------
        x, precision : tensor of shape (n_voxels, n_measurements)
            Measurements, and 1 / sigma of each; 0 where there is none.
        finer : int, default=1
            Number of times as many cells along each axis.

        Returns
        -------
        Cells
        """
        weight, data = self._expand(x, precision)
        gain = best_of_shared(self.table, weight, weight * data, *self._amplitudes())[0]
        # The best of these tissues may be far from the best of all. By how much tells its loss.
        best = gain.amax(1, keepdim=True)
        loss = 0.5 * (weight * data.square()).sum(1, keepdim=True) - best
        everything = self.everything.expand(-1, -1, len(x))
        box, _ = relevant(gain, self.global_shape, everything, _RELEVANT + loss.clamp_(min=0))
        weight, data = (part.T[:, :, None].contiguous() for part in (weight, data))
        shape = tuple(n * finer if n > 1 else n for n in _LOCAL[len(self.axes)])
        return Cells(box, shape, self._zoom(box, shape, weight, data))

    def _expand(self, x, precision):
        """Weights and data of least squares with nearly the likelihood of each voxel."""

        def fit(weight, pull):
            gain, *linear = best_of_shared(self.some, weight, pull, *self._amplitudes())
            best = gain.argmax(1, keepdim=True)
            amplitude, position = (part.gather(1, best) for part in linear)
            column, change = (t.T[best[:, 0]] for t in self.some[:2])
            return amplitude * torch.addcmul(column, position, change)

        weight, pull = least_squares(self.noise, x, precision, fit)
        return weight, pull / weight.clamp(min=_LEAST)

    def _amplitudes(self):
        return tuple(float(end) for end in self.ranges[:, self.amplitude])

    def _zoom(self, box, shape, weight, data):
        """`Shares` of the cells of each voxel's part of the prior, which is narrowed."""
        todo, shares = slice(None), None
        for i in range(_MOST_ZOOMS):
            part = box[:, :, todo]
            places = centers(part, shape)
            columns = self._columns(places)
            sums, loss = eliminate(*columns, weight[:, todo], data[:, todo])
            found = integrate(sums, *self._amplitudes())
            found.log_mass.sub_(loss).add_(self._log_volumes(places))
            if shares is None:
                shares = found
            else:
                for whole, new in zip(shares, found, strict=True):
                    whole[todo] = new
            narrower, sparse = relevant(found.log_mass, shape, part, _RELEVANT)
            if i == _MOST_ZOOMS - 1 or not sparse.any():
                break
            todo = torch.arange(len(loss))[sparse] if isinstance(todo, slice) else todo[sparse]
            box[:, :, todo] = narrower[:, :, sparse]
        return shares

    def draw(self, cells, unit):
        """Draw cells, places in them, positions of the fraction, and amplitudes.

        Parameters
        ----------
        cells : Cells
        unit : tensor of shape (4, n_points)
            Points that fill the unit cube evenly, in an order that is even too.

        Returns
        -------
        tissues : tensor of shape (n_parameters, n_voxels, n_points)
        log_weights : tensor of shape (n_voxels, n_points)
            Logarithms of the density of the prior over that of the draws.
        """
        box, shape, shares = cells
        mass = torch.softmax(shares.log_mass, 1)
        mass = mass * (1 - _FLOOR) + _FLOOR / mass.shape[1]
        cell = systematic(mass, unit.shape[1])
        by_cell = shares.log_mass, shares.position, shares.amplitude
        tables = [slopes(table, shape) for table in by_cell]
        index = cell // shape[1], cell % shape[1]
        volume = 1 / mass.gather(1, cell)
        mean, amplitude = shares.position.gather(1, cell), shares.amplitude.gather(1, cell)
        tissues = torch.empty(len(self.ranges[0]), *cell.shape)
        for i, j in enumerate(self.axes):
            inside, density = draw_tilted(unit[i], tables[0][i].gather(1, cell))
            offset = inside - 0.5
            mean.addcmul_(tables[1][i].gather(1, cell), offset)
            amplitude.addcmul_(tables[2][i].gather(1, cell), offset)
            low, width = box[i, 0, :, None], (box[i, 1] - box[i, 0])[:, None] / shape[i]
            value, slope = self._place(i, torch.addcmul(low, width, inside + index[i]))
            tissues[j] = value
            volume.mul_(slope).mul_(width).div_(density)
        position, more = draw_truncated(unit[2], mean, shares.deviation.gather(1, cell), 0.0, 1.0)
        amplitude.addcmul_(shares.slope.gather(1, cell), position - mean.clamp_(0, 1))
        low, high = self._amplitudes()
        tissues[self.amplitude], most = draw_truncated(
            unit[3], amplitude, shares.spread.gather(1, cell), low, high
        )
        if self.affine is not None:
            ends = self.ranges[:, self.affine]
            tissues[self.affine] = ends[0] + (ends[1] - ends[0]) * position
        log_weights = volume.mul_(more).mul_(most).mul_(1 / (high - low)).log_()
        return tissues, log_weights

    def _place(self, i, position):
        """Values at positions from 0 to 1 of an axis, and the density of the prior there."""
        low, high = self.ranges[:, self.axes[i]]
        if not self.log[i]:
            return low + (high - low) * position, 1.0
        ratio = math.log(high / low)
        value = low * torch.exp(ratio * position)
        return value, value * (ratio / (high - low))

    def _log_volumes(self, places):
        """Logarithm of the prior in each cell, up to a constant for each voxel."""
        return sum(
            math.log(high / low) * position
            for (low, high), log, position in zip(
                self.ranges[:, self.axes].T, self.log, places, strict=False
            )
            if log
        )

    def _columns(self, positions):
        """Signals at both ends of the fraction, see `_linear`: c and d."""
        shape = positions[0].shape
        theta = torch.empty(len(self.ranges[0]), *shape)
        theta[self.amplitude] = 1.0
        for i, j in enumerate(self.axes):
            theta[j] = self._place(i, positions[i])[0]
        if self.affine is None:
            column = self._signal(theta)
            return column, torch.zeros_like(column)
        ends = []
        for end in self.ranges[:, self.affine]:
            theta[self.affine] = end
            ends.append(self._signal(theta))
        return ends[0], ends[1].sub_(ends[0])

    def _signal(self, theta):
        signal = self.signal_model.signal(theta.flatten(1)).unflatten(1, theta.shape[1:])
        return signal.abs_() if self.noise.even else signal


def split_parameters(signal_model, noise):
    """Index of the amplitude, that of a fraction or None, and the other parameters with a range.

    Returns
    -------
    amplitude : int
    affine : int or None
    axes : list of int
    """
    parameters = signal_model.parameters
    amplitude = amplitude_of(signal_model)
    affine = next((j for j, p in enumerate(parameters) if p.affine), None)
    # A magnitude that passes through 0 is affine in no parameter.
    if affine is not None and noise.even and signal_model.changes_sign():
        affine = None
    axes = [j for j in range(len(parameters)) if j not in (amplitude, affine)]
    return amplitude, affine, axes


def can_draw(signal_model, noise):
    """Whether `LocalDraws` can draw tissues of a signal model: one amplitude, at most two axes."""
    parameters = signal_model.parameters
    if sum(p.amplitude for p in parameters) != 1 or sum(p.affine for p in parameters) > 1:
        return False
    return len(split_parameters(signal_model, noise)[2]) <= 2
