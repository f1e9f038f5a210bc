"""Standard deviations of estimates, where normal theory has any."""

import numpy as np

from ._fisher import (
    covariances,
    fisher_information,
    standard_deviation,
    standard_deviations,
)

_BLOCK = 4096  # voxels at once, whose derivatives fit into a processor's cache
_AWAY = 1.5**0.5  # standard deviations; see `estimate_std`
# Beside a bound: most that a standard deviation may owe to the other parameter's being unknown,
# and most that it may vary within `_AWAY`, both as ratios.
_SHARED, _CURVED = 1.1, 1.5


def estimate_std(signal_model, noise, theta, sigma, bounds, free, at_bound):
    """Standard deviations of maximum-likelihood estimates, NaN where they would mislead.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    theta : ndarray of shape (n_voxels, n_parameters)
        Estimates, and the values of fixed parameters.
    sigma : ndarray of shape (n_voxels,)
        NaN where it is unknown.
    bounds : ndarray of shape (2, n_parameters)
    free : bool ndarray of shape (n_voxels, n_parameters)
        False for parameters that are fixed.
    at_bound : bool ndarray of shape (n_voxels, n_parameters)
        Free parameters whose estimate is on a bound.

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters)

    Notes
    -----
    The inverse Fisher information at the estimate is too sure of itself where it changes quickly:
    the standard deviation of a decay rate grows with the rate, so that estimates that happen to be
    low also claim to be exact. So its mean over the parameter's own distribution is taken, which
    three points of equal weight stand for: the estimate, and sqrt(3/2) standard deviations to each
    side, which have its mean and variance (``2 / 3 * h^2 = 1``). The other parameters go along with
    their conditional means, ``covariance[:, j] / variance[j]`` for each unit of parameter j.
    Where the information is constant, as in linear models, nothing changes. A parameter that is
    not identified at any of the three points has no standard deviation.

    A parameter on a bound is not known, only not to be beyond: the others' standard deviations
    take it for unknown. No normal theory holds there, however, so they are only given where it
    hardly matters: where a known value would make them at most 10 % smaller, and where they vary
    by less than a factor of 1.5 between the three points.
    """
    std = np.empty(theta.shape)
    for i in range(0, len(theta), _BLOCK):
        rows = slice(i, i + _BLOCK)
        std[rows] = _block_std(
            signal_model, noise, theta[rows], sigma[rows], bounds, free[rows], at_bound[rows]
        )
    return std


def _block_std(signal_model, noise, theta, sigma, bounds, free, at_bound):
    information = fisher_information(signal_model, noise, theta, sigma)
    covariance, identified = covariances(information, free)
    here = np.sqrt(np.where(identified, np.einsum("vjj->vj", covariance), np.nan))
    points = np.empty((3, *here.shape))
    points[0], points[1:] = here, np.nan
    for j in np.flatnonzero(identified.any(axis=0)):
        rows = identified[:, j]
        step = _AWAY * covariance[rows, :, j] / here[rows, j, None]
        for point, sign in zip(points[1:], (-1, 1), strict=True):
            moved = np.clip(theta[rows] + sign * step, *bounds)
            there = fisher_information(signal_model, noise, moved, sigma[rows])
            point[rows, j] = standard_deviation(there, free[rows], j)
    std = np.sqrt(np.mean(points**2, axis=0))
    beside = at_bound.any(axis=1)
    if beside.any():
        known = standard_deviations(information[beside], (free & ~at_bound)[beside])
        low, high = points[:, beside].min(axis=0), points[:, beside].max(axis=0)
        harmless = (here[beside] <= _SHARED * known) & (high <= _CURVED * low)
        std[beside] = np.where(harmless, std[beside], np.nan)
    return std
