"""The noise level: given, or learnt from residuals."""

import numpy as np
import torch
from scipy.stats import chi2
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from .._warnings import warn

_ROWS = 5000  # enough for 1 % on most protocols
_SIGNAL_FACTOR = 5.0  # rows whose largest signal is less, in sigma, are background
_FLOOR = 1e-6  # of the root mean square of the data: perfect data would give 0
_MAX_ROUNDS = 100
_TOL = 1e-3


def learn_sigma(solve, signal_model, noise, X, n_free, max_iter, verbose=0):
    """Noise level that the residuals of maximum-likelihood fits give.

    Joint maximum likelihood would be biased, as every voxel spends parameters on its own noise
    (Neyman and Scott, Econometrica 1948;16:1). So each voxel's squared residual, in units of the
    variance that the noise model expects, is divided by the median of a chi-squared variable
    with as many degrees of freedom as there are measurements less parameters not on a bound; the
    median over voxels then is 1 at the true noise level. A mean would be moved without limit by
    voxels that the signal model does not explain (motion, vessels, implants); a median is moved
    by such voxels too, but only as far as their share of all. Fit and noise level alternate
    until they agree.

    Parameters
    ----------
    solve : callable
        ``solve(X, sigma)`` with one sigma per row, returning a `Solution`.
    signal_model : SignalModel
    noise : noise model
    X : ndarray of shape (n_voxels, n_measurements)
        More than a few thousand rows are thinned out.
    n_free : int
        Parameters that are not fixed.
    max_iter : int
        Most rounds.
    verbose : int, default=0
        Positive: show the rounds as they go.

    Returns
    -------
    sigma : float
    n_iter : int
        Rounds needed.
    """
    if X.shape[1] <= n_free:
        raise ValueError(
            f"{X.shape[1]} measurements cannot teach both {n_free} parameters and the noise "
            "level: give sigma."
        )
    if len(X) > _ROWS:
        X = X[np.random.RandomState(0).choice(len(X), _ROWS, replace=False)]

    def update(sigma):
        solution = solve(X, np.full(len(X), sigma))
        signal = signal_model.simulate(solution.parameters)
        freedom = X.shape[1] - n_free + np.count_nonzero(solution.at_bound, axis=1)
        foreground = np.abs(signal).max(axis=1) > _SIGNAL_FACTOR * sigma
        if not foreground.any():
            raise ValueError(
                f"No voxel has a signal above {_SIGNAL_FACTOR:g} sigma to learn the noise level "
                "from: give sigma."
            )
        squared = _squared_residual(noise, X[foreground], signal[foreground], sigma).sum(axis=1)
        return np.median(squared / chi2.median(freedom[foreground]))

    rounds = tqdm(range(max_iter), desc="noise level", unit=" rounds", disable=not verbose)
    return _alternate(update, X, rounds)


def sigma_from_pairs(signal_model, noise, X, y):
    """Noise level of signals X of known tissues y.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    X : ndarray of shape (n_voxels, n_measurements)
    y : ndarray of shape (n_voxels, n_parameters)

    Returns
    -------
    float
    """
    signal = signal_model.simulate(y)

    def update(sigma):
        return np.mean(_squared_residual(noise, X, signal, sigma))

    return _alternate(update, X, range(_MAX_ROUNDS))[0]


def _alternate(update, X, rounds):
    """Multiply sigma^2 by `update(sigma)` until that is 1; sigma and the number of rounds."""
    scale = np.sqrt(np.mean(X**2)) or 1.0
    sigma, n_iter = 0.1 * scale, 0
    for _ in rounds:
        n_iter += 1
        factor = np.sqrt(update(sigma))
        sigma = max(sigma * factor, _FLOOR * scale)
        if abs(factor - 1) < _TOL or sigma == _FLOOR * scale:
            break
    else:
        warn(
            f"The noise level was still changing by {abs(factor - 1):.1%} after {n_iter} rounds.",
            ConvergenceWarning,
        )
    return float(sigma), n_iter


def _squared_residual(noise, X, signal, sigma):
    """Squared residual in units of its expectation under the noise model."""
    a = torch.as_tensor(signal / sigma)
    return (X / sigma - noise.mean(a).numpy()) ** 2 / noise.variance(a).numpy()


def check_sigma(sigma, n_voxels, usable=None):
    """Validate sigma, a positive number or one per voxel; returns one per voxel.

    Parameters
    ----------
    sigma : float or array-like of shape (n_voxels,)
    n_voxels : int
    usable : bool ndarray of shape (n_voxels,), default=None
        Voxels that need a valid one. None: all.

    Returns
    -------
    ndarray of shape (n_voxels,)

    Raises
    ------
    ValueError
        If its length is neither, or a value is not positive and finite.
    """
    values = np.asarray(sigma, dtype=np.float64)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != n_voxels):
        raise ValueError(
            f"sigma expects a number or one per voxel ({n_voxels}), got shape {values.shape}."
        )
    wrong = ~(np.isfinite(values) & (values > 0))
    if usable is not None and values.ndim:
        wrong &= usable
    if wrong.any():
        raise ValueError(
            f"sigma expects positive finite numbers, got {values[wrong][:5].tolist()} "
            f"in {np.count_nonzero(wrong)} of {values.size} places."
        )
    return np.broadcast_to(values, n_voxels)
