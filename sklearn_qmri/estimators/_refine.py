"""Importance sampling around an approximation of each voxel's posterior."""

import math

import numpy as np
import torch
from scipy import special, stats
from scipy.stats import qmc

from ..dictionary import WeightedTissues
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
# The first tissues are drawn by the moments under this power of the atoms' weights, or a lower
# power if their effective sample size is less than _BROAD_SIZE: too wide is better than too narrow.
_COOLED = 0.25
_BROAD_SIZE = 100
_LEAST_VARIANCE = 1e-8  # of points along an axis, in units of the squared ranges
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
    """Log density of a multivariate t-distribution at points (n_points, n_axes)."""
    n_axes, both = points.shape[1], _FREEDOM + points.shape[1]
    constant = special.gammaln(both / 2) - special.gammaln(_FREEDOM / 2)
    constant -= n_axes / 2 * math.log(_FREEDOM * math.pi)
    return constant - 0.5 * both * np.log1p((points**2).sum(axis=1) / _FREEDOM)


class Refinement:
    """Tissues drawn around each voxel's posterior, under a prior of ranges.

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
        # Positions in the ranges, from 0 to 1, in which the density of the prior is 1.
        self.width = np.where(ranges[0] < ranges[1], ranges[1] - ranges[0], 1.0)
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
        # mixture, Veach and Guibas 1995), (p(x) + p(x / stretch) / prod(stretch)) / 2.
        self.log_proposal = np.logaddexp(
            _log_density(self.points), _log_density(self.points / stretch) - np.log(stretch).sum()
        ) - math.log(2)

    def __call__(self, X, sigma, weighted):
        """Draw tissues for rows, around those with weight.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        weighted : WeightedTissues
            Tissues that all voxels share.

        Returns
        -------
        WeightedTissues
        """
        low = torch.as_tensor(self.ranges[0], dtype=torch.float32)
        width = torch.as_tensor(self.width, dtype=torch.float32)
        position = (weighted.tissues.T - low) / width
        log_weights = weighted.log_weights.nan_to_num(nan=-torch.inf, posinf=-torch.inf)
        log_weights = log_weights - log_weights.amax(1, keepdim=True).clamp(min=-1e30)
        # Where few atoms have weight, their own covariance is too small to draw from.
        mean, covariance, *_ = tempered_moments(log_weights * _COOLED, position, _BROAD_SIZE)
        step = max(1, _VALUES // (len(self.points) * X.shape[1]))
        blocks = [slice(i, i + step) for i in range(0, len(X), step)]
        parts = [self._refine(X[b], sigma[b], mean[b], covariance[b]) for b in blocks]
        values, log_weights = (torch.cat(part) for part in zip(*parts, strict=True))
        return _weighted((low + width * values), log_weights)

    def _refine(self, X, sigma, mean, covariance):
        """Positions (n_voxels, n_points, n_parameters), and log weights, of a block of voxels.

        `mean` and `covariance` are overwritten.
        """
        few, many = slice(_SEARCH_POINTS), slice(None)
        rest = np.arange(len(X))
        # Search with few points: tempered weights move the points towards the posterior, until the
        # untempered weights are good enough.
        for _ in range(_MOST_ROUNDS):
            drawn = self._draw(few, X[rest], sigma[rest], mean[rest], covariance[rest])
            *moments, converged = _tempered(*drawn)
            mean[rest], covariance[rest] = moments[:2]
            rest = rest[~converged]
            if len(rest) == 0:
                break
        # Then all points, of which each voxel keeps the round with the largest effective size.
        rest, best, size = np.arange(len(X)), None, np.full(len(X), -1.0)
        for _ in range(_LAST_ROUNDS):
            drawn = self._draw(many, X[rest], sigma[rest], mean[rest], covariance[rest])
            best = drawn if best is None else best
            found = _weighted(*drawn).effective_size().numpy()
            better = found >= size[rest]
            for whole, part in zip(best, drawn, strict=True):
                whole[rest[better]] = part[better]
            size[rest] = np.maximum(size[rest], found)
            again = found < _ENOUGH
            mean[rest], covariance[rest] = _tempered(*drawn)[:2]
            rest = rest[again]
            if len(rest) == 0:
                break
        return best

    def _draw(self, points, X, sigma, mean, covariance):
        """Positions of the points of each voxel, and their log weights."""
        values, log_volume = self._place(self.points[points], mean, covariance)
        log_density = self.log_proposal[points] - log_volume[:, None]
        log_weights = self._weigh(X, sigma, values, log_density)
        return torch.from_numpy(values).float(), log_weights

    def _place(self, points, mean, covariance):
        """Points around each voxel's mean, along the principal axes of its covariance.

        Returns
        -------
        values : ndarray of shape (n_voxels, n_points, n_parameters)
        log_volume : ndarray of shape (n_voxels,)
            Logarithm of the determinant of the map from points to positions.
        """
        free = self.free
        own = _WIDER * covariance[:, free[:, None], free]
        # Voxels without finite moments get a unit covariance, as eigh needs finite values.
        lost = ~np.isfinite(own).all(axis=(1, 2))
        own[lost] = np.eye(len(free))
        # The largest variance is last, as in the points. The columns of `spread` are the axes with
        # lengths of one standard deviation, which rounding must not make negative or 0.
        variance, axes = np.linalg.eigh(own)
        length = np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
        values = np.repeat(mean[:, None], len(points), axis=1)
        values[:, :, free] += points @ (axes * length[:, None, :]).mT
        return values, np.log(length).sum(axis=1)

    def _weigh(self, X, sigma, positions, log_density):
        """Log of posterior over proposal density, (n_voxels, n_points); -inf outside the prior.

        The prior is uniform within its ranges: its density in positions is 1.
        """
        n_voxels, n_points, n_parameters = positions.shape
        inside = ((positions >= 0) & (positions <= 1))[..., self.free].all(axis=2)
        # Points outside get no weight; they are clipped so that the signal model accepts them.
        values = self.ranges[0] + self.width * positions.clip(0, 1)
        theta = torch.from_numpy(values.reshape(-1, n_parameters).T.copy())
        # (n_measurements, n_voxels, 1) and (n_measurements, n_voxels, n_points), in units of sigma.
        level = columns_of(sigma)
        x = torch.from_numpy((X / level).T.copy())[:, :, None]
        signal = self.signal_model.signal(theta).reshape(-1, n_voxels, n_points)
        signal = signal / torch.from_numpy(level.T.copy())[:, :, None]
        log_weights = -self.noise.along(0).derivatives(x, signal)[0].sum(0)
        log_weights -= torch.from_numpy(log_density)
        log_weights[~torch.from_numpy(inside) | log_weights.isnan()] = -torch.inf
        return log_weights


def _weighted(values, log_weights):
    """`WeightedTissues` of values (n_voxels, n_points, n_parameters)."""
    largest = log_weights.amax(1).clamp(min=-1e300)
    relative = (log_weights - largest[:, None]).float()
    return WeightedTissues(values.movedim(2, 0), relative, largest)


def _tempered(values, log_weights):
    """`tempered_moments` of weights that are relative to the largest of each voxel."""
    # The limit keeps -inf minus -inf from being NaN where all points are outside.
    relative = log_weights - log_weights.amax(1, keepdim=True).clamp(min=-1e300)
    return tempered_moments(relative.float(), values, _ENOUGH)
