"""Batched bounded maximum likelihood: arrays in, arrays out.

A block of voxels goes through three stages: starting points (`_starts`), a few iterations in
float32 from each of them, and float64 iterations from the best (`_newton`).
"""

from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from .._torch import single_thread
from ._newton import Objective, minimize
from ._starts import dictionary, look_up

# Blocks do not depend on n_jobs, so neither does any bit of the result.
_BLOCK = 4096
_SCREENING_ITERATIONS = 3
_SCREENING_MARGIN = 3.0  # nats above the best at which a start is still followed


class Solution(NamedTuple):
    """Estimates of all voxels, as arrays with one entry or row per voxel."""

    parameters: np.ndarray
    nll: np.ndarray
    at_bound: np.ndarray
    converged: np.ndarray
    n_iter: np.ndarray
    residual_rms: np.ndarray


def solve(
    model, noise, X, sigma, bounds, *, n_starts=8, max_iter=100, tol=1e-9, n_jobs=None, verbose=0
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
    n_starts : int
        Power of 2; starting points per voxel.
    max_iter : int
    tol : float
        Nats.
    n_jobs : int, default=None
        Processes, as in joblib.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    Solution
    """
    lower, upper = bounds
    book = dictionary(model, lower, upper, n_starts)
    slices = [slice(i, i + _BLOCK) for i in range(0, max(len(X), 1), _BLOCK)]
    tasks = (
        delayed(_solve_block)(model, noise, X[s], sigma[s], bounds, book, n_starts, max_iter, tol)
        for s in slices
    )
    results = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    bar = tqdm(total=len(X), unit=" voxels", desc="likelihood", disable=not verbose)
    blocks = []
    with bar:
        for block in results:
            blocks.append(block)
            bar.update(len(block.nll))
    return Solution(*(np.concatenate(field) for field in zip(*blocks, strict=True)))


def _solve_block(model, noise, X, sigma, bounds, book, n_starts, max_iter, tol):
    objective = Objective(model, noise)
    with single_thread(), torch.no_grad():
        precision = torch.as_tensor(1.0 / sigma)
        x = torch.as_tensor(np.ascontiguousarray(X.T)) * precision
        lower, upper = (
            objective.to_coordinates(torch.as_tensor(b)[:, None]).expand(-1, len(X)) for b in bounds
        )
        starts = model.starts(x / precision)
        if starts is None:
            single = [t.to(torch.float32) for t in (*book, x, precision)]
            starts = look_up(model, *single, n_starts)
        u = _screen(objective, starts, x, precision, lower, upper)
        best, converged, n_iter = minimize(
            objective, u, x, precision, lower, upper, max_iter=max_iter, tol=tol
        )
        at_lower, at_upper = best.u <= lower, best.u >= upper
        theta = objective.to_parameters(best.u)
        low, high = (torch.as_tensor(b)[:, None] for b in bounds)
        theta = torch.where(at_lower, low, torch.where(at_upper, high, theta))
        residual = x - noise.mean(model.signal(theta) * precision)
        return Solution(
            parameters=theta.T.numpy(),
            nll=(best.loss + noise.normalizer(x).sum(0) - len(x) * precision.log()).numpy(),
            at_bound=(at_lower | at_upper).T.numpy(),
            converged=converged.numpy(),
            n_iter=n_iter.numpy(),
            residual_rms=((residual**2).mean(0).sqrt() / precision).numpy(),
        )


def _screen(objective, starts, x, precision, lower, upper):
    """A few float32 iterations from every start; the coordinates of the best one per voxel."""
    n_starts, _, n_voxels = starts.shape
    if n_starts == 1:
        return objective.to_coordinates(starts[0].to(x.dtype))
    u = objective.to_coordinates(starts.permute(1, 0, 2).reshape(starts.shape[1], -1))

    def repeated(t):
        return t.to(torch.float32).repeat(*[1] * (t.ndim - 1), n_starts)

    low, high = repeated(lower), repeated(upper)
    found, _, _ = minimize(
        objective, u, repeated(x), repeated(precision), low, high,
        max_iter=_SCREENING_ITERATIONS, tol=1e-3,
    )  # fmt: skip
    best = found.loss.view(n_starts, n_voxels).nan_to_num(nan=torch.inf).argmin(0)
    index = best * n_voxels + torch.arange(n_voxels, device=best.device)
    # A bound rounded to float32 may lie outside the float64 box, or just inside: snap.
    u, low, high = found.u[:, index], low[:, index], high[:, index]
    return torch.where(u <= low, lower, torch.where(u >= high, upper, u.to(x.dtype)))
