"""The noise level, given or learnt from residuals."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import chi2
from tqdm import tqdm

from ._search import TOLERANCE, find_sigma

_ROWS = 5000  # enough for a standard error of 1 % on most protocols
_FLOOR = 1e-6  # smallest sigma, over the root mean square of the data; perfect data would give 0
_MAX_ROUNDS = 100
_NEAR = 0.02  # change of log(sigma) up to which optima are taken to stay global
# The first sigma over the root mean square of the data. It was small enough if its residuals give
# a noise level of more than _SMALL times as much.
_START, _SMALL = 1e-4, 10.0
# Peaks in units of sigma. Only signals have peaks above _SURE. Few voxels of air have peaks above
# _LIKELY: if the share of such voxels exceeds _SHARE, they are signals. Strong voxels have peaks
# above _SURE, or above _HALF of the median of likely peaks.
_SURE, _LIKELY, _SHARE, _HALF = 5.0, 3.0, 0.05, 0.5
# Mean over standard deviation of magnitudes without signal (1.9 for one coil) up to which the first
# sigma may be trusted; and largest step in log(sigma) from below where it may not.
_LOW, _CLIMB = 2.0, 0.2


class LearntLevel(NamedTuple):
    """Learnt noise level, its standard error, and the rounds needed, the first included."""

    sigma: float
    error: float
    n_iter: int


class CannotLearnSigma(ValueError):
    """Error for rows that do not determine the noise level."""


def learn_sigma(solve, signal_model, noise, X, n_free, max_iter, verbose=0):
    """Noise level from the residuals of maximum-likelihood fits.

    Joint maximum likelihood would be biased, because every voxel spends parameters on its own noise
    (Neyman and Scott, Econometrica 1948;16:1). Therefore each voxel's squared residual, in units of
    the variance that the noise model expects, is divided by the median of a chi-squared variable.
    Its degrees of freedom are the measurements less the parameters not on a bound. The median over
    voxels is then 1 at the true noise level. Voxels that the signal model does not explain (motion,
    vessels, implants) would move a mean without limit. They move a median only by their share.

    Parameters
    ----------
    solve : callable
        ``solve(X, sigma, seeds)`` with one sigma per row, or one per measurement if some are
        missing, which returns a `Solution`. Its only starting points are the seeds, one per row,
        unless they are None.
    signal_model : SignalModel
    noise : NoiseModel
    X : ndarray of shape (n_voxels, n_measurements)
        Signals, NaN where there is no measurement; of more than a few thousand rows, a random
        choice is used.
    n_free : int
        Number of parameters that are not fixed.
    max_iter : int
        Largest number of rounds after the first.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    LearntLevel

    Raises
    ------
    CannotLearnSigma
        If there are no more measurements than free parameters, or no signals in the noise.

    Notes
    -----
    The first round fits with a sigma that is far too small. There the likelihood is the squared
    residual of the magnitude of the signal, so that the fit does not depend on that sigma: no guess
    of the noise level is needed. From a guess that is too large, alternating fits may run away,
    because values far below its noise floor are as unlikely as values far above. The next rounds
    follow the optima to the sigma at which the median is 1. If that is not near the first one, a
    round starts afresh, because the optima may no longer be global.
    """
    beyond, climb = _caution(noise, X.shape[1])
    X = _choose_rows(X, n_free)
    fit = partial(_fit, solve, signal_model, noise, n_free)
    # Below, `sigma` is first the small one of this round, then the noise level that it gives.
    first, sigma, floor = _fit_far_below(fit, X)
    # A noise floor that is high beside the noise itself, as that of averages, counts as residual
    # here. The search then begins far enough below, and climbs to the first solution.
    sigma, strong = _strong_voxels(first, sigma / beyond)
    sigma = max(sigma, floor)
    if not noise.estimates_need_sigma:
        _check_signals(first, sigma)
        return LearntLevel(sigma, sigma * _error_of_log(first.excess[strong], -1.0), 1)
    first = _Fit(*(field[strong] for field in first))
    return _follow(fit, X[strong], first, sigma, floor, climb, max_iter, verbose)


def _choose_rows(X, n_free):
    """Rows with more measurements than free parameters, at most `_ROWS` of them."""
    n_present = np.count_nonzero(~np.isnan(X), axis=1)
    if n_present.max() <= n_free:
        raise CannotLearnSigma(
            f"Cannot learn sigma: {n_present.max()} measurements leave no degrees of freedom "
            f"beyond {n_free} free parameters. Pass sigma."
        )
    X = X[n_present > n_free]
    # The same rows every time, so that the result is reproducible.
    return X[np.random.RandomState(0).choice(len(X), _ROWS, False)] if len(X) > _ROWS else X


def _fit(solve, signal_model, noise, n_free, X, sigma, seeds=None):
    """`_Fit` of rows at one sigma."""
    missing = np.isnan(X)
    # One level per row where it can be, which is faster.
    level = np.where(missing, np.inf, sigma) if missing.any() else np.full(len(X), sigma)
    solution = solve(np.where(missing, 0.0, X), level, seeds)
    signal = signal_model.simulate(solution.parameters)
    # A parameter on a bound has not been fitted to the noise.
    freedom = np.count_nonzero(~missing, axis=1) - n_free
    freedom += np.count_nonzero(solution.at_bound, axis=1)
    squared = np.nansum(_squared_residual(noise, X, signal, sigma), axis=1)
    excess = squared / chi2.median(freedom)
    return _Fit(solution.parameters, np.abs(signal).max(axis=1), excess)


def _follow(fit, X, last, sigma, floor, climb, max_iter, verbose):
    """`LearntLevel` to which the optima `last` lead from a first sigma."""
    with tqdm(desc="noise level", unit=" rounds", disable=not verbose) as progress:

        def excess(sigma):
            nonlocal last
            last = fit(X, sigma, last.parameters)
            progress.update()
            return np.median(last.excess)

        limits = floor, _scale(X)  # even data of noise alone have a root mean square >= sigma
        start = sigma
        sigma, n_iter, slope = find_sigma(excess, sigma, limits, max_iter, climb)
        # Far from the first round, followed optima may no longer be global: fit afresh and, if that
        # changes the median, search once more.
        if abs(np.log(sigma / start)) > _NEAR and n_iter < max_iter:
            last = fit(X, sigma)
            n_iter += 1
            if abs(np.log(np.median(last.excess))) > 2 * TOLERANCE and n_iter < max_iter:
                sigma, more, slope = find_sigma(excess, sigma, limits, max_iter - n_iter)
                n_iter += more
    _check_signals(last, sigma)
    return LearntLevel(sigma, sigma * _error_of_log(last.excess, slope), n_iter + 1)


def _error_of_log(excess, slope):
    """Standard error of the log(sigma) at which the median of `excess` is 1.

    The median of n values is between those of rank n / 2 - sqrt(n) / 2 and n / 2 + sqrt(n) / 2 in
    68 % of samples, as its rank has a binomial distribution. The slope is that of half the
    logarithm of the median by log(sigma).
    """
    half = 0.5 / np.sqrt(len(excess))
    low, high = np.quantile(excess, [max(0.5 - half, 0.0), min(0.5 + half, 1.0)])
    return float(np.log(high / low) / 4 / abs(slope)) if low > 0 else np.inf


class _Fit(NamedTuple):
    """Fits of some voxels at one sigma.

    Attributes
    ----------
    parameters : ndarray of shape (n_voxels, n_parameters)
    peaks : ndarray of shape (n_voxels,)
        Largest absolute signal.
    excess : ndarray of shape (n_voxels,)
        Squared residual over the median that it would have if that sigma were the noise level.
    """

    parameters: np.ndarray
    peaks: np.ndarray
    excess: np.ndarray


def _fit_far_below(fit, X):
    """Fits at a sigma far below the noise level, that sigma, and the smallest one allowed."""
    scale = _scale(X)
    floor = _FLOOR * scale
    sigma = _START * scale
    while True:
        fitted = fit(X, sigma)
        if sigma <= floor or np.median(fitted.excess) > _SMALL**2:
            return fitted, sigma, floor
        sigma = max(sigma / 100, floor)


def _strong_voxels(first, small):
    """Noise level of the voxels that have a signal, and a mask of these voxels.

    The parameters of air are not identified, so that they do not spend the degrees of freedom that
    are counted for them. The limit must not divide the tissue: voxels whose noise happens to make a
    large peak are a biased sample.
    """
    sigma = small * np.sqrt(np.median(first.excess))
    strong = np.ones(len(first.peaks), dtype=bool)
    # Noise level and mask depend on each other; one or two repetitions suffice.
    for _ in range(5):
        likely = first.peaks[first.peaks > _LIKELY * sigma]
        if len(likely) == 0:
            break
        strong = first.peaks > min(_SURE * sigma, _HALF * np.median(likely))
        sigma = small * np.sqrt(np.median(first.excess[strong]))
    return float(sigma), strong


def _check_signals(fitted, sigma):
    """Refuse residuals that are as large as the signals: of air, or of another signal model."""
    if fitted.peaks.max() > _SURE * sigma or np.mean(fitted.peaks > _LIKELY * sigma) > _SHARE:
        return
    raise CannotLearnSigma(
        f"Cannot learn sigma: residuals are those of noise with a sigma of {sigma:.3g}, and no "
        f"voxel has a signal well above that (the largest of {len(fitted.peaks)} is "
        f"{fitted.peaks.max():.3g}). Check that the signal model, the order of its measurements "
        "and the mask are those of the data, or pass sigma."
    )


def sigma_from_pairs(signal_model, noise, X, y):
    """Noise level of signals X of known tissues y.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    X : ndarray of shape (n_voxels, n_measurements)
    y : ndarray of shape (n_voxels, n_parameters)

    Returns
    -------
    float
    """
    signal = signal_model.simulate(y)

    def excess(sigma):
        return np.mean(_squared_residual(noise, X, signal, sigma))

    scale = _scale(X)
    start = _START * scale
    beyond, climb = _caution(noise, X.shape[1])
    # Even data of noise alone have a root mean square of at least sigma, if there is a floor.
    limits = _FLOOR * scale, np.inf if beyond == 1 else scale
    sigma = max(start * np.sqrt(excess(start)) / beyond, limits[0])
    return find_sigma(excess, sigma, limits, _MAX_ROUNDS, climb)[0]


def _scale(X):
    """Root mean square, or 1 where it is 0."""
    return float(np.sqrt(np.nanmean(X**2))) or 1.0


def _caution(noise, n_measurements):
    """How far below its first value the search for sigma begins, and its largest step upwards.

    The noise floor is the mean of a measurement without signal. Where it is h standard deviations
    high, residuals of a fit without a floor make the first sigma up to h times too large. Around
    the solution sigma may vary by about 1 / h before the floor is out of the noise again.
    """
    none = torch.zeros(n_measurements, dtype=torch.float64)
    height = float((noise.mean(none) / noise.variance(none).sqrt()).max())
    return (1.0, np.inf) if height <= _LOW else (height, min(_CLIMB, 0.5 / height))


def _squared_residual(noise, X, signal, sigma):
    """Squared residual over its expectation under the noise model."""
    a = torch.as_tensor(signal / sigma)
    return (X / sigma - noise.mean(a).numpy()) ** 2 / noise.variance(a).numpy()
