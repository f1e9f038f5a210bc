"""A block of voxels: from arrays to their optima and back."""

from typing import NamedTuple

import numpy as np
import torch

from .._torch import LANES, pieces, single_thread, take, whole
from ._newton import minimize
from ._objective import Objective, Problem
from ._screening import quick_start, thorough_look

_DESCRIBED = 40_960  # measurements described at once, which fit into a processor's cache
# Iterations of the turns without, with and without exact second derivatives. One more turn, with
# them, takes the rest.
_TURNS = 3, 12, 12


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


def solve_block(model, noise, X, sigma, bounds, fixed, seeds, book, dense, max_iter, tol, device):
    """`Solution` of a block of rows. Arguments are those of `solve`, and its dictionaries."""
    objective = Objective(model, noise)

    def lanes(rows):
        return torch.as_tensor(np.ascontiguousarray(rows.T), device=device)

    # Rows are padded to whole lanes here, and the first `n_voxels` results returned at the end.
    n_voxels = len(X)
    X, sigma, fixed, seeds = (_whole_rows(rows) for rows in (X, sigma, fixed, seeds))
    with single_thread(), torch.no_grad():
        precision = lanes(1.0 / sigma)
        x = lanes(X) * precision
        # One column (n_parameters, 1) for all voxels; a fixed value makes it one per voxel, with
        # both bounds at that value.
        low, high = (lanes(b[None]) for b in bounds)
        if fixed is not None:
            value = lanes(fixed)
            low, high = (torch.where(value.isnan(), b, value) for b in (low, high))
        lower, upper = objective.to_coordinates(low), objective.to_coordinates(high)
        problem = Problem(x, precision, lower, upper)
        seeds = objective.model.start(lanes(X)) if seeds is None else lanes(seeds)

        def finish(start, problem):
            return _finish(objective, start, problem, max_iter, tol)

        def look(problem, n_voxels):
            book = dense().to(torch.float32, device)
            return thorough_look(objective, book, problem, n_voxels, finish)

        # Given starts are the only ones. A coarse dictionary needs the thorough look for all
        # voxels, any other one only for those that do not converge from the quick start.
        if seeds is not None:
            u = problem.clamp(objective.to_coordinates(seeds))
            best, converged, n_iter = finish(objective.expand(u, problem), problem)
        elif book.coarse:
            best, converged, n_iter = look(problem, n_voxels)
        else:
            start = quick_start(objective, book, problem, n_voxels)
            best, converged, n_iter = finish(start, problem)
            _look_again(best, converged, n_iter, problem, look)
        box = Problem(x, precision, low, high)
        parts = [
            _describe(objective, *(p.lanes(rows) for p in (best, problem, box)))
            for rows in pieces(len(X), max(LANES, _DESCRIBED // X.shape[1] // LANES * LANES))
        ]
        described = [torch.cat(field) for field in zip(*parts, strict=True)]
        fields = (field[:n_voxels].cpu().numpy() for field in (*described, converged, n_iter))
        return Solution(*fields)


def _whole_rows(rows):
    """Rows of voxels, the last repeated up to a multiple of `LANES`; None stays None."""
    if rows is None or len(rows) == 0:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % LANES, axis=0)])


def _look_again(best, converged, n_iter, problem, look):
    """Replace the results of voxels that have not converged, where a thorough look does better.

    Such voxels are often on a ridge, where another start may be closer to the optimum.
    """
    unsettled = (~converged).nonzero().squeeze(1)
    if len(unsettled) == 0:
        return
    rest = whole(unsettled)
    again, arrived, n_more = look(problem.lanes(rest), len(unsettled))
    # At the same loss, the result that has converged is kept.
    better = (again.loss < best.loss[rest]) | (arrived & (again.loss <= best.loss[rest]))
    index = whole(better.nonzero().squeeze(1))
    place = rest[index]
    best.assign(place, again.lanes(index))
    converged[place], n_iter[place] = arrived[index], n_more[index]


def _finish(objective, start, problem, max_iter, tol):
    """Iterate to convergence, in turns without and with exact second derivatives.

    Most voxels converge without exact second derivatives. Near an optimum exact ones need fewer
    iterations. Far from it, where the hessian is indefinite, they may get stuck. Every turn starts
    with little damping, whatever damping the turn before ended with.
    """
    exact = Objective(objective.model, objective.noise, exact=True)
    best, converged, n_iter = minimize(
        objective, start, problem, max_iter=min(max_iter, _TURNS[0]), tol=tol
    )
    spent = _TURNS[0]
    for turn, n_iterations in enumerate((*_TURNS[1:], max_iter), 1):
        rest = whole((~converged).nonzero().squeeze(1))
        if len(rest) == 0 or spent >= max_iter:
            break
        # Turns 1 and 3 are exact. Expanding afresh resets the damping.
        method, part = exact if turn % 2 else objective, problem.lanes(rest)
        n_iterations = min(n_iterations, max_iter - spent)
        start = method.expand(take(best.u, rest), part)
        more = minimize(method, start, part, max_iter=n_iterations, tol=tol, patient=turn > 1)
        best.assign(rest, more[0])
        converged[rest] = more[1]
        n_iter[rest] = spent + more[2]
        spent += n_iterations
    return best, converged, n_iter


def _describe(objective, best, problem, box):
    """Fields of a `Solution` up to `at_bound`; `box` has the bounds of the parameters."""
    u, (x, precision, low, high) = best.u, box
    at_lower, at_upper = u <= problem.lower, u >= problem.upper
    theta = objective.to_parameters(u)
    # Estimates on a bound equal it exactly; exp(log(bound)) may be off by rounding.
    theta = torch.where(at_lower, low, torch.where(at_upper, high, theta))
    a = objective.model.signal(theta) * precision
    residual = x - objective.noise.mean(a)
    # The likelihood is one of x = X / sigma. A density of X is 1 / sigma times that for each
    # measurement, which adds -log(precision) to its negative logarithm.
    if precision.ndim == 1:
        loss = best.loss + objective.noise.normalizer(x).sum(0) - len(x) * precision.log()
        residual_rms = (residual**2).mean(0).sqrt() / precision
    else:
        loss = objective.noise.derivatives(x, a)[0] + objective.noise.normalizer(x)
        loss = box.present(loss - precision.log()).sum(0)
        residual_rms = (box.present(residual / precision).square().sum(0) / box.n_present).sqrt()
    return theta.T, loss, residual_rms, ((at_lower | at_upper) & (low < high)).T
