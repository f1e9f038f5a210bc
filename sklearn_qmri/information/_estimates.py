"""Standard deviations of estimates, where normal theory applies."""

import numpy as np

from ._fisher import (
    covariances,
    fisher_information,
    standard_deviation,
    standard_deviations,
)

_BLOCK = 4096  # voxels at once, whose derivatives fit into a processor's cache
_AWAY = 1.5**0.5  # distance of the outer points in standard deviations, see `estimate_std`
# Limits of standard deviations beside a parameter on a bound: ratio to those if that parameter was
# known, and ratio of the largest to the smallest one of the three points.
_SHARED, _CURVED = 1.1, 1.5


def estimate_std(signal_model, noise, theta, sigma, bounds, free, at_bound):
    """Standard deviations of maximum-likelihood estimates, NaN where they would mislead.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    theta : ndarray of shape (n_voxels, n_parameters)
        Estimates and the values of fixed parameters.
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
    The inverse Fisher information at the estimate may mislead where it changes quickly. An example:
    the standard deviation of a decay rate grows with the rate, so that estimates that happen to be
    too low also seem too exact. Therefore the variance is averaged over the distribution of the
    parameter. Three points of equal weight represent it: the estimate, and sqrt(3/2) standard
    deviations to each side. They have its mean and variance (``2 / 3 * h^2 = 1``). The other
    parameters move along by their conditional means, ``covariance[:, j] / variance[j]`` for each
    unit of parameter j. Where the information is constant, as in linear models, nothing changes. A
    parameter that is not identified at one of the three points has no standard deviation.

    For the standard deviations of the others, a parameter on a bound counts as unknown. Normal
    theory does not hold there, however. They are reported only where that hardly matters: where a
    known value would make them at most about 10 % smaller, and where they vary by at most a factor
    of 1.5 between the three points.
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
    # Standard deviations at the three points: (3, n_voxels, n_parameters).
    points = np.empty((3, *here.shape))
    points[0], points[1:] = here, np.nan
    for j in np.flatnonzero(identified.any(axis=0)):
        rows = identified[:, j]
        # _AWAY standard deviations of parameter j, times covariance[:, j] / variance[j].
        step = _AWAY * covariance[rows, :, j] / here[rows, j, None]
        for point, sign in zip(points[1:], (-1, 1), strict=True):
            moved = np.clip(theta[rows] + sign * step, *bounds)
            there = fisher_information(signal_model, noise, moved, sigma[rows])
            point[rows, j] = standard_deviation(there, free[rows], j)
    # A NaN at any point makes the result NaN.
    std = np.sqrt(np.mean(points**2, axis=0))
    beside = at_bound.any(axis=1)
    if beside.any():
        known = standard_deviations(information[beside], (free & ~at_bound)[beside])
        low, high = points[:, beside].min(axis=0), points[:, beside].max(axis=0)
        harmless = (here[beside] <= _SHARED * known) & (high <= _CURVED * low)
        std[beside] = np.where(harmless, std[beside], np.nan)
    return std
