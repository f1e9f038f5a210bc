"""Batched bounded maximum likelihood: arrays in, arrays out.

Rows are solved in blocks (`_block`), in which every voxel is one lane. The starting points of a
voxel come from a dictionary. A few iterations in float32 tell which of them may win (`_screening`).
Newton iterations in float64 follow the best one to its optimum (`_newton`, `_objective`). No result
depends on the rows beside it, on the size of the blocks, or on the number of processes.
"""

from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from .._arrays import row_extremes
from .._torch import LANES, check_device, pieces
from ..dictionary import make_dictionary
from ._block import Solution, solve_block
from ._box import check_fixed, check_seeds, common_values

__all__ = ["Solution", "check_fixed", "check_seeds", "common_values", "out_of_range", "solve"]

# Most rows, and most measurements, of a block: they bound the memory that a block needs.
_BLOCK = 65536
_MEASUREMENTS = 2**20
# The dictionary of the thorough look has this many times as many cells, up to a maximum.
_DENSER = 8
_MOST_CELLS = 64
# Range of sigma; the upper end also limits signals and their ratio to sigma. Squares of all these,
# 1e-30 to 1e30, fit into float32, whose normal numbers go from 1.2e-38 to 3.4e38.
_RANGE = 1e-15, 1e15


def solve(
    model,
    noise,
    X,
    sigma,
    bounds,
    *,
    fixed=None,
    common=None,
    seeds=None,
    n_starts=8,
    max_iter=100,
    tol=1e-8,
    n_jobs=None,
    device="cpu",
    verbose=0,
):
    """Maximum-likelihood estimate of every row of X.

    Parameters
    ----------
    model : SignalModel
    noise : noise model
    X : array of shape (n_voxels, n_measurements)
        Finite and valid under the noise model.
    sigma : array of shape (n_voxels,) or (n_voxels, n_measurements)
        Noise levels; infinity where there is no measurement, at which X has to be 0.
    bounds : array of shape (2, n_parameters)
    fixed : array of shape (n_voxels, n_parameters), default=None
        Values of parameters that are not to be estimated, NaN for the others.
    common : array of shape (n_parameters,), default=None
        Values of parameters that are fixed to one value for all voxels, NaN for the others. They
        narrow the search for starting points. Values per voxel do not narrow it, because a voxel's
        result must not depend on the voxels beside it.
    seeds : array of shape (n_voxels, n_parameters), default=None
        The only starting points, instead of those of the dictionary.
    n_starts : int
        Starting points per voxel, a power of 2.
    max_iter : int
    tol : float
        Tolerance of the negative log-likelihood in nats.
    n_jobs : int, default=None
        Number of processes, same as in joblib.
    device : str, default="cpu"
        Device on which torch computes.
    verbose : int, default=0
        Positive: show a progress bar.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If `device` cannot be used, or X and sigma of all rows are too far apart to compute with.
        If only some rows are, their results are NaN and they count as not converged.
    """
    check_device(device)
    X, sigma, refused = _within_range(X, sigma)
    # A parameter that is fixed for all voxels has a range of one value: it needs no search.
    searched = bounds if common is None else np.where(np.isnan(common), bounds, common)
    make = partial(make_dictionary, model, *searched, even=noise.even)
    book = make(n_cells=n_starts).to(torch.float32, device)
    dense = partial(make, n_cells=max(n_starts, min(_MOST_CELLS, _DENSER * n_starts)), dense=True)
    slices = pieces(len(X), _block_size(X.shape[1]))
    tasks = (
        delayed(solve_block)(
            model, noise, X[s], sigma[s], bounds, _rows(fixed, s), _rows(seeds, s), book, dense,
            max_iter, tol, device,
        )
        for s in slices
    )  # fmt: skip
    if len(slices) == 1:  # a single voxel would wait longer for joblib than for its fit
        blocks = (function(*args, **kwargs) for function, args, kwargs in tasks)
    else:
        blocks = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    with tqdm(total=len(X), unit=" voxels", desc="likelihood", disable=not verbose) as bar:
        solution = _joined(blocks, slices, len(X), bar)
    solution.parameters[refused] = np.nan
    solution.nll[refused] = solution.residual_rms[refused] = np.nan
    solution.at_bound[refused] = solution.converged[refused] = False
    return solution


def _block_size(n_measurements):
    """Rows of a block: a multiple of the lanes, within the limits of rows and of measurements."""
    # Blocks of whole lanes give every row the result that it has in any other block, see `LANES`.
    limit = _MEASUREMENTS // max(1, n_measurements)
    return min(_BLOCK, max(LANES, limit - limit % LANES))


def _rows(values, rows):
    return None if values is None else values[rows]


def _joined(blocks, slices, n_voxels, bar):
    """One solution of all blocks, each of which is dropped once it is copied."""
    solution = None
    for rows, block in zip(slices, blocks, strict=True):
        # Joining a list of all blocks at the end would need their memory twice.
        if solution is None:
            solution = Solution(*(np.empty((n_voxels, *f.shape[1:]), f.dtype) for f in block))
        for whole, part in zip(solution, block, strict=True):
            whole[rows] = part
        bar.update(len(block.nll))
    return solution


def out_of_range(X, sigma):
    """Whether rows are so large or small that the digits of double precision do not suffice.

    Parameters
    ----------
    X : ndarray of shape (n_voxels, n_measurements)
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)

    Returns
    -------
    bool ndarray of shape (n_voxels,)
    """
    low, high = _RANGE
    lowest, highest = row_extremes(X)
    largest = np.maximum(-lowest, highest)
    least = most = sigma
    if sigma.ndim == 2:  # infinity stands for no measurement
        least, most = sigma.min(axis=1), np.where(np.isinf(sigma), 0.0, sigma).max(axis=1)
    with np.errstate(over="ignore"):
        ratio = largest / least
    # Negated, so that NaN, which compares as false, is out of range too.
    return ~((least >= low) & (most <= high) & (largest <= high) & (ratio <= high))


def _within_range(X, sigma):
    """X and sigma with 1 in rows that are out of range, and a mask of these rows."""
    low, high = _RANGE
    refused = out_of_range(X, sigma)
    if not refused.any():
        return X, sigma, refused
    if refused.all():
        most = sigma[np.isfinite(sigma)].max(initial=0)
        raise ValueError(
            f"Cannot compute with signals up to {np.abs(X).max():.3g} and sigma={most:.3g}: "
            f"expected sigma between {low:g} and {high:g}, and signals, also relative to sigma, "
            f"up to {high:g}. Is sigma in the units of X?"
        )
    X, sigma = X.copy(), sigma.copy()
    X[refused], sigma[refused] = 1.0, 1.0
    return X, sigma, refused
