"""Screening of many starting points per voxel down to one, or to the few that may still win.

There are two searches. The quick one serves signal models whose best atom nearly always lies beside
the optimum. The thorough one serves models with hard landscapes, and voxels for which the quick one
has failed. It has a denser dictionary, more cells and wider margins, and it follows several starts
to their optima.
"""

import math
from typing import NamedTuple

import torch

from .._torch import LANES, pieces, take, whole
from ..dictionary import fit_linear, look_up
from ._newton import minimize
from ._objective import Problem

# Iterations and tolerance of the quick rounds. Starts that lag behind are dropped after each.
_ROUNDS = (1, 0.0), (2, 1e-3)
# Nats above the best start up to which another one is followed: before any iteration, and after
# each round.
_MARGIN = 0.25
_LAG = 0.05
# A measurement is at the noise floor if its bias exceeds this, in sigma. Each such measurement
# beyond half of all widens margin and lag by these nats.
_BIASED = 0.2
_FLOOR_MARGIN = 4.0
_FLOOR_LAG = 4.0
_MANY_AXES = 5  # number of searched parameters from which a thorough look is exhaustive
# How far the best start misses a fit to within noise, times this, widens the limits too: where all
# atoms are far away, their order says little.
_SLACK = 100.0
# Two starts are at one optimum if neither their squared distance in sigma nor their difference in
# nats reaches this.
_SAME = 1e-2
_BYTES = 16 * 2**20  # measurements of all starts that are followed at once, in bytes


class _Effort(NamedTuple):
    """Effort of a thorough look."""

    rounds: tuple  # iterations, tolerance, and the most starts of a voxel that go on afterwards
    margin: float
    lag: float


_THOROUGH = _Effort(((4, 0.0, 24), (12, 1e-3, 12), (24, 1e-3, 8)), margin=4.0, lag=2.0)
_EXHAUSTIVE = _Effort(((8, 0.0, 64), (24, 1e-3, 24), (24, 1e-3, 16)), margin=32.0, lag=16.0)


def quick_start(objective, book, problem, n_voxels):
    """Expansion around the best start of each voxel, after a few float32 iterations.

    Only the first `n_voxels` are looked at; the others repeat the last of these.
    """
    single, data = _in_single_precision(objective, problem)
    best, gain = look_up(book, data, single.precision)
    # Least squares only approximates the likelihood of measurements at the noise floor. As long as
    # these are few, the other measurements still put the starts into the right order.
    floored = (single.x - data * single.precision > _BIASED).sum(0)
    floored = (floored - single.n_present // 2).clamp(min=0)
    # The gain is a decrease of the loss, so that its negative ranks the starts as a loss does.
    limit = gain.neg().amin(1) + _MARGIN + _FLOOR_MARGIN * floored
    voxel, cell = _worth_following(-gain <= limit[:, None], n_voxels)
    found, starts = _expand_atoms(objective, book, single, data, voxel, best[voxel, cell])
    for n_iterations, tol in _ROUNDS:
        found, _, _ = minimize(objective, found, starts, max_iter=n_iterations, tol=tol)
        loss = _by_voxel(found.loss, voxel, cell, gain)
        limit = loss.amin(1) + _LAG + _FLOOR_LAG * floored
        keep = whole((found.loss <= limit[voxel]).nonzero().squeeze(1))
        found, starts, voxel, cell = found.lanes(keep), starts.lanes(keep), voxel[keep], cell[keep]
    # The best start of a voxel is within every limit, so that it is among those kept.
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
        Same as in `minimize`.
    """
    # Voxels at once: fewer if there are more measurements, so that the memory stays the same. A
    # float32 has 4 bytes.
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
    # Expected half squared residual, and loss, of a fit that leaves just the noise: half the square
    # of a standard normal variable is 1/2 on average. The gain counts from no signal, where half
    # the squared residual is that of the data; the loss lacks the normalizer.
    half = 0.5 * single.n_present
    noise_gain = half - 0.5 * (data * single.precision).square().sum(0)
    normalizer = single.present(objective.noise.normalizer(single.x)).sum(0)
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
        # Starts that have run into their voxel's best one would only repeat it.
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
    """Voxels and cells of the starts in a mask, repeated up to a multiple of `LANES`."""
    return tuple(whole(i) for i in torch.nonzero(mask[:n_voxels], as_tuple=True))


def _repeat_last(index, n_voxels):
    """Places of all voxels, where those after the first `n_voxels` repeat the last of these."""
    return torch.cat(
        [index[:n_voxels], index[n_voxels - 1 : n_voxels].expand(max(0, len(index) - n_voxels))]
    )


def _in_single_precision(objective, problem):
    """The problem in float32, and its measurements, in their own units, without most bias."""
    single = Problem(*(t.to(torch.float32) for t in problem))
    data = objective.noise.without_bias(single.x) / single.precision
    return single, single.present(data)


def _expand_atoms(objective, book, single, data, voxel, atom):
    """The objective around atoms, with their linear parameters fitted, for chosen voxels."""
    starts = single.lanes(voxel)
    theta = fit_linear(book, take(data, voxel), starts.precision, atom)
    u = objective.to_coordinates(theta)
    return objective.expand(starts.clamp(u), starts), starts


def _by_voxel(loss, voxel, cell, like):
    """Table of the losses of starts by voxel and cell, infinite where there is no start."""
    table = torch.full_like(like, torch.inf)
    table[voxel, cell] = loss.nan_to_num(nan=torch.inf)
    return table


def _place_of_best(loss, voxel, cell):
    """Place, among all starts, of the best start of each voxel."""
    place = torch.zeros_like(loss, dtype=torch.int64)
    place[voxel, cell] = torch.arange(len(voxel), device=place.device)
    return place.gather(1, loss.argmin(1, keepdim=True))[:, 0]


def _follows(found, leader):
    """Whether each start has arrived at its voxel's best one; false for the best one itself."""
    best = found.lanes(leader)
    distance = ((found.u - best.u).square() * best.metric).sum(0)
    itself = leader == torch.arange(len(leader), device=leader.device)
    # The best start may occur twice, repeated to fill up the lanes. Its twin is not dropped.
    twin = (found.u == best.u).all(0)
    return (distance < _SAME) & (found.loss - best.loss < _SAME) & ~itself & ~twin


def _in_double_precision(found, starts, problem):
    """Coordinates in float64, exactly on a bound where they were on the float32 one."""
    # Rounded to float32, a bound may lie just outside or just inside the float64 box.
    u = torch.where(found.u >= starts.upper, problem.upper, found.u.to(problem.x.dtype))
    return torch.where(found.u <= starts.lower, problem.lower, u)


def _tolerated(loss, noise, margin):
    """Loss (n_voxels,) up to which starts are followed, of losses (n_voxels, n_starts).

    `margin` is in nats; `noise` is the loss of a fit to within noise.
    """
    least = loss.amin(1)
    return least + margin + _SLACK * (least - noise).clamp(min=0)
