"""Batched bounded maximum likelihood: arrays in, arrays out.

A block of voxels goes through three stages: starting points (`dictionary`), a few iterations in
float32 from each of them, and float64 iterations from the best (`_newton`).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from .._torch import LANES, check_device, pieces, single_thread, take, whole
from ..dictionary import fit_linear, look_up, make_dictionary
from ._box import check_fixed, check_seeds, common_values
from ._newton import minimize
from ._objective import Objective, Problem

__all__ = ["Solution", "check_fixed", "check_seeds", "common_values", "solve"]

# Blocks do not depend on n_jobs, so neither does any bit of the result.
_BLOCK = 65536
_DESCRIBED = 4096  # voxels at once, which fit into a processor's cache
_CHEAP_ITERATIONS = 3  # by first derivatives, where a model has no second ones
_SCREENING = (1, 0.0), (2, 1e-3)  # iterations and tolerance; starts that lag are then dropped
_MARGIN = 0.25  # nats above the best at which a start is still followed ...
_LAG = 0.05  # ... and at which it still is when it has had some iterations
# Among the atoms of a coarse dictionary the best one says less: more iterations, and starts
# are followed up to this multiple of the best one's own distance from a fit to within noise.
_COARSE_SCREENING = (10, 0.0), (20, 0.0), (20, 1e-3)
_COARSE_SLACK = 100.0


class Solution(NamedTuple):
    """Estimates of all voxels, as arrays with one entry or row per voxel.

    Attributes
    ----------
    parameters : array of shape (n_voxels, n_parameters)
    nll : array of shape (n_voxels,)
        Negative log-likelihood with all constants.
    residual_rms : array of shape (n_voxels,)
        Units of X.
    at_bound : bool array of shape (n_voxels, n_parameters)
        False for parameters that were fixed.
    converged : bool array of shape (n_voxels,)
    n_iter : array of shape (n_voxels,)
    """

    parameters: np.ndarray
    nll: np.ndarray
    residual_rms: np.ndarray
    at_bound: np.ndarray
    converged: np.ndarray
    n_iter: np.ndarray


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
    sigma : array of shape (n_voxels,)
    bounds : array of shape (2, n_parameters)
    fixed : array of shape (n_voxels, n_parameters), default=None
        Values of parameters that are not to be estimated, NaN for the others.
    common : array of shape (n_parameters,), default=None
        Values of those that are fixed to one value for all voxels, NaN for the others. They narrow
        the search for starting points; values of voxels do not, as a voxel's result must not
        depend on the voxels beside it.
    seeds : array of shape (n_voxels, n_parameters), default=None
        The only starting points, instead of those of the dictionary.
    n_starts : int
        Power of 2; starting points per voxel.
    max_iter : int
    tol : float
        Nats.
    n_jobs : int, default=None
        Processes, as in joblib.
    device : str, default="cpu"
        Where torch computes.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    Solution
    """
    searched = bounds if common is None else np.where(np.isnan(common), bounds, common)
    book = make_dictionary(model, *searched, n_starts, noise.even)
    check_device(device)
    book = book.to(torch.float32, device)
    slices = pieces(len(X), _BLOCK)
    tasks = (
        delayed(_solve_block)(
            model,
            noise,
            X[s],
            sigma[s],
            bounds,
            *(None if rows is None else rows[s] for rows in (fixed, seeds)),
            book,
            max_iter,
            tol,
            device,
        )
        for s in slices
    )
    results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    solution = None
    with tqdm(total=len(X), unit=" voxels", desc="likelihood", disable=not verbose) as bar:
        for rows, block in zip(slices, results, strict=True):
            if solution is None:  # room for all blocks at once, not twice at the end
                empty = (np.empty((len(X), *f.shape[1:]), dtype=f.dtype) for f in block)
                solution = Solution(*empty)
            for whole, part in zip(solution, block, strict=True):
                whole[rows] = part
            bar.update(len(block.nll))
    return solution


def _solve_block(model, noise, X, sigma, bounds, fixed, seeds, book, max_iter, tol, device):
    objective = Objective(model, noise)

    def lanes(rows):
        return torch.as_tensor(np.ascontiguousarray(rows.T), device=device)

    n_voxels = len(X)
    X, sigma, fixed, seeds = (_whole_rows(rows) for rows in (X, sigma, fixed, seeds))
    with single_thread(), torch.no_grad():
        precision = lanes(1.0 / sigma)
        x = lanes(X) * precision
        low, high = (lanes(b[None]) for b in bounds)
        if fixed is not None:
            value = lanes(fixed)
            low, high = (torch.where(value.isnan(), b, value) for b in (low, high))
        lower, upper = objective.to_coordinates(low), objective.to_coordinates(high)
        problem = Problem(x, precision, lower, upper)
        if seeds is None:
            start = _screen(objective, book, problem)
        else:
            u = problem.clamp(objective.to_coordinates(lanes(seeds)))
            start = objective.expand(u, problem)
        best, converged, n_iter = _finish(objective, start, problem, max_iter, tol)
        box = Problem(x, precision, low, high)
        parts = [
            _describe(objective, *(p.lanes(rows) for p in (best, problem, box)))
            for rows in pieces(len(X), _DESCRIBED)
        ]
        described = [torch.cat(field) for field in zip(*parts, strict=True)]
        fields = (field[:n_voxels].cpu().numpy() for field in (*described, converged, n_iter))
        return Solution(*fields)


def _whole_rows(rows):
    """Rows of voxels, the last repeated up to a multiple of `LANES`; None of None."""
    if rows is None or len(rows) == 0:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % LANES, axis=0)])


def _finish(objective, start, problem, max_iter, tol):
    """To convergence; with exact second derivatives for the voxels that need many iterations."""
    first = min(max_iter, _CHEAP_ITERATIONS)
    best, converged, n_iter = minimize(objective, start, problem, max_iter=first, tol=tol)
    rest = whole((~converged).nonzero().squeeze(1))
    if len(rest) and max_iter > first:
        exact = Objective(objective.model, objective.noise, exact=True)
        problem = problem.lanes(rest)
        start = exact.expand(take(best.u, rest), problem)
        more = minimize(exact, start, problem, max_iter=max_iter - first, tol=tol)
        best.assign(rest, more[0])
        converged[rest] = more[1]
        n_iter[rest] = first + more[2]
    return best, converged, n_iter


def _describe(objective, best, problem, box):
    """All of a `Solution` but how it was reached; `box` has the bounds of the parameters."""
    u, (x, precision, low, high) = best.u, box
    at_lower, at_upper = u <= problem.lower, u >= problem.upper
    theta = objective.to_parameters(u)
    # What is on a bound is on it exactly, not off by the rounding of a logarithm.
    theta = torch.where(at_lower, low, torch.where(at_upper, high, theta))
    a = objective.model.signal(theta) * precision
    residual = x - objective.noise.mean(a)
    return (
        theta.T,
        best.loss + objective.noise.normalizer(x).sum(0) - len(x) * precision.log(),
        (residual**2).mean(0).sqrt() / precision,
        ((at_lower | at_upper) & (low < high)).T,
    )


def _screen(objective, book, problem):
    """A few float32 iterations from every start; the expansion around the best one per voxel."""
    own = objective.model.start(problem.x / problem.precision)
    if own is not None:
        return objective.expand(problem.clamp(objective.to_coordinates(own)), problem)
    single = Problem(*(t.to(torch.float32) for t in problem))
    data = objective.noise.without_bias(single.x) / single.precision
    best, gain = look_up(book, data, single.precision)
    # What half the squared residual, and the loss, would be if residuals were just the noise.
    noise_gain = noise_loss = None
    if book.coarse:
        half = 0.5 * len(single.x)
        noise_gain = half - 0.5 * (data * single.precision).square().sum(0)
        normalizer = objective.noise.normalizer(single.x).sum(0)
        noise_loss = half * (1 + math.log(2 * math.pi)) - normalizer
    limit = _tolerated(-gain, noise_gain, _MARGIN)
    voxel, cell = (whole(i) for i in torch.nonzero(-gain <= limit[:, None], as_tuple=True))
    starts = single.lanes(voxel)
    u = objective.to_coordinates(fit_linear(book, take(data, voxel), best[voxel, cell]))
    found = objective.expand(starts.clamp(u), starts)
    for n_iterations, tol in _COARSE_SCREENING if book.coarse else _SCREENING:
        found, _, _ = minimize(objective, found, starts, max_iter=n_iterations, tol=tol)
        loss = torch.full_like(gain, torch.inf)
        loss[voxel, cell] = found.loss.nan_to_num(nan=torch.inf)
        limit = _tolerated(loss, noise_loss, _LAG)
        keep = whole((found.loss <= limit[voxel]).nonzero().squeeze(1))
        found, starts, voxel, cell = found.lanes(keep), starts.lanes(keep), voxel[keep], cell[keep]
    place = torch.zeros_like(best)
    place[voxel, cell] = torch.arange(len(voxel), device=place.device)
    index = place.gather(1, loss.argmin(1, keepdim=True))[:, 0]
    found, starts = found.lanes(index), starts.lanes(index)
    # A bound rounded to float32 may lie outside the float64 box, or just inside: snap.
    u = torch.where(found.u >= starts.upper, problem.upper, found.u.to(problem.x.dtype))
    u = torch.where(found.u <= starts.lower, problem.lower, u)
    return objective.expand(u, problem, near=found)


def _tolerated(loss, noise, margin):
    """Loss (n_voxels,) up to which starts are followed, of losses (n_voxels, n_starts).

    `noise` is the loss of a fit to within noise, from which on a coarse dictionary's best start
    may be far, or None for a dictionary that is not coarse.
    """
    least = loss.amin(1)
    if noise is None:
        return least + margin
    return least + margin + _COARSE_SLACK * (least - noise).clamp(min=0)
