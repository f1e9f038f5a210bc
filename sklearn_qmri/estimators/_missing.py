"""Measurements that do not exist: NaN in X, or an infinite noise level."""

import numpy as np

from .._warnings import warn

_BLOCK = 65536  # rows that are looked through at once


def split_missing(X, sigma, n_needed):
    """X with 0 for measurements that do not exist, which those are, and rows with enough others.

    Parameters
    ----------
    X : ndarray of shape (n_voxels, n_measurements)
        NaN where there is no measurement.
    sigma : ndarray or None
        Noise levels; per measurement, infinity means that there is none.
    n_needed : int
        Number of measurements that a row with missing ones needs.

    Returns
    -------
    X : ndarray of shape (n_voxels, n_measurements)
    missing : bool ndarray of shape (n_voxels, n_measurements) or None
    enough : bool ndarray of shape (n_voxels,)
    """
    enough = np.ones(len(X), dtype=bool)
    of_measurements = np.shape(sigma) in (X.shape, (1, X.shape[1]))
    # A mask of all measurements takes an eighth of the memory of X, which most data need not have.
    if not (of_measurements or _has_nan(X)):
        return X, None, enough
    missing = np.isnan(X)
    if of_measurements:
        missing |= np.isinf(sigma)
    if not missing.any():
        return X, None, enough
    n_missing = np.count_nonzero(missing, axis=1)
    enough = (n_missing == 0) | (X.shape[1] - n_missing >= max(n_needed, 1))
    return np.where(missing, 0.0, X), missing, enough


def complete_rows(sigma, shape, name):
    """Whether all measurements of each row exist, for an estimator that needs all of them.

    Parameters
    ----------
    sigma : ndarray or None
        Noise levels; per measurement, infinity means that there is none.
    shape : (int, int)
        That of X.
    name : str
        Name of the estimator, for the error.

    Returns
    -------
    bool ndarray of shape (n_voxels,)

    Raises
    ------
    ValueError
        If a measurement exists in no row.
    """
    if np.shape(sigma) not in (shape, (1, shape[1])):
        return np.ones(shape[0], dtype=bool)
    absent = np.isinf(sigma)
    if len(sigma) == 1 and absent.any():
        raise ValueError(
            f"sigma is infinite for measurements {np.flatnonzero(absent).tolist()}, but {name} "
            "needs every measurement: leave them out of X and of the signal model."
        )
    return np.broadcast_to(~absent.any(axis=1), shape[0])


def _has_nan(X):
    return any(np.isnan(X[i : i + _BLOCK]).any() for i in range(0, len(X), _BLOCK))


def warn_of_missing(missing):
    """Issue one warning for all missing measurements (n_usable, n_measurements), if any."""
    n_missing = 0 if missing is None else np.count_nonzero(missing)
    if n_missing:
        rows = np.count_nonzero(missing.any(axis=1))
        warn(
            f"Measurements are missing (NaN) in {rows} of {len(missing)} rows, {n_missing} in all: "
            "the estimates of these rows come from the others."
        )
