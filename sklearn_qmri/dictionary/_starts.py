"""Starting points: a simulated dictionary over the box, with linear parameters eliminated.

Amplitudes, and one parameter in which the signal is affine (a signal fraction), need no atoms: for
given values of the others the best fit is a non-negative combination of two columns.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ..signal_models import SignalModel
from ._cube import fill_cube

# Atoms per axis, by the number of axes. Beyond two axes, _ATOMS points of a Halton sequence.
_GRID = {1: (64,), 2: (20, 12)}
_ATOMS = 512
_FOLDED_GRID = (192, 8)  # of a folded signal, whose null moves with the first parameter
_DENSE_GRID = {1: (256,), 2: (48, 24)}
_DENSE_ATOMS = 4096
_MANY_AXES = 5  # axes from which a dense dictionary has _VERY_DENSE times the atoms and cells
_VERY_DENSE = 4
# In a box of more than _WIDE times the prior, this share of the atoms is within the prior. The
# others reach to the ends of the box, with this power of their position.
_WIDE = 4.0
_NEAR = 0.6
_REACH = 3


class Dictionary(NamedTuple):
    """Simulated atoms, sorted into cells of equal size.

    Attributes
    ----------
    atoms : tensor of shape (n_parameters, n_atoms)
        Parameters; linear ones have the values of the first column.
    columns : tensor of shape (2, n_measurements, n_atoms)
        Signals whose non-negative combinations the atom stands for; the second may be 0.
    tests : tensor of shape (2, n_measurements, n_atoms)
        Orthonormal basis of the columns, the first vector along the first column.
    second : tensor of shape (2, n_atoms)
        Unit vector along the second column, in this basis.
    linear : tuple
        Indices of the parameters that the two columns belong to; empty without amplitudes.
    reach : float
        Width of the bounds of the affine parameter; 0 where the second one is an amplitude too.
    n_cells, n_axes : int
        Numbers of cells, and of parameters that the atoms differ in.
    coarse : bool
        Whether the best atom may lie beside another optimum, so that a thorough look is needed.
    """

    atoms: torch.Tensor
    columns: torch.Tensor
    tests: torch.Tensor
    second: torch.Tensor
    linear: tuple
    reach: float
    n_cells: int
    n_axes: int
    coarse: bool

    def to(self, dtype, device):
        """The dictionary in another precision, on another device."""
        tensors = (t.to(dtype=dtype, device=device) for t in self[:4])
        return Dictionary(*tensors, *self[4:])


def make_dictionary(model, lower, upper, n_cells, even=False, dense=False):
    """Simulate the atoms among which the starts of every voxel are looked up.

    Atoms fill the box (the prior where a bound is infinite), on a logarithmic axis where the
    model says so. Each cell gives one start, so that starts are diverse.

    Parameters
    ----------
    model : SignalModel
    lower, upper : arrays of shape (n_parameters,)
    n_cells : int, power of 2
    even : bool, default=False
        Whether the likelihood does not depend on the sign of the signal.
    dense : bool, default=False
        Whether to simulate many more atoms, for voxels whose optimum the usual ones may miss.

    Returns
    -------
    Dictionary
    """
    return _simulate(model, lower, upper, n_cells, even, dense, folded=False)


def _simulate(model, lower, upper, n_cells, even, dense, folded):
    parameters = model.parameters
    amplitudes = [j for j, p in enumerate(parameters) if p.amplitude and lower[j] < upper[j]]
    affine = [j for j, p in enumerate(parameters) if p.affine and lower[j] < upper[j]]
    # A folded signal, a magnitude that passes through 0, is affine in no parameter.
    linear = (amplitudes + ([] if folded else affine))[:2] if amplitudes else []
    searched = [j for j in range(len(parameters)) if j not in linear and lower[j] < upper[j]]
    grids, n_atoms = (_DENSE_GRID, _DENSE_ATOMS) if dense else (_GRID, _ATOMS)
    if dense and len(searched) >= _MANY_AXES:
        n_atoms, n_cells = _VERY_DENSE * n_atoms, _VERY_DENSE * n_cells
    grid = _FOLDED_GRID if folded else grids.get(len(searched))
    unit = _fill(len(searched), n_cells, grid, n_atoms, by_first=folded)
    atoms = np.repeat([[low if np.isfinite(low) else 0.0] for low in lower], len(unit), axis=1)
    for j, position in zip(searched, unit.T, strict=True):
        atoms[j] = _place(parameters[j], lower[j], upper[j], position)
    atoms[amplitudes] = 0.0
    atoms[amplitudes[:1]] = 1.0
    # Columns of two amplitudes are the signals of each alone. With S0 and a fraction f they are
    # those at both ends of f: a and b of them make S0 = a + b and f = low + reach * b / (a + b).
    first = torch.as_tensor(atoms)
    second, reach = first.clone(), 0.0
    if len(linear) == 2 and linear[1] in amplitudes:
        second[linear[0]], second[linear[1]] = 0.0, 1.0
    elif len(linear) == 2:
        second[linear[1]] = upper[linear[1]]
        reach = upper[linear[1]] - lower[linear[1]]
    columns = torch.stack([model.signal(theta) for theta in (first, second)])
    if even and not folded and (columns < 0).any() and (columns > 0).any():
        # Every null that moves past a measurement may give the likelihood another optimum.
        return _simulate(model, lower, upper, n_cells, even, dense, folded=True)
    if even:
        columns = columns.abs()
    if len(linear) < 2:
        columns[1] = 0.0
    tests = torch.stack(_orthonormal(*columns))
    second = (tests * columns[1]).sum(1)
    second = second / second.norm(dim=0).clamp(min=1e-30)
    coarse = folded or len(searched) > max(_GRID)
    coarse |= len(searched) == max(_GRID) and _has_ridges(model, columns[0])
    shape = n_cells, len(searched)
    return Dictionary(first, columns, tests, second, tuple(linear), reach, *shape, coarse)


def _has_ridges(model, column):
    """Whether the losses after a few iterations hardly tell which start will win.

    That is so if the signal model has no second derivatives, or if no measurement shows the
    amplitude itself (as b = 0 does), so that it compensates for the other parameters.
    """
    spread = column.amax(1) - column.amin(1)
    anchored = (spread <= 1e-6 * column.abs().amax(1)).any()
    return type(model).curvature is SignalModel.curvature or not anchored


def _place(parameter, low, high, position):
    """Values of a parameter at positions in [0, 1] of the range that is searched.

    Where the box is much wider than the prior, most atoms are within the prior. The others reach
    from it to the ends of the box, farther apart the farther away they are.
    """
    expected = np.clip(parameter.prior, low, high)
    low = low if np.isfinite(low) else expected[0]
    high = high if np.isfinite(high) else expected[1]
    if parameter.log and low > 0:
        return low * (high / low) ** position
    if high - low <= _WIDE * (expected[1] - expected[0]) or expected[0] == expected[1]:
        return low + position * (high - low)
    width = expected[1] - expected[0]
    share = (1 - _NEAR) / 2
    below = expected[0] - (expected[0] - low) * ((1 - position / share).clip(0) ** _REACH)
    near = expected[0] + (position - share) / _NEAR * width
    above = (position - share - _NEAR).clip(0) / share
    above = expected[1] + (high - expected[1]) * above**_REACH
    return np.where(position < share, below, np.where(position < share + _NEAR, near, above))


@lru_cache(maxsize=16)  # all blocks and all calls of one estimator need the same points
def _fill(n_axes, n_cells, grid, n_atoms, by_first):
    """Points that fill the unit cube, sorted into n_cells equal runs that are compact cells.

    `grid` has the number of points per axis. Without one of n_axes axes, points are a Halton
    sequence. Cells of a grid are runs of its last axis or, `by_first`, of its first.
    """
    if n_axes == 0:
        return np.zeros((n_cells, 0))
    if grid is not None and len(grid) == n_axes:
        first, *others = grid
        # The first axis is rounded up so that n_cells divides the number of points.
        step = n_cells // math.gcd(n_cells, math.prod(others))
        sizes = [-(-first // step) * step, *others]
        axes = [(np.arange(n) + 0.5) / n for n in sizes]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
        return points if by_first else points[np.argsort(points[:, -1], kind="stable")]
    return fill_cube(n_axes, n_cells, n_atoms)


def _orthonormal(first, second):
    """Gram-Schmidt basis of two columns; the second vector is 0 where they are parallel."""
    first = first / first.norm(dim=0).clamp(min=1e-30)
    rest = second - (first * second).sum(0) * first
    size = rest.norm(dim=0)
    return first, torch.where(size > 1e-6 * second.norm(dim=0), rest / size.clamp(min=1e-30), 0.0)
