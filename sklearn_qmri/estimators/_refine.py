"""Importance sampling around what is already known of each voxel's posterior."""

import numpy as np
import torch
from scipy import stats
from scipy.stats import qmc

_SEARCH_POINTS = 256  # per voxel, in the rounds that look for the posterior
_MOST_ROUNDS = 6
_LAST_ROUNDS = 4  # for the voxels whose points then still have little weight
_ENOUGH = 50  # effective sample size that the moments of a round need
_TEMPERATURES = 1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003, 0.001
_FREEDOM = 5  # of the t-distribution that points are drawn from, as tails must not be missed
_LONG_AXES = 2  # axes along which half of the points are stretched ...
_STRETCH = 3.0  # ... by this factor
_WIDER = 1.2  # variance of the points over that found
_VALUES = 2**20  # of points and measurements, held at once


def weighted_moments(weights, values):
    """Mean, covariance and effective sample size of weighted points.

    Parameters
    ----------
    weights : tensor of shape (n_voxels, n_points)
    values : tensor of shape (n_points, n_columns) or (n_voxels, n_points, n_columns)

    Returns
    -------
    mean : ndarray of shape (n_voxels, n_columns)
    covariance : ndarray of shape (n_voxels, n_columns, n_columns)
    size : ndarray of shape (n_voxels,)
    """
    total = weights.sum(1, keepdim=True)
    weights = weights / total.clamp(min=torch.finfo(weights.dtype).tiny)
    products = (values[..., :, None] * values[..., None, :]).flatten(-2)
    if values.ndim == 2:
        mean, square = weights @ values, weights @ products
    else:
        mean, square = (torch.einsum("vp,vpc->vc", weights, t) for t in (values, products))
    mean, square = mean.double(), square.double().unflatten(1, (mean.shape[1],) * 2)
    size = 1 / weights.square().sum(1).clamp(min=1e-30)
    size[total[:, 0] <= 0] = 0
    covariance = square - mean[:, :, None] * mean[:, None, :]
    return mean.numpy(), covariance.numpy(), size.double().numpy()


def tempered_moments(log_weights, values, enough):
    """Moments under the highest power of the weights that leaves enough effective points.

    Returns
    -------
    mean, covariance, size
        As in `weighted_moments`.
    whole : bool ndarray of shape (n_voxels,)
        Where that power is 1.
    """
    power = torch.full_like(log_weights[:, :1], _TEMPERATURES[-1])
    for temperature in reversed(_TEMPERATURES[:-1]):
        weights = (log_weights * temperature).exp()
        size = weights.sum(1, keepdim=True) ** 2 / weights.square().sum(1, keepdim=True)
        power[size >= enough] = temperature
    # Infinitely small weights stay so.
    moments = weighted_moments((log_weights * power).exp(), values)
    return *moments, (power[:, 0] == 1).numpy()


def _log_density(points):
    """Log density of a t-distribution at points (n_points, n_axes), up to a constant."""
    squared = (points**2).sum(axis=1) / _FREEDOM
    return -0.5 * (_FREEDOM + points.shape[1]) * np.log1p(squared)


class Refinement:
    """Moments of the posterior by points of each voxel's own, under a prior of ranges.

    Points are those of a scrambled Sobol sequence, the same for all voxels, moved to each
    voxel's mean and covariance; a voxel's result does not depend on the others.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    ranges : ndarray of shape (2, n_parameters)
    n_points : int
        Per voxel, once it is found.
    rng : numpy.random.RandomState
    """

    def __init__(self, signal_model, noise, ranges, n_points, rng):
        self.signal_model = signal_model
        self.noise = noise
        self.ranges = ranges
        self.free = np.flatnonzero(ranges[0] < ranges[1])
        seed = int(rng.randint(np.iinfo(np.int32).max))
        n_free = len(self.free)
        sequence = qmc.Sobol(n_free + 2, rng=seed)
        unit = sequence.random_base2((n_points - 1).bit_length())[:n_points]
        unit = unit.clip(1e-9, 1 - 1e-9)
        # A t-distribution is a normal one over the root of a chi-squared one, whose uniform number
        # is the last but one.
        heavy = np.sqrt(_FREEDOM / stats.chi2.ppf(unit[:, -2:-1], _FREEDOM))
        points = stats.norm.ppf(unit[:, :-2]) * heavy
        # Half of the points are stretched along the axes with the largest variance: a ridge that is
        # longer than it has been found yet then shows by points with large weights on it.
        long = np.arange(n_free) >= n_free - _LONG_AXES
        stretch = np.where(long, _STRETCH, 1.0)
        self.points = np.where(unit[:, -1:] < 0.5, points, points * stretch)
        # Both halves count with their common density (a deterministic mixture, Veach and Guibas
        # 1995), up to factors that are the same for all points of a voxel.
        self.log_proposal = np.logaddexp(
            _log_density(self.points), _log_density(self.points / stretch) - np.log(stretch).sum()
        )

    def __call__(self, X, sigma, mean, covariance, center, scale):
        """Refine moments, of parameters in units of ``(parameter - center) / scale``.

        Returns
        -------
        mean, covariance, size
            As in `weighted_moments`, of each row of X.
        """
        step = max(1, _VALUES // (len(self.points) * X.shape[1]))
        blocks = [slice(i, i + step) for i in range(0, len(X), step)]
        found = [
            self._refine(X[b], sigma[b], mean[b], covariance[b], center, scale) for b in blocks
        ]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _refine(self, X, sigma, mean, covariance, center, scale):
        few, many = slice(_SEARCH_POINTS), slice(None)
        rest = np.arange(len(X))
        for _ in range(_MOST_ROUNDS):
            values, log_weights = self._draw(
                few, X[rest], sigma[rest], mean[rest], covariance[rest], center, scale
            )
            *moments, found = tempered_moments(log_weights, values, _ENOUGH)
            mean[rest], covariance[rest] = moments[:2]
            rest = rest[~found]
            if len(rest) == 0:
                break
        rest, found = np.arange(len(X)), None
        for _ in range(_LAST_ROUNDS):
            values, log_weights = self._draw(
                many, X[rest], sigma[rest], mean[rest], covariance[rest], center, scale
            )
            moments = weighted_moments(log_weights.exp(), values)
            if found is None:
                found = moments
            better = moments[2] >= found[2][rest]
            for whole, part in zip(found, moments, strict=True):
                whole[rest[better]] = part[better]
            again = moments[2] < _ENOUGH
            mean[rest], covariance[rest] = tempered_moments(log_weights, values, _ENOUGH)[:2]
            rest = rest[again]
            if len(rest) == 0:
                break
        return found

    def _draw(self, points, X, sigma, mean, covariance, center, scale):
        """Points of each voxel and the logarithm of their weights."""
        values = self._place(self.points[points], mean, covariance)
        log_proposal = self.log_proposal[points]
        log_weights = self._weigh(X, sigma, values * scale + center, log_proposal)
        return torch.from_numpy(values), log_weights

    def _place(self, points, mean, covariance):
        """Points around each voxel's mean, along the principal axes of its covariance."""
        free = self.free
        own = _WIDER * covariance[:, free[:, None], free]
        lost = ~np.isfinite(own).all(axis=(1, 2))  # voxels that no tissue of the prior is like
        own[lost] = np.eye(len(free))
        variance, axes = np.linalg.eigh(own)  # the largest variance last, as in the points
        spread = axes * np.sqrt(np.maximum(variance, 1e-8))[:, None, :]
        values = np.repeat(mean[:, None], len(points), axis=1)
        values[:, :, free] += points @ spread.mT
        return values

    def _weigh(self, X, sigma, parameters, log_proposal):
        """Log of posterior over proposal density, (n_voxels, n_points); -inf outside the prior."""
        n_voxels, n_points, n_parameters = parameters.shape
        low, high = self.ranges
        inside = ((parameters >= low) & (parameters <= high))[..., self.free].all(axis=2)
        theta = torch.from_numpy(parameters.reshape(-1, n_parameters).clip(low, high).T)
        x = torch.from_numpy(X.T / sigma)[:, :, None]
        signal = self.signal_model.signal(theta).reshape(-1, n_voxels, n_points)
        signal = signal / torch.from_numpy(sigma)[:, None]
        log_weights = -self.noise.derivatives(x, signal)[0].sum(0)
        log_weights -= torch.from_numpy(log_proposal)
        log_weights[~torch.from_numpy(inside) | log_weights.isnan()] = -torch.inf
        return log_weights - log_weights.amax(1, keepdim=True).clamp(min=-1e300)
