"""Bounded Newton iterations on many small problems at once.

One voxel is one lane, along the last axis of every tensor. The small linear systems are solved
by loops over parameters of operations on whole lanes.
"""

from typing import NamedTuple

import torch

_FIRST_DAMPING = 1e-3
_STALLED = 1e8  # damping at which a lane has stopped improving without having converged


class Expansion(NamedTuple):
    """Objective around `u`, to second order; only the hessian's upper triangle is filled."""

    u: torch.Tensor
    loss: torch.Tensor
    gradient: torch.Tensor
    metric: torch.Tensor
    hessian: torch.Tensor

    def lanes(self, index):
        """The expansion of some voxels only."""
        return Expansion(*(field[..., index] for field in self))

    def assign(self, index, other):
        """Overwrite the voxels `index` with those of `other`."""
        for mine, theirs in zip(self, other, strict=True):
            mine[..., index] = theirs


class Objective:
    """Negative log-likelihood of a block of voxels, without its constants.

    Works on coordinates `u`: the parameters themselves, or the logarithm of those that the model
    declares to be better searched for on a logarithmic axis.

    Parameters
    ----------
    model : SignalModel
    noise : noise model
    """

    def __init__(self, model, noise):
        self.model = model
        self.noise = noise
        self._log = [j for j, p in enumerate(model.parameters) if p.log]

    def to_coordinates(self, theta):
        """Parameters (n_parameters, ...) as coordinates."""
        u = theta.clone()
        for j in self._log:
            u[j] = torch.log(theta[j])
        return u

    def to_parameters(self, u):
        """Coordinates (n_parameters, ...) as parameters."""
        theta = u.clone()
        for j in self._log:
            theta[j] = torch.exp(u[j])
        return theta

    def expand(self, u, x, precision):
        """Expand to second order.

        Parameters
        ----------
        u : tensor of shape (n_parameters, n_voxels)
        x : tensor of shape (n_measurements, n_voxels)
            Measurements in units of sigma.
        precision : tensor of shape (n_voxels,)
            1 / sigma.
        """
        theta = self.to_parameters(u)
        signal, jacobian = self.model.jacobian(theta)
        loss, first, second = self.noise.derivatives(x, signal * precision)
        first, second = first * precision, second * precision**2
        curvature = self.model.curvature(theta, jacobian, first)
        if curvature is None:  # Gauss-Newton: only positive weights keep it a descent method
            second = torch.maximum(second, 0.05 * precision**2)
            curvature = 0.0
        gradient = (jacobian * first).sum(1)
        metric = (jacobian * jacobian).sum(1) * precision**2
        hessian = _weighted_products(jacobian, second) + curvature
        for j in self._log:
            chain = theta[j]
            gradient[j] *= chain
            metric[j] *= chain**2
            hessian[j] *= chain
            hessian[:, j] *= chain
            hessian[j, j] += gradient[j]
        return Expansion(u, loss.sum(0), gradient, metric, hessian)


def _weighted_products(jacobian, weights):
    """Sum over measurements of weights * J_j * J_k, for j <= k."""
    size, _, lanes = jacobian.shape
    products = jacobian.new_zeros(size, size, lanes)
    for j in range(size):
        weighted = weights * jacobian[j]
        for k in range(j, size):
            torch.sum(weighted * jacobian[k], 0, out=products[j, k])
    return products


def _solve_free(expansion, right, free, damping):
    """Solve (hessian + damping * metric) step = right over the coordinates that are free.

    LDL^T with pivots kept positive, so that the step is one of descent also where the hessian
    is indefinite; coordinates that are not free get a step of 0.
    """
    hessian, metric = expansion.hessian, expansion.metric
    size = len(right)
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


def _symmetric_product(upper, vector):
    """Product of symmetric matrices, given by their upper triangles, with vectors."""
    product = torch.zeros_like(vector)
    for j in range(len(vector)):
        product[j].addcmul_(upper[j, j], vector[j])
        for k in range(j + 1, len(vector)):
            product[j].addcmul_(upper[j, k], vector[k])
            product[k].addcmul_(upper[j, k], vector[j])
    return product


def _box_step(expansion, lower, upper, damping):
    """Damped Newton step inside the box, and the decrease of the objective it predicts.

    Coordinates on a bound that the gradient pushes outwards stay. Where the step leaves the box
    its clipped coordinates are put on their bounds and the others solved for again.
    """
    u, gradient = expansion.u, expansion.gradient
    outwards = ((u <= lower) & (gradient > 0)) | ((u >= upper) & (gradient < 0))
    # A coordinate without any effect on the signal (all of them, where S0 = 0) stays too.
    flat = expansion.metric < 1e8 * torch.finfo(u.dtype).tiny
    free = (~outwards & ~flat).to(u.dtype)
    step = _solve_free(expansion, -gradient, free, damping)
    target = u + step
    clipped = (target < lower) | (target > upper)
    index = clipped.any(0).nonzero().squeeze(1)
    if len(index):
        part, clip = expansion.lanes(index), clipped[:, index].to(u.dtype)
        low, high = lower[:, index], upper[:, index]
        moved = (torch.clamp(target[:, index], low, high) - part.u) * clip
        right = -part.gradient - _symmetric_product(part.hessian, moved)
        again = _solve_free(part, right, free[:, index] * (1 - clip), damping[index])
        step[:, index] = torch.clamp(part.u + moved + again, low, high) - part.u
    slope = (gradient * step).sum(0)
    bend = (_symmetric_product(expansion.hessian, step) * step).sum(0)
    return step, -slope - 0.5 * bend


def minimize(objective, u, x, precision, lower, upper, *, max_iter, tol):
    """Minimise the objective in a box, from one starting point per voxel.

    Parameters
    ----------
    objective : Objective
    u, lower, upper : tensors of shape (n_parameters, n_voxels)
        Starting point and box, in coordinates.
    x, precision : tensors
        See `Objective.expand`.
    max_iter : int
    tol : float
        Converged where the predicted decrease is below this, in nats.

    Returns
    -------
    best : Expansion
    converged : bool tensor of shape (n_voxels,)
    n_iter : int tensor of shape (n_voxels,)
    """
    at = objective.expand(torch.clamp(u, lower, upper), x, precision)
    best = Expansion(*(field.clone() for field in at))
    converged = torch.zeros_like(at.loss, dtype=torch.bool)
    n_iter = torch.zeros_like(at.loss, dtype=torch.int32)
    lanes = torch.arange(len(at.loss), device=u.device)
    damping = torch.full_like(at.loss, _FIRST_DAMPING)
    for iteration in range(1, max_iter + 1):
        step, predicted = _box_step(at, lower, upper, damping)
        trial = objective.expand(torch.clamp(at.u + step, lower, upper), x, precision)
        worse = (~(trial.loss <= at.loss)).nonzero().squeeze(1)
        trial.assign(worse, at.lanes(worse))
        at = trial
        small = predicted.abs() < tol
        damping *= 0.1
        damping[worse] *= 100.0
        finished = small | (damping > _STALLED)
        n_iter[lanes] = iteration
        converged[lanes] = small
        if iteration == max_iter or finished.sum() > 0.2 * len(lanes) or finished.all():
            best.assign(lanes, at)
            keep = (~finished).nonzero().squeeze(1)
            lanes, at, damping = lanes[keep], at.lanes(keep), damping[keep]
            x, precision = x[:, keep], precision[keep]
            lower, upper = lower[:, keep], upper[:, keep]
            if len(lanes) == 0:
                break
    return best, converged, n_iter
