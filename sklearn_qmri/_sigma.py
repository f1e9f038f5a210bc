"""The noise level, from the residuals of voxels of unknown tissue."""

import numpy as np
import torch

_ROWS = 5000  # enough for 1 % on most protocols
_SIGNAL_FACTOR = 5.0  # rows whose largest signal is less, in sigma, are background
_FLOOR = 1e-6  # of the root mean square of the data: perfect data would give 0
_TOL = 1e-4
_MAX_ROUNDS = 100


def learn_sigma(solve, signal_model, noise, X, max_iter):
    """Noise level that the residuals of maximum-likelihood fits give.

    Joint maximum likelihood would be biased, as every voxel spends parameters on its own noise
    (Neyman and Scott, Econometrica 1948;16:1). So the expected squared noise, given the data and
    the fit, is divided by its degrees of freedom: channels per measurement less parameters that
    are not on a bound. Fit and noise level alternate until they agree. Whatever the signal model
    does not explain, motion for example, counts as noise.

    Parameters
    ----------
    solve : callable
        ``solve(X, sigma)`` with one sigma per row, returning a `Solution`.
    signal_model : SignalModel
    noise : noise model
    X : ndarray of shape (n_voxels, n_measurements)
        More than a few thousand rows are thinned out.
    max_iter : int
        Most rounds.

    Returns
    -------
    sigma : float
    n_iter : int
        Rounds needed.
    """
    if len(X) > _ROWS:
        X = X[np.random.RandomState(0).choice(len(X), _ROWS, replace=False)]
    floor = _FLOOR * np.sqrt(np.mean(X**2)) or np.finfo(np.float64).tiny
    sigma = 0.1 * np.sqrt(np.mean(X**2)) or 1.0
    for n_iter in range(1, max_iter + 1):  # noqa: B007
        solution = solve(X, np.full(len(X), sigma))
        updated = max(_update(signal_model, noise, X, sigma, solution), floor)
        if abs(updated / sigma - 1) < _TOL:
            break
        sigma = updated
    return updated, n_iter


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
    signal = signal_model.signal(torch.as_tensor(np.ascontiguousarray(y.T)))
    x = torch.as_tensor(np.ascontiguousarray(X.T))
    scale = np.sqrt(np.mean(X**2)) or 1.0
    sigma = scale
    for _ in range(_MAX_ROUNDS):
        squared = noise.squared_channels(x / sigma, signal / sigma).mean() / noise.channels
        updated = max(sigma * float(squared) ** 0.5, _FLOOR * scale)
        if abs(updated / sigma - 1) < _TOL:
            break
        sigma = updated
    return updated


def _update(signal_model, noise, X, sigma, solution):
    """One step of the alternation; `sigma` itself where there are no degrees of freedom."""
    signal = signal_model.signal(torch.as_tensor(solution.parameters.T))
    foreground = (signal.abs().amax(0) > _SIGNAL_FACTOR * sigma).numpy()
    if not foreground.any():
        foreground[:] = True
    x = torch.as_tensor(X.T) / sigma
    squared = noise.squared_channels(x, signal / sigma).sum(0).numpy()
    free = (~solution.at_bound).sum(axis=1)
    freedom = np.sum(noise.channels * X.shape[1] - free[foreground])
    if freedom <= 0:
        return sigma
    return float(sigma * np.sqrt(np.sum(squared[foreground]) / freedom))
