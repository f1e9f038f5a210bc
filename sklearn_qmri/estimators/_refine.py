"""Importance sampling around an approximation of each voxel's posterior."""

import numpy as np
import torch
from scipy import stats
from scipy.stats import qmc

from ..noise import columns_of

# Rounds that search for the posterior: points per voxel, and largest number of rounds.
_SEARCH_POINTS = 256
_MOST_ROUNDS = 6
# Largest number of later rounds with all points; one is enough unless the effective size is small.
_LAST_ROUNDS = 4
# Effective sample size that the moments of a round need.
_ENOUGH = 50
# Powers of the weights that are tried, from the largest to the smallest.
_TEMPERATURES = 1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 0.003, 0.001
# Degrees of freedom of the t-distribution that points are drawn from. Its tails are heavier than
# those of a normal distribution, so that no part of the posterior is missed.
_FREEDOM = 5
# Number of axes along which half of the points are stretched, and the factor.
_LONG_AXES = 2
_STRETCH = 3.0
# Ratio between the variance of the points and the variance of the last round.
_WIDER = 1.2
# Values (of voxels, points and measurements) that are held at once.
_VALUES = 2**20


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
    # A row without any weight keeps zeros instead of NaN, and gets a size of 0.
    weights = weights / total.clamp(min=torch.finfo(weights.dtype).tiny)
    # All products of two columns, (..., n_columns^2): second moments are means of these.
    products = (values[..., :, None] * values[..., None, :]).flatten(-2)
    if values.ndim == 2:
        mean, square = weights @ values, weights @ products
    else:
        mean, square = (torch.einsum("vp,vpc->vc", weights, t) for t in (values, products))
    mean, square = mean.double(), square.double().unflatten(1, (mean.shape[1],) * 2)
    # (sum w)^2 / sum w^2, where the weights now add up to 1.
    size = 1 / weights.square().sum(1).clamp(min=1e-30)
    size[total[:, 0] <= 0] = 0
    covariance = square - mean[:, :, None] * mean[:, None, :]
    return mean.numpy(), covariance.numpy(), size.double().numpy()


def tempered_moments(log_weights, values, enough):
    """Moments under the highest power of the weights with a large enough effective sample size.

    Returns
    -------
    mean, covariance, size
        Same as in `weighted_moments`.
    whole : bool ndarray of shape (n_voxels,)
        Whether that power is 1.
    """
    # From the smallest power up, larger ones overwrite smaller ones. The smallest is used where
    # none is enough.
    power = torch.full_like(log_weights[:, :1], _TEMPERATURES[-1])
    for temperature in reversed(_TEMPERATURES[:-1]):
        weights = (log_weights * temperature).exp()
        size = weights.sum(1, keepdim=True) ** 2 / weights.square().sum(1, keepdim=True)
        power[size >= enough] = temperature
    # Points with a weight of 0 keep it: -inf times any power is -inf.
    moments = weighted_moments((log_weights * power).exp(), values)
    return *moments, (power[:, 0] == 1).numpy()


def _log_density(points):
    """Log density of a multivariate t-distribution at points (n_points, n_axes), less a constant.

    The density is proportional to (1 + |x|^2 / freedom) to the power -(freedom + n_axes) / 2.
    """
    squared = (points**2).sum(axis=1) / _FREEDOM
    return -0.5 * (_FREEDOM + points.shape[1]) * np.log1p(squared)


class Refinement:
    """Moments of the posterior from points drawn for each voxel, under a prior of ranges.

    Points come from one scrambled Sobol sequence, which is shifted and scaled to each voxel's mean
    and covariance. The result of a voxel therefore does not depend on the others.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    ranges : ndarray of shape (2, n_parameters)
    n_points : int
        Points per voxel, after the search.
    rng : numpy.random.RandomState
    """

    def __init__(self, signal_model, noise, ranges, n_points, rng):
        self.signal_model = signal_model
        self.noise = noise
        self.ranges = ranges
        # Parameters with a range of one value are known and not drawn.
        self.free = np.flatnonzero(ranges[0] < ranges[1])
        seed = int(rng.randint(np.iinfo(np.int32).max))
        n_free = len(self.free)
        sequence = qmc.Sobol(n_free + 2, rng=seed)
        unit = sequence.random_base2((n_points - 1).bit_length())[:n_points]
        unit = unit.clip(1e-9, 1 - 1e-9)  # quantiles of 0 and 1 are infinite
        # A normal variable over sqrt(chi-squared / freedom) has a t-distribution. The last but one
        # uniform number gives the chi-squared variable.
        heavy = np.sqrt(_FREEDOM / stats.chi2.ppf(unit[:, -2:-1], _FREEDOM))
        points = stats.norm.ppf(unit[:, :-2]) * heavy
        # Half of the points, by the last uniform number, are stretched along the axes with the
        # largest variance. A ridge that is longer than the present covariance then shows, as points
        # on it have large weights.
        long = np.arange(n_free) >= n_free - _LONG_AXES
        stretch = np.where(long, _STRETCH, 1.0)
        self.points = np.where(unit[:, -1:] < 0.5, points, points * stretch)
        # Every point is weighted by the density of the mixture of both halves (a deterministic
        # mixture, Veach and Guibas 1995), p(x) + p(x / stretch) / prod(stretch), up to a factor
        # that is the same for all points of a voxel.
        self.log_proposal = np.logaddexp(
            _log_density(self.points), _log_density(self.points / stretch) - np.log(stretch).sum()
        )

    def __call__(self, X, sigma, mean, covariance, center, scale):
        """Refine moments of the standardised parameters, ``(parameter - center) / scale``.

        Returns
        -------
        mean, covariance, size
            Same as in `weighted_moments`, for each row of X.
        """
        step = max(1, _VALUES // (len(self.points) * X.shape[1]))
        blocks = [slice(i, i + step) for i in range(0, len(X), step)]
        moments = [
            self._refine(X[b], sigma[b], mean[b], covariance[b], center, scale) for b in blocks
        ]
        return tuple(np.concatenate(parts) for parts in zip(*moments, strict=True))

    def _refine(self, X, sigma, mean, covariance, center, scale):
        """Moments of a block of voxels; `mean` and `covariance` are overwritten."""
        few, many = slice(_SEARCH_POINTS), slice(None)
        rest = np.arange(len(X))
        # Search with few points: tempered weights move the points towards the posterior, until the
        # untempered weights are good enough.
        for _ in range(_MOST_ROUNDS):
            values, log_weights = self._draw(
                few, X[rest], sigma[rest], mean[rest], covariance[rest], center, scale
            )
            *moments, converged = tempered_moments(log_weights, values, _ENOUGH)
            mean[rest], covariance[rest] = moments[:2]
            rest = rest[~converged]
            if len(rest) == 0:
                break
        # Then all points, of which each voxel keeps the round with the largest effective size.
        rest, best = np.arange(len(X)), None
        for _ in range(_LAST_ROUNDS):
            values, log_weights = self._draw(
                many, X[rest], sigma[rest], mean[rest], covariance[rest], center, scale
            )
            moments = weighted_moments(log_weights.exp(), values)
            if best is None:
                best = moments
            better = moments[2] >= best[2][rest]
            for whole, part in zip(best, moments, strict=True):
                whole[rest[better]] = part[better]
            again = moments[2] < _ENOUGH
            mean[rest], covariance[rest] = tempered_moments(log_weights, values, _ENOUGH)[:2]
            rest = rest[again]
            if len(rest) == 0:
                break
        return best

    def _draw(self, points, X, sigma, mean, covariance, center, scale):
        """Points of each voxel (n_voxels, n_points, n_parameters), and their log weights."""
        values = self._place(self.points[points], mean, covariance)
        log_proposal = self.log_proposal[points]
        log_weights = self._weigh(X, sigma, values * scale + center, log_proposal)
        return torch.from_numpy(values), log_weights

    def _place(self, points, mean, covariance):
        """Points around each voxel's mean, along the principal axes of its covariance."""
        free = self.free
        own = _WIDER * covariance[:, free[:, None], free]
        # Voxels without finite moments get a unit covariance, as eigh needs finite values.
        lost = ~np.isfinite(own).all(axis=(1, 2))
        own[lost] = np.eye(len(free))
        # The largest variance is last, as in the points. The columns of `spread` are the axes with
        # lengths of one standard deviation, which rounding must not make negative or 0.
        variance, axes = np.linalg.eigh(own)
        spread = axes * np.sqrt(np.maximum(variance, 1e-8))[:, None, :]
        values = np.repeat(mean[:, None], len(points), axis=1)
        values[:, :, free] += points @ spread.mT
        return values

    def _weigh(self, X, sigma, parameters, log_proposal):
        """Log of posterior over proposal density, (n_voxels, n_points); -inf outside the prior.

        The prior is uniform within its ranges, so that the likelihood alone remains there.
        """
        n_voxels, n_points, n_parameters = parameters.shape
        low, high = self.ranges
        inside = ((parameters >= low) & (parameters <= high))[..., self.free].all(axis=2)
        # Points outside get no weight; they are clipped so that the signal model accepts them.
        theta = torch.from_numpy(parameters.reshape(-1, n_parameters).clip(low, high).T)
        # (n_measurements, n_voxels, 1) and (n_measurements, n_voxels, n_points), in units of sigma.
        level = columns_of(sigma)
        x = torch.from_numpy((X / level).T.copy())[:, :, None]
        signal = self.signal_model.signal(theta).reshape(-1, n_voxels, n_points)
        signal = signal / torch.from_numpy(level.T.copy())[:, :, None]
        log_weights = -self.noise.along(0).derivatives(x, signal)[0].sum(0)
        log_weights -= torch.from_numpy(log_proposal)
        log_weights[~torch.from_numpy(inside) | log_weights.isnan()] = -torch.inf
        # The limit keeps -inf minus -inf from being NaN where all points are outside.
        return log_weights - log_weights.amax(1, keepdim=True).clamp(min=-1e300)
