"""The noise level: given, or learnt from residuals."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from .._arrays import as_floats
from .._warnings import warn

_ROWS = 5000  # enough for 1 % on most protocols
_FLOOR = 1e-6  # of the root mean square of the data: perfect data would give 0
_TOL = 1e-3
_MAX_ROUNDS = 100
# First noise level, over the root mean square of the data, and the least ratio of what its
# residuals give to it at which it was small enough.
_START, _SMALL = 1e-4, 10.0
# Peaks, in units of sigma, that only signals have; those that few voxels of air have, and the
# share of voxels from which on they are signals. Weak and strong voxels are told at this share
# of the median of the latter.
_SURE, _LIKELY, _SHARE, _HALF = 5.0, 3.0, 0.05, 0.5
_SLOPES = -2.0, -0.25  # that a step of the search may assume


class CannotLearnSigma(ValueError):
    """The rows do not tell the noise level."""


def learn_sigma(solve, signal_model, noise, X, n_free, max_iter, verbose=0):
    """Noise level that the residuals of maximum-likelihood fits give.

    Joint maximum likelihood would be biased, as every voxel spends parameters on its own noise
    (Neyman and Scott, Econometrica 1948;16:1). So each voxel's squared residual, in units of the
    variance that the noise model expects, is divided by the median of a chi-squared variable
    with as many degrees of freedom as there are measurements less parameters not on a bound; the
    median over voxels then is 1 at the true noise level. A mean would be moved without limit by
    voxels that the signal model does not explain (motion, vessels, implants); a median is moved
    by such voxels too, but only as far as their share of all.

    Parameters
    ----------
    solve : callable
        ``solve(X, sigma, seeds)`` with one sigma per row, returning a `Solution`; seeds, one per
        row or None, are its only starting points.
    signal_model : SignalModel
    noise : NoiseModel
    X : ndarray of shape (n_voxels, n_measurements)
        More than a few thousand rows are thinned out.
    n_free : int
        Parameters that are not fixed.
    max_iter : int
        Most rounds between the first and the last.
    verbose : int, default=0
        Positive: show the rounds as they go.

    Returns
    -------
    sigma : float
    n_iter : int
        Rounds needed, the first and the last included.

    Raises
    ------
    CannotLearnSigma
        If there are no more measurements than free parameters, or no signals in the noise.

    Notes
    -----
    The first round fits with a sigma far too small. There the likelihood is the squared residual
    of the magnitude of the signal, so that the fit and its residual do not depend on that sigma:
    no guess of the noise level is needed. Alternating fits with a guess that is too large instead
    may run away, for values far below a too large noise floor are as unlikely as values far above.
    Rounds then follow those optima to the sigma at which the median is 1. The last round starts
    afresh, for an optimum that is followed while sigma changes may have become a local one.
    """
    n_measurements = X.shape[1]
    if n_measurements <= n_free:
        raise CannotLearnSigma(
            f"Cannot learn sigma: {n_measurements} measurements leave no degrees of freedom "
            f"beyond {n_free} free parameters. Pass sigma."
        )
    if len(X) > _ROWS:
        X = X[np.random.RandomState(0).choice(len(X), _ROWS, replace=False)]

    def fit(X, sigma, seeds=None):
        solution = solve(X, np.full(len(X), sigma), seeds)
        signal = signal_model.simulate(solution.parameters)
        freedom = n_measurements - n_free + np.count_nonzero(solution.at_bound, axis=1)
        excess = _squared_residual(noise, X, signal, sigma).sum(axis=1) / chi2.median(freedom)
        return _Fit(solution.parameters, np.abs(signal).max(axis=1), excess)

    first, sigma, floor = _fit_far_below(fit, X)
    sigma, strong = _strong_voxels(first, sigma)
    sigma = max(sigma, floor)
    if not noise.estimates_need_sigma:
        _check_signals(first, sigma)
        return sigma, 1
    X = X[strong]
    last = _Fit(*(field[strong] for field in first))
    with tqdm(desc="noise level", unit=" rounds", disable=not verbose) as progress:

        def excess(sigma):
            nonlocal last
            last = fit(X, sigma, last.parameters)
            progress.update()
            return np.median(last.excess)

        limits = floor, _scale(X)  # noise alone would have a root mean square of sigma or more
        sigma, n_iter = _find_sigma(excess, sigma, limits, max_iter)
        last = fit(X, sigma)
        rest = max_iter - n_iter
        if rest > 0 and abs(np.log(np.median(last.excess))) > 2 * _TOL and sigma > floor:
            sigma, more = _find_sigma(excess, sigma, limits, rest)
            n_iter += more
    _check_signals(last, sigma)
    return sigma, n_iter + 2


class _Fit(NamedTuple):
    """Fits of some voxels at one sigma.

    Attributes
    ----------
    parameters : ndarray of shape (n_voxels, n_parameters)
    peaks : ndarray of shape (n_voxels,)
        Largest signal, in size.
    excess : ndarray of shape (n_voxels,)
        Squared residual, over the median that it has if that sigma is the noise level.
    """

    parameters: np.ndarray
    peaks: np.ndarray
    excess: np.ndarray


def _fit_far_below(fit, X):
    """Fits at a sigma far below the noise level, that sigma, and the least one to be found."""
    scale = _scale(X)
    floor = _FLOOR * scale
    sigma = _START * scale
    while True:
        found = fit(X, sigma)
        if sigma <= floor or np.median(found.excess) > _SMALL**2:
            return found, sigma, floor
        sigma = max(sigma / 100, floor)


def _strong_voxels(first, small):
    """Noise level of the voxels that have a signal, and which voxels those are.

    The parameters of air are not identified, so that they do not spend the degrees of freedom
    that are counted for them. The limit must not cut through the tissue: voxels whose noise
    happens to add up to a large peak are no fair sample of all.
    """
    sigma = small * np.sqrt(np.median(first.excess))
    strong = np.ones(len(first.peaks), dtype=bool)
    for _ in range(5):  # each the other's consequence; one or two times suffice
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
    limits = _FLOOR * scale, np.inf
    sigma = max(start * np.sqrt(excess(start)), limits[0])
    return _find_sigma(excess, sigma, limits, _MAX_ROUNDS)[0]


def _scale(X):
    """Root mean square, 1 where it is 0."""
    return float(np.sqrt(np.mean(X**2))) or 1.0


def _find_sigma(excess, sigma, limits, max_iter):
    """Sigma at which ``excess(sigma)`` is 1, from one near it, and the rounds that it took.

    With s = log(sigma) it is the zero of ``F(s) = log(excess) / 2``, found by the secant method.
    Residuals that do not change with sigma give F a slope of -1, with which it begins; magnitudes
    near the noise floor give it a flatter one.
    """
    s = np.log(sigma)
    low, high = -np.inf, np.inf  # F is positive at the one, negative at the other
    slope, last, n_iter = -1.0, None, 0
    while True:
        n_iter += 1
        value = 0.5 * np.log(max(excess(np.exp(s)), 1e-300))
        if value > 0:
            low = s
        else:
            high = s
        if last is not None and s != last[0]:
            slope = np.clip((value - last[1]) / (s - last[0]), *_SLOPES)
        last = s, value
        s = np.clip(s - value / slope, *np.log(limits))
        if not low <= s <= high:
            s = (low + high) / 2
        change = s - last[0]
        if abs(change) < _TOL:
            break
        if n_iter == max_iter:
            warn(
                f"The noise level was still changing by {abs(np.expm1(change)):.1%} after "
                f"{n_iter} rounds.",
                ConvergenceWarning,
            )
            break
    return float(np.exp(s)), n_iter


def _squared_residual(noise, X, signal, sigma):
    """Squared residual in units of its expectation under the noise model."""
    a = torch.as_tensor(signal / sigma)
    return (X / sigma - noise.mean(a).numpy()) ** 2 / noise.variance(a).numpy()


def check_sigma(sigma, n_voxels, usable=None):
    """Validate sigma, a positive number or one per voxel; returns one per voxel.

    Parameters
    ----------
    sigma : float or array-like of shape (n_voxels,)
        Masked values are NaN.
    n_voxels : int
    usable : bool ndarray of shape (n_voxels,), default=None
        Voxels that need a valid one. None: all.

    Returns
    -------
    ndarray of shape (n_voxels,)

    Raises
    ------
    ValueError
        If sigma has another shape, or a value that is needed is not positive and finite.
    """
    values = as_floats(sigma)
    if values.shape not in ((), (n_voxels,)):
        raise ValueError(
            f"sigma expects a number or one per voxel ({n_voxels}), got shape {values.shape}."
        )
    wrong = ~(np.isfinite(values) & (values > 0))
    if usable is not None and values.ndim:
        wrong &= usable
    if wrong.any():
        where = f" in {np.count_nonzero(wrong)} of {values.size} voxels" if values.ndim else ""
        raise ValueError(
            "sigma expects positive finite numbers in the units of the signal, got "
            f"{values[wrong][:5].tolist()}{where}."
        )
    return np.broadcast_to(values, n_voxels)
