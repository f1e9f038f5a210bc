"""Bounded Newton iterations on many small problems at once.

One voxel is one lane, along the last axis of every tensor. Small linear systems are solved by loops
over the parameters, in which each operation acts on all lanes.
"""

import torch

from .._torch import put, take, whole
from ._objective import entries

# Damping up to which a small predicted decrease means that the optimum is near. Larger damping
# makes any step, and so its decrease, small.
_TRUSTED = 1.0
# Factors of the damping after a step that decreased the loss, and after one that did not.
_EASE = 0.1
_HARDEN = 10.0
# A last step is evaluated where it may change the signal by more than 0.01 sigma (squared: 1e-4),
# or a coordinate by more than 3 %. Coarser tolerances than _SCREENING need no such check.
_FAR = 1e-4
_SCREENING = 1e-4
_FAR_STEP = 0.03
# Such a step is the last one if it has changed the loss by up to this multiple of the tolerance.
_SETTLED = 10.0


def _solve_free(expansion, right, free):
    """Solve (hessian + damping * metric) step = right over the coordinates that are free.

    The pivots of the LDL^T factorisation are kept positive, so that the step is one of descent also
    where the hessian is indefinite. Coordinates that are not free get a step of 0.
    """
    metric, damping = expansion.metric, expansion.damping
    size = len(right)
    hessian = entries(expansion.hessian, size)
    # A pivot below its rounding error, relative to the metric, says nothing of the curvature.
    floor = torch.finfo(right.dtype).eps * 100
    lower = [[None] * size for _ in range(size)]
    scaled = [[None] * size for _ in range(size)]  # lower * pivot
    inverse = []
    for j in range(size):
        for i in range(j, size):
            entry = hessian[j, i] + damping * metric[j] if i == j else hessian[j, i].clone()
            # A_ij = sum_k L_ik D_k L_jk, so L_ij D_j = A_ij - sum_{k<j} L_ik (L_jk D_k).
            for k in range(j):
                entry.addcmul_(lower[i][k], scaled[j][k], value=-1)
            scaled[i][j] = entry
        # An inverse pivot of 0 removes a coordinate that is not free: its column of L, its
        # share of all later entries and its step become 0.
        pivot = torch.maximum(scaled[j][j].abs(), floor * metric[j])
        inverse.append(free[j] / pivot.clamp_(min=torch.finfo(right.dtype).tiny))
        for i in range(j + 1, size):
            lower[i][j] = scaled[i][j] * inverse[j]
    # Forward substitution with L, division by D, backward substitution with L^T.
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
    """End of a damped Newton step inside the box, and the decrease that it predicts.

    Coordinates on a bound stay there if a descent would push them outwards. Where the step leaves
    the box, its clipped coordinates are put on their bounds and the others are solved for again.
    """
    u, gradient = expansion.u, expansion.gradient
    at_lower, at_upper = u <= problem.lower, u >= problem.upper
    outwards = (at_lower & (gradient > 0)) | (at_upper & (gradient < 0))
    # A coordinate without any effect on the signal (all of them, where S0 = 0) stays too.
    flat = expansion.metric < 1e8 * torch.finfo(u.dtype).tiny
    free = (~outwards & ~flat).to(u.dtype)
    step = _solve_free(expansion, -gradient, free)
    # The model decreases by -(g s + s H s / 2). With H s = -g - damping * M s, that is
    # s (damping * M s - g) / 2, which needs no product with H. M is the diagonal metric.
    predicted = 0.5 * (step * (expansion.damping * expansion.metric * step - gradient)).sum(0)
    target = u + step
    inside = problem.clamp(target)
    clipped = inside != target
    index = whole(clipped.any(0).nonzero().squeeze(1))
    if len(index):
        # With the clipped coordinates c moved by m, the others f solve
        # (H + damping * M)_ff s_f = -g_f - H_fc m; the diagonal M does not couple them.
        part, clip = expansion.lanes(index), take(clipped, index).to(u.dtype)
        moved = (take(inside, index) - part.u) * clip
        right = -part.gradient - _symmetric_product(part.hessian, moved)
        again = _solve_free(part, right, take(free, index) * (1 - clip))
        again = problem.lanes(index).clamp(part.u + moved + again)
        put(inside, index, again)
        # This step, possibly clipped once more, does not solve the system: -(g s + s H s / 2).
        again = again - part.u
        bend = _symmetric_product(part.hessian, again)
        put(predicted, index, -(again * (part.gradient + 0.5 * bend)).sum(0))
    _leave_saddles(problem, expansion, at_lower & (gradient == 0) & ~flat, inside, predicted)
    return inside, predicted


def _leave_saddles(problem, expansion, stuck, target, predicted):
    """Move off a bound on which the gradient vanishes by symmetry but the objective falls inwards.

    Rician likelihoods are even in the signal: their slope at S0 = 0 is 0 at a minimum and at a
    maximum alike.
    """
    if not stuck.any():
        return
    hessian = entries(expansion.hessian, len(stuck))
    for j in range(len(stuck)):
        falling = (stuck[j] & (hessian[j, j] < 0)).nonzero().squeeze(1)
        # The metric is the squared change of the signal, in sigma, per unit: this moves it by 1,
        # or to the upper bound. With no slope, the loss changes by H_jj * move^2 / 2.
        off = target[:, falling].clone()
        off[j] += expansion.metric[j, falling].rsqrt()
        off = problem.lanes(falling).clamp(off)
        move = off[j] - target[j, falling]
        target[:, falling] = off
        predicted[falling] -= 0.5 * hessian[j, j][falling] * move**2


class _Running:
    """Voxels that still iterate, and the results of those that have converged."""

    def __init__(self, start, problem, max_iter):
        # The results reuse the memory of `start`, lane by lane as voxels converge.
        self.best = self.at = start
        self.problem = problem
        self.converged = torch.zeros_like(start.loss, dtype=torch.bool)
        self.n_iter = torch.full_like(start.loss, max_iter, dtype=torch.int32)
        # Lane of `best` that each lane of `at` belongs to.
        self.lanes = torch.arange(len(start.loss), device=start.loss.device)

    def finish(self, done, keep, iteration):
        """Store the lanes `done` as converged where they are, and go on with the lanes `keep`.

        Returns the lanes that go on, repeated up to a multiple of `LANES`.
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
        """Results of all voxels, converged or not, in their order."""
        if not self.converged.any():
            return self.at, self.converged, self.n_iter
        self.best.assign(self.lanes, self.at)
        return self.best, self.converged, self.n_iter


def _goes_far(at, u):
    """Whether each lane moves the signal so far that its expansion may no longer hold.

    A small predicted decrease p only says that ``step * hessian * step = 2 * p`` is small. That is
    so for long steps too: along a ridge, where the effects of the coordinates cancel, and on a
    plateau. ``step * metric * step`` adds up their effects without cancellation.
    """
    step = u - at.u
    moved = (step * step * at.metric).sum(0)
    return (moved > _FAR) | (step.abs() > _FAR_STEP * (1 + u.abs())).any(0)


def _one_more(objective, trial, run):
    """Better one of a trial and the end of a second step from there, with the same damping."""
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
        A voxel has converged where the predicted decrease is below this, in nats, and not small
        merely because of damping. Where such a step goes far, its actual change must be small too.
    patient : bool, default=False
        Judge two steps together. Along a curved valley a long step leaves the floor. Only the next
        one, back onto the floor, shows that both together decrease the loss.

    Returns
    -------
    best : Expansion
        Optima. Derivatives of a voxel that has converged are mostly those before its last step.
    converged : bool tensor of shape (n_voxels,)
    n_iter : int tensor of shape (n_voxels,)
    """
    run = _Running(start, problem, max_iter)
    for iteration in range(1, max_iter + 1):
        u, predicted = _box_step(run.at, run.problem)
        small = (predicted.abs() < tol) & (run.at.damping <= _TRUSTED)
        far = None
        if small.any():
            # A short last step is taken without evaluating it: the loss that remains to be gained
            # is far below its own decrease. In screening every step counts as short, because its
            # start is evaluated afresh in float64 anyway if it wins.
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
        # Negated, so that a loss of NaN counts as worse. Worse lanes go back to where they were,
        # with more damping. Dampings are set first, because `assign` copies them too.
        worse = (~(change <= 0)).nonzero().squeeze(1)
        torch.mul(run.at.damping, _EASE, out=trial.damping)
        run.at.damping.mul_(_HARDEN)
        trial.assign(worse, run.at.lanes(worse))
        run.at = trial
        # Far steps, now evaluated: a small change of the loss confirms the optimum.
        if far is not None and (settled := far & (change.abs() <= _SETTLED * tol)).any():
            split = (settled.nonzero().squeeze(1), (~settled).nonzero().squeeze(1))
            run.finish(*split, iteration)
            if len(run.lanes) == 0:
                break
    return run.results()
