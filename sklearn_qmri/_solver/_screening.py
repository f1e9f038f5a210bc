"""From many starting points per voxel to one, or to the few that may still win.

Two ways of looking. The quick one serves signal models whose best atom nearly always lies beside
the optimum. The thorough one serves models with hard landscapes, and voxels on which the quick one
has failed: a denser dictionary, more cells, wider margins, and several contenders in the end.
"""

import math
from typing import NamedTuple

import torch

from .._torch import LANES, pieces, take, whole
from ..dictionary import fit_linear, look_up
from ._newton import minimize
from ._objective import Problem

_ROUNDS = (1, 0.0), (2, 1e-3)  # iterations and tolerance; starts that lag are then dropped
_MARGIN = 0.25  # nats above the best at which a start is still followed ...
_LAG = 0.05  # ... and at which it still is when it has had some iterations
_BIASED = 0.2  # sigma of bias, from which on a measurement is at the noise floor
_FLOOR_MARGIN = 4.0  # nats more for each of those beyond half of all measurements
_FLOOR_LAG = 4.0
_MANY_AXES = 5  # searched parameters, from which on a thorough look is an exhaustive one
# Starts are also followed up to this multiple of the best one's own distance from a fit to within
# noise: where all atoms are far away, their order says little.
_SLACK = 100.0
_SAME = 1e-2  # squared distance, in sigma, and nats, up to which two starts are at one optimum
_BYTES = 16 * 2**20  # of measurements of all starts that are followed at once


class _Effort(NamedTuple):
    """Effort of a thorough look."""

    rounds: tuple  # iterations, tolerance, and how many starts of a voxel go on afterwards
    margin: float
    lag: float


_THOROUGH = _Effort(((4, 0.0, 24), (12, 1e-3, 12), (24, 1e-3, 8)), margin=4.0, lag=2.0)
_EXHAUSTIVE = _Effort(((8, 0.0, 64), (24, 1e-3, 24), (24, 1e-3, 16)), margin=8.0, lag=4.0)


def quick_start(objective, book, problem, n_voxels):
    """Expansion around the best start of each voxel, after a few float32 iterations.

    Only the first `n_voxels` are looked at; the others repeat the last of these.
    """
    single, data = _in_single_precision(objective, problem)
    best, gain = look_up(book, data, single.precision)
    # Least squares knows the likelihood of a measurement at the noise floor only roughly.
    # As long as they are few, the others still put the starts into the right order.
    floored = (single.x - data * single.precision > _BIASED).sum(0)
    floored = (floored - len(data) // 2).clamp(min=0)
    limit = gain.neg().amin(1) + _MARGIN + _FLOOR_MARGIN * floored
    voxel, cell = _worth_following(-gain <= limit[:, None], n_voxels)
    found, starts = _expand_atoms(objective, book, single, data, voxel, best[voxel, cell])
    for n_iterations, tol in _ROUNDS:
        found, _, _ = minimize(objective, found, starts, max_iter=n_iterations, tol=tol)
        loss = _by_voxel(found.loss, voxel, cell, gain)
        limit = loss.amin(1) + _LAG + _FLOOR_LAG * floored
        keep = whole((found.loss <= limit[voxel]).nonzero().squeeze(1))
        found, starts, voxel, cell = found.lanes(keep), starts.lanes(keep), voxel[keep], cell[keep]
    index = _repeat_last(_place_of_best(loss, voxel, cell), n_voxels)
    found, starts = found.lanes(index), starts.lanes(index)
    return objective.expand(_in_double_precision(found, starts, problem), problem, near=found)


def thorough_look(objective, book, problem, n_voxels, finish):
    """Best of the optima that the starts of each voxel lead to.

    Only the first `n_voxels` are looked at; the others repeat the last of these.

    Parameters
    ----------
    objective : Objective
    book : Dictionary
    problem : Problem
    n_voxels : int
    finish : callable
        ``finish(start, problem)`` follows float64 expansions to their optima.

    Returns
    -------
    best, converged, n_iter
        As in `minimize`.
    """
    # Sized by the measurements, so that hundreds of them need no more memory.
    size = _BYTES // (4 * len(problem.x) * book.n_cells)
    parts = [
        _look(objective, book, problem.lanes(rows), n_voxels - rows.start, finish)
        for rows in pieces(problem.n_voxels, max(LANES, size - size % LANES))
    ]
    best, converged, n_iter = zip(*parts, strict=True)
    joined = (torch.cat(field, -1) for field in zip(*best, strict=True))
    return type(best[0])(*joined), torch.cat(converged), torch.cat(n_iter)


def _look(objective, book, problem, n_voxels, finish):
    single, data = _in_single_precision(objective, problem)
    best, gain = look_up(book, data, single.precision)
    # Half the squared residual, and the loss, of residuals that are just the noise: half a squared
    # standard normal is 1/2 for each measurement, on average.
    half = 0.5 * len(single.x)
    noise_gain = half - 0.5 * (data * single.precision).square().sum(0)
    normalizer = objective.noise.normalizer(single.x).sum(0)
    noise_loss = half * (1 + math.log(2 * math.pi)) - normalizer
    effort = _EXHAUSTIVE if book.n_axes >= _MANY_AXES else _THOROUGH
    limit = _tolerated(-gain, noise_gain, effort.margin)
    voxel, cell = _worth_following(-gain <= limit[:, None], n_voxels)
    found, starts = _expand_atoms(objective, book, single, data, voxel, best[voxel, cell])
    for n_iterations, tol, n_kept in effort.rounds:
        found, _, _ = minimize(objective, found, starts, max_iter=n_iterations, tol=tol)
        loss = _by_voxel(found.loss, voxel, cell, gain)
        limit = _tolerated(loss, noise_loss, effort.lag)
        if n_kept < book.n_cells:
            limit = torch.minimum(limit, loss.kthvalue(n_kept, dim=1).values)
        ahead = found.loss <= limit[voxel]
        ahead &= ~_follows(found, _place_of_best(loss, voxel, cell)[voxel])
        keep = whole(ahead.nonzero().squeeze(1))
        found, starts, voxel, cell = found.lanes(keep), starts.lanes(keep), voxel[keep], cell[keep]
    own = problem.lanes(voxel)
    u = _in_double_precision(found, starts, own)
    found, converged, n_iter = finish(objective.expand(u, own, near=found), own)
    loss = _by_voxel(found.loss, voxel, cell, gain.to(found.loss.dtype))
    index = _repeat_last(_place_of_best(loss, voxel, cell), n_voxels)
    return found.lanes(index), converged[index], n_iter[index]


def _worth_following(mask, n_voxels):
    """Voxels and cells of the starts in a mask, in whole multiples of lanes."""
    return tuple(whole(i) for i in torch.nonzero(mask[:n_voxels], as_tuple=True))


def _repeat_last(index, n_voxels):
    """Places of all voxels, where those beyond the first `n_voxels` repeat the last of them."""
    return torch.cat(
        [index[:n_voxels], index[n_voxels - 1 : n_voxels].expand(max(0, len(index) - n_voxels))]
    )


def _in_single_precision(objective, problem):
    """The problem, and its measurements as least squares expects them."""
    single = Problem(*(t.to(torch.float32) for t in problem))
    return single, objective.noise.without_bias(single.x) / single.precision


def _expand_atoms(objective, book, single, data, voxel, atom):
    """The objective around atoms, with their linear parameters fitted, for chosen voxels."""
    starts = single.lanes(voxel)
    u = objective.to_coordinates(fit_linear(book, take(data, voxel), atom))
    return objective.expand(starts.clamp(u), starts), starts


def _by_voxel(loss, voxel, cell, like):
    """Losses of starts in a table of voxels and cells; infinite where there is none."""
    table = torch.full_like(like, torch.inf)
    table[voxel, cell] = loss.nan_to_num(nan=torch.inf)
    return table


def _place_of_best(loss, voxel, cell):
    """Which of the starts is the best of each voxel."""
    place = torch.zeros_like(loss, dtype=torch.int64)
    place[voxel, cell] = torch.arange(len(voxel), device=place.device)
    return place.gather(1, loss.argmin(1, keepdim=True))[:, 0]


def _follows(found, leader):
    """Whether starts are where their voxel's best one is, which is not counted itself."""
    best = found.lanes(leader)
    distance = ((found.u - best.u).square() * best.metric).sum(0)
    itself = leader == torch.arange(len(leader), device=leader.device)
    # A start repeated to fill up the lanes is told from its twin by nothing but its place.
    twin = (found.u == best.u).all(0)
    return (distance < _SAME) & (found.loss - best.loss < _SAME) & ~itself & ~twin


def _in_double_precision(found, starts, problem):
    """Coordinates in float64, exactly on the bounds of its box where they were on the other's."""
    # A bound rounded to float32 may lie outside the float64 box, or just inside: snap.
    u = torch.where(found.u >= starts.upper, problem.upper, found.u.to(problem.x.dtype))
    return torch.where(found.u <= starts.lower, problem.lower, u)


def _tolerated(loss, noise, margin):
    """Loss (n_voxels,) up to which starts are followed, of losses (n_voxels, n_starts).

    `margin` is in nats; `noise` is the loss of a fit to within noise.
    """
    least = loss.amin(1)
    return least + margin + _SLACK * (least - noise).clamp(min=0)
