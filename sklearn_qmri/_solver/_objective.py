"""The likelihood of many voxels, expanded to second order.

One voxel is one lane, along the last axis of every tensor.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import torch

from .._torch import LANES, pieces, put, take

_FIRST_DAMPING = 1e-3
# Bytes of measurements expanded at once: their derivatives still fit into a processor's cache.
_BYTES = 400_000


class Expansion(NamedTuple):
    """Second-order expansion of the objective around `u`, and the damping of steps from it.

    The hessian is packed as the rows of its upper triangle, see `entries`. The metric, one positive
    number per coordinate, is the scale of the damping.
    """

    u: torch.Tensor
    loss: torch.Tensor
    gradient: torch.Tensor
    metric: torch.Tensor
    hessian: torch.Tensor
    damping: torch.Tensor

    def lanes(self, index):
        """The expansion of some voxels only."""
        return Expansion(*(take(field, index) for field in self))

    def assign(self, index, other):
        """Overwrite the voxels `index` with those of `other`."""
        for mine, theirs in zip(self, other, strict=True):
            put(mine, index, theirs)


class Problem(NamedTuple):
    """Data and box of some voxels.

    Attributes
    ----------
    x : tensor of shape (n_measurements, n_voxels)
        Measurements in units of sigma.
    precision : tensor of shape (n_voxels,) or (n_measurements, n_voxels)
        1 / sigma; 0 where there is no measurement.
    lower, upper : tensors of shape (n_parameters, n_voxels) or (n_parameters, 1)
        Box in coordinates, with one column if it is the same for all voxels.
    """

    x: torch.Tensor
    precision: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor

    @property
    def n_voxels(self):
        """Number of voxels."""
        return self.x.shape[1]

    @property
    def n_present(self):
        """Number of measurements, one for all voxels or (n_voxels,)."""
        return len(self.x) if self.precision.ndim == 1 else (self.precision > 0).sum(0)

    def present(self, values):
        """Values (n_measurements, n_voxels), with 0 where there is no measurement."""
        return values if self.precision.ndim == 1 else torch.where(self.precision > 0, values, 0.0)

    def lanes(self, index):
        """The problem of some voxels only."""
        lower, upper = (b if b.shape[1] == 1 else take(b, index) for b in self[2:])
        return Problem(take(self.x, index), take(self.precision, index), lower, upper)

    def clamp(self, u):
        """Coordinates moved into the box."""
        return torch.clamp(u, self.lower, self.upper)


class Objective:
    """Negative log-likelihood of a block of voxels, without its constants.

    Coordinates `u` are the parameters themselves, or the logarithms of those that the signal model
    declares to be better searched for on a logarithmic axis.

    Parameters
    ----------
    model : SignalModel
    noise : noise model
    exact : bool, default=False
        Where the signal model has no `curvature`, take second derivatives by differences instead of
        neglecting them (Gauss-Newton).
    """

    def __init__(self, model, noise, exact=False):
        self.model = model
        self.noise = noise.along(0)
        self.exact = exact
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

    def expand(self, u, problem, near=None):
        """Expand around coordinates u (n_parameters, n_voxels), to second order.

        If an expansion `near` u is given, its metric, hessian and damping are taken over, so that
        only loss and gradient are computed. It may be of lower precision.
        """
        size = _BYTES // (len(problem.x) * u.itemsize)
        parts = [
            self._expand(u[:, rows], problem.lanes(rows), near and near.lanes(rows))
            for rows in pieces(problem.n_voxels, max(LANES, size - size % LANES))
        ]
        return Expansion(*(torch.cat(field, -1) for field in zip(*parts, strict=True)))

    def _expand(self, u, problem, near):
        x, precision = problem.x, problem.precision
        theta = self.to_parameters(u)
        signal, jacobian = self.model.jacobian(theta)
        # Noise models work in units of sigma: with a = signal * precision, each derivative by the
        # signal brings one factor of the precision.
        loss, first, second = self.noise.derivatives(x, signal * precision)
        first, second = first * precision, second * precision**2
        weighted = jacobian * first
        gradient, loss = weighted.sum(1), loss.sum(0)
        # For theta = exp(u), d theta / d u = theta.
        chain = {j: theta[j] for j in self._log}
        for j, factor in chain.items():
            gradient[j] *= factor
        if near is not None:
            return Expansion(u, loss, gradient, *(field.to(u.dtype) for field in near[3:]))
        # Hessian by theta: sum over measurements of second * J_j * J_k + first * (d^2 signal), of
        # which `curvature` is the latter sum.
        curvature = self.model.curvature(theta, first, weighted)
        if curvature is None and self.exact:
            curvature = self.model.curvature_by_differences(theta, first, weighted)
        # Gauss-Newton is a descent method only with positive weights. Those of Rician noise may be
        # negative. They stay so where a signal of 0 has no slope by symmetry: only the sign of the
        # second derivative tells whether that is a minimum.
        if curvature is None:
            positive = torch.maximum(second, 0.05 * precision**2)
            second = torch.where(first == 0, second, positive)
        # Squared change of the signal, in sigma, with each parameter. `weighted` is only a buffer
        # from here on.
        metric = torch.mul(jacobian, jacobian, out=weighted)
        if precision.ndim == 1:  # one factor for all measurements is applied once
            metric = metric.sum(1) * precision**2
        else:
            metric = metric.mul_(precision**2).sum(1)
        hessian = _weighted_products(jacobian, second)
        for (j, k), entry in entries(hessian, len(u)).items():
            if curvature is not None:
                entry += curvature[j, k]
            # Chain rule: an entry changes by theta_j for each logarithmic coordinate in it.
            for i in {j, k} & chain.keys():
                entry *= chain[i] if j != k else chain[i] ** 2
        for j, factor in chain.items():
            metric[j] *= factor**2
            # d^2 L / d u^2 = theta^2 * L'' + theta * L', and theta * L' is the gradient by u.
            entries(hessian, len(u))[j, j].add_(gradient[j])
        return Expansion(u, loss, gradient, metric, hessian, torch.full_like(loss, _FIRST_DAMPING))


def _weighted_products(jacobian, weights):
    """Sums over measurements of weights * J_j * J_k, for j <= k."""
    size, _, lanes = jacobian.shape
    products = jacobian.new_empty(size * (size + 1) // 2, lanes)
    for (j, k), entry in entries(products, size).items():
        # Entries come row by row, each row beginning with its diagonal.
        if j == k:
            weighted = weights * jacobian[j]
        torch.sum(weighted * jacobian[k], 0, out=entry)
    return products


def entries(packed, size):
    """Entries (j, k) with j <= k of packed symmetric matrices, as views."""
    return dict(zip(combinations_with_replacement(range(size), 2), packed, strict=True))
