"""Bounded Newton iterations on many small problems at once.

One voxel is one lane, along the last axis of every tensor. The small linear systems are solved
by loops over parameters of operations on whole lanes.
"""

import torch

from .._torch import put, take, whole
from ._objective import entries

_TRUSTED = 1.0  # damping up to which a small predicted decrease means that the optimum is near
_EASE = 0.1  # factor of the damping after a step that was better than where it started, ...
_HARDEN = 10.0  # ... and after one that was not
# A last step is checked where it may change the signal by more than 0.01 sigma, or a coordinate by
# more than 3 %, but for the coarse tolerances with which starts are screened.
_FAR = 1e-4
_SCREENING = 1e-4
_FAR_STEP = 0.03
_SETTLED = 10.0  # times the tolerance: change in loss by a checked step, up to which it was small


def _solve_free(expansion, right, free):
    """Solve (hessian + damping * metric) step = right over the coordinates that are free.

    LDL^T with pivots kept positive, so that the step is one of descent also where the hessian
    is indefinite; coordinates that are not free get a step of 0.
    """
    metric, damping = expansion.metric, expansion.damping
    size = len(right)
    hessian = entries(expansion.hessian, size)
    floor = torch.finfo(right.dtype).eps * 100
    lower = [[None] * size for _ in range(size)]
    scaled = [[None] * size for _ in range(size)]  # lower * pivot
    inverse = []
    for j in range(size):
        for i in range(j, size):
            entry = hessian[j, i] + damping * metric[j] if i == j else hessian[j, i].clone()
            for k in range(j):
                entry.addcmul_(lower[i][k], scaled[j][k], value=-1)
            scaled[i][j] = entry
        pivot = torch.maximum(scaled[j][j].abs(), floor * metric[j])
        inverse.append(free[j] / pivot.clamp_(min=torch.finfo(right.dtype).tiny))
        for i in range(j + 1, size):
            lower[i][j] = scaled[i][j] * inverse[j]
    step = []
    for j in range(size):
        value = right[j].clone()
        for k in range(j):
            value.addcmul_(lower[j][k], step[k], value=-1)
        step.append(value)
    step = [value * inv for value, inv in zip(step, inverse, strict=True)]
    for j in reversed(range(size)):
        for i in range(j + 1, size):
            step[j].addcmul_(lower[i][j], step[i], value=-1)
    return torch.stack(step)


def _symmetric_product(packed, vector):
    """Product of packed symmetric matrices with vectors."""
    product = torch.zeros_like(vector)
    for (j, k), entry in entries(packed, len(vector)).items():
        product[j].addcmul_(entry, vector[k])
        if j != k:
            product[k].addcmul_(entry, vector[j])
    return product


def _box_step(expansion, problem):
    """Where a damped Newton step inside the box leads, and the decrease that it predicts.

    Coordinates on a bound that the gradient pushes outwards stay. Where the step leaves the box
    its clipped coordinates are put on their bounds and the others solved for again.
    """
    u, gradient = expansion.u, expansion.gradient
    at_lower, at_upper = u <= problem.lower, u >= problem.upper
    outwards = (at_lower & (gradient > 0)) | (at_upper & (gradient < 0))
    # A coordinate without any effect on the signal (all of them, where S0 = 0) stays too.
    flat = expansion.metric < 1e8 * torch.finfo(u.dtype).tiny
    free = (~outwards & ~flat).to(u.dtype)
    step = _solve_free(expansion, -gradient, free)
    # For the step that solves the damped system, hessian * step = -gradient - damping * step.
    predicted = 0.5 * (step * (expansion.damping * expansion.metric * step - gradient)).sum(0)
    target = u + step
    inside = problem.clamp(target)
    clipped = inside != target
    index = whole(clipped.any(0).nonzero().squeeze(1))
    if len(index):
        part, clip = expansion.lanes(index), take(clipped, index).to(u.dtype)
        moved = (take(inside, index) - part.u) * clip
        right = -part.gradient - _symmetric_product(part.hessian, moved)
        again = _solve_free(part, right, take(free, index) * (1 - clip))
        again = problem.lanes(index).clamp(part.u + moved + again)
        put(inside, index, again)
        again = again - part.u
        bend = _symmetric_product(part.hessian, again)
        put(predicted, index, -(again * (part.gradient + 0.5 * bend)).sum(0))
    _leave_saddles(expansion, at_lower & (gradient == 0) & ~flat, inside, predicted)
    return inside, predicted


def _leave_saddles(expansion, stuck, target, predicted):
    """Move off a bound on which the gradient vanishes by symmetry but the objective falls inwards.

    Rician likelihoods are even in the signal: no slope at S0 = 0, be it a minimum or not.
    """
    if not stuck.any():
        return
    hessian = entries(expansion.hessian, len(stuck))
    for j in range(len(stuck)):
        falling = (stuck[j] & (hessian[j, j] < 0)).nonzero().squeeze(1)
        move = expansion.metric[j, falling].rsqrt()
        target[j, falling] += move
        predicted[falling] -= 0.5 * hessian[j, j][falling] * move**2


class _Running:
    """Voxels still under way, and the results of those that are done."""

    def __init__(self, start, problem, max_iter):
        self.best = self.at = start
        self.problem = problem
        self.converged = torch.zeros_like(start.loss, dtype=torch.bool)
        self.n_iter = torch.full_like(start.loss, max_iter, dtype=torch.int32)
        self.lanes = torch.arange(len(start.loss), device=start.loss.device)

    def finish(self, done, keep, iteration):
        """Note the voxels `done` (indices of lanes) as converged where they are; go on with others.

        Returns the indices of the lanes that go on.
        """
        place = self.lanes[done]
        if self.at is not self.best:
            self.best.assign(place, self.at.lanes(done))
        self.converged[place], self.n_iter[place] = True, iteration
        keep = whole(keep)
        self.at, self.problem = self.at.lanes(keep), self.problem.lanes(keep)
        self.lanes = self.lanes[keep]
        return keep

    def results(self):
        """All voxels, done or not, in their order."""
        if not self.converged.any():
            return self.at, self.converged, self.n_iter
        self.best.assign(self.lanes, self.at)
        return self.best, self.converged, self.n_iter


def _goes_far(at, u):
    """Which lanes move the signal so far that its expansion may no longer hold.

    A step with a predicted decrease p has `step * hessian * step = 2 * p`. The metric is the
    diagonal of the hessian of least squares, so along a ridge, or on a plateau where the slopes
    vanish, `step * metric * step` is many times that.
    """
    step = u - at.u
    moved = (step * step * at.metric).sum(0)
    return (moved > _FAR) | (step.abs() > _FAR_STEP * (1 + u.abs())).any(0)


def _one_more(objective, trial, run):
    """The better of a trial and where a second step, as damped as the first, leads from there."""
    trial.damping.copy_(run.at.damping)
    u, _ = _box_step(trial, run.problem)
    second = objective.expand(u, run.problem)
    better = (second.loss < trial.loss).nonzero().squeeze(1)
    trial.assign(better, second.lanes(better))
    return trial


def minimize(objective, start, problem, *, max_iter, tol, patient=False):
    """Minimise the objective in a box, from one starting point per voxel.

    Parameters
    ----------
    objective : Objective
    start : Expansion
        The objective around the starting points, which lie in the box. Overwritten.
    problem : Problem
    max_iter : int
    tol : float
        Converged where the predicted decrease is below this, in nats, by a step that is not small
        only for being damped; where such a step goes far, the decrease must turn out to be small.
    patient : bool, default=False
        Judge two steps together. Along a curved valley a long step leaves the floor, and only the
        next one, back onto it, shows that both together gain.

    Returns
    -------
    best : Expansion
        Where a voxel has converged, derivatives are those before its last step.
    converged : bool tensor of shape (n_voxels,)
    n_iter : int tensor of shape (n_voxels,)
    """
    run = _Running(start, problem, max_iter)
    for iteration in range(1, max_iter + 1):
        u, predicted = _box_step(run.at, run.problem)
        small = (predicted.abs() < tol) & (run.at.damping <= _TRUSTED)
        far = None
        if small.any():
            # A short last step is taken without a look: what it leaves is far below what it gains.
            # While starts are screened, a wrong one is evaluated in the next round anyway.
            if tol < _SCREENING:
                far = small & _goes_far(run.at, u)
                small &= ~far
            done = small.nonzero().squeeze(1)
            put(run.at.u, done, take(u, done))
            put(run.at.loss, done, take(run.at.loss - predicted, done))
            keep = run.finish(done, (~small).nonzero().squeeze(1), iteration)
            u, far = take(u, keep), None if far is None else far[keep]
            if len(run.lanes) == 0:
                break
        trial = objective.expand(u, run.problem)
        if patient:
            trial = _one_more(objective, trial, run)
        change = trial.loss - run.at.loss
        worse = (~(change <= 0)).nonzero().squeeze(1)
        torch.mul(run.at.damping, _EASE, out=trial.damping)
        run.at.damping.mul_(_HARDEN)
        trial.assign(worse, run.at.lanes(worse))
        run.at = trial
        if far is not None and (settled := far & (change.abs() <= _SETTLED * tol)).any():
            split = (settled.nonzero().squeeze(1), (~settled).nonzero().squeeze(1))
            run.finish(*split, iteration)
            if len(run.lanes) == 0:
                break
    return run.results()
