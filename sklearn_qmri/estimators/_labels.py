"""Labels: computation of maximum-likelihood labels, and their blend with the truth."""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_memory

from .._version import __version__
from ._mle import MLEEstimator
from ._routing import route_sigma
from ._rows import check_parameters, take_rows, usable_rows

# Largest label of an amplitude, relative to the largest true amplitude.
_MOST = 3.0


class LabelledRows(NamedTuple):
    """Training rows with both kinds of label.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_measurements)
    y : ndarray of shape (n_rows, n_parameters)
        True parameters.
    sigma : ndarray of shape (n_rows,) or (n_rows, n_measurements)
    labels : ndarray of shape (n_rows, n_parameters)
        Maximum-likelihood labels, or true parameters where no labels are needed.
    """

    X: np.ndarray
    y: np.ndarray
    sigma: np.ndarray
    labels: np.ndarray

    def take(self, rows):
        """Select some of the rows, by a bool or int array."""
        return LabelledRows(*(field[rows] for field in self))


def label_rows(net, rows, sigma, mle_labels, needed):
    """Label rows by the label estimator of a network, or by labels that were computed before.

    Parameters
    ----------
    net : HybridLabelNetRegressor
        Network of which only the parameters are read.
    rows : Rows
        Usable rows, with a noise level for each.
    sigma : float or array-like or None
        Argument of `fit`, for the label estimator.
    mle_labels : array-like of shape (n_voxels, n_parameters) or None
        Labels that were computed before, for all rows passed to `fit`.
    needed : bool ndarray of shape (n_parameters,)
        Parameters whose labels have a weight.

    Returns
    -------
    label_estimator : fitted regressor or None
        Fitted label estimator. None if no labels had to be computed.
    labelled : LabelledRows
        Rows whose labels are finite.
    kept : bool ndarray of shape (n_usable,)
        Whether each usable row is among the labelled rows.
    """
    estimator, labels = None, rows.y
    if mle_labels is not None:
        # Only the length of its second argument is checked; labels are those of all rows.
        shape = np.empty((len(rows.usable), 0))
        labels, _ = check_parameters(mle_labels, shape, net.signal_model, "mle_labels")
        labels = take_rows(labels, rows.usable)
    elif needed.any():
        # The label estimator gets sigma only if `fit` got it. Otherwise it has its own settings.
        per_row = None if sigma is None else rows.sigma
        estimator, labels = _compute(net, rows, per_row)
    labels = np.where(needed, labels, rows.y)
    kept = np.isfinite(labels).all(axis=1)
    if not kept.all():
        # For its warning of excluded rows, and its error if no row is left.
        usable_rows(rows.X, Finite, labels)
    return estimator, LabelledRows(rows.X, rows.y, rows.sigma, labels).take(kept), kept


class Finite:
    """Stand-in for a noise model, for rows of X that have been checked before."""

    @staticmethod
    def is_valid(X):
        """Whether each row is valid, which is True for all."""
        return np.ones(len(X), dtype=bool)


def _compute(net, rows, sigma):
    """Fitted label estimator, and the labels that it predicts for the rows."""
    if net.label_estimator is None:
        own_sigma = net.sigma if sigma is None else None
        if sigma is None and own_sigma is None:
            # The network has learnt one noise level from the signals of y, the same for all rows.
            own_sigma = float(rows.sigma[0])
        estimator = MLEEstimator(
            net.signal_model, noise=net.noise, sigma=own_sigma, verbose=net.verbose
        )
        params = Bunch(fit={"sigma": sigma}, predict={"sigma": sigma})
    else:
        estimator = clone(net.label_estimator)
        params = route_sigma(net, estimator, sigma)
    return compute_labels(estimator, rows.X, rows.y, params, net.memory)


def compute_labels(estimator, X, y, params, memory):
    """Fit the label estimator and predict labels of X, or take both from the cache.

    Parameters
    ----------
    estimator : regressor
    X, y : arrays
    params : Bunch
        Keyword arguments of the estimator's `fit` and `predict`.
    memory : None, str or joblib.Memory

    Returns
    -------
    estimator : fitted regressor
    labels : ndarray of the shape of y

    Raises
    ------
    ValueError
        If the labels do not have the shape of y.
    """
    cached = check_memory(memory).cache(_fit_predict)
    estimator, labels = cached(estimator, X, y, params, __version__)
    labels = np.asarray(labels, dtype=np.float64).reshape(len(X), -1)
    if labels.shape != y.shape:
        raise ValueError(
            f"label_estimator gave labels of shape {labels.shape}, expected {y.shape}."
        )
    return estimator, labels


def _fit_predict(estimator, X, y, params, version):
    """Fit and predict in one step that can be cached.

    The version of this package is unused, but it is part of the cache's key.
    """
    estimator.fit(X, y, **params.fit)
    return estimator, estimator.predict(X, **params.predict)


def blend(truth, labels, alpha, signal_model=None):
    """Blend of true parameters and labels, ``alpha * label + (1 - alpha) * truth``.

    Labels of amplitudes are clipped at 3 times the largest true amplitude. A rapid decay with any
    amplitude, even a hundred thousand times the true one, may best explain a signal that is all
    noise. A few such labels in a million would dominate the squared error.

    Parameters
    ----------
    truth, labels : ndarray of shape (n_rows, n_parameters)
    alpha : ndarray of shape (n_parameters,)
        Weight of the labels. Where it is 0, labels are ignored, even if they are NaN.
    signal_model : SignalModel, default=None
        Signal model that says which parameters are amplitudes. None: nothing is clipped.

    Returns
    -------
    ndarray of shape (n_rows, n_parameters)
    """
    if signal_model is not None:
        amplitude = [p.amplitude for p in signal_model.parameters]
        limit = np.where(amplitude, _MOST * np.abs(truth).max(axis=0), np.inf)
        labels = np.clip(labels, -limit, limit)
    # 0 * NaN is NaN, so labels without weight are replaced.
    return np.where(alpha > 0, alpha * labels, 0.0) + (1 - alpha) * truth


def check_alpha(alpha, n_parameters):
    """Alpha per parameter; ValueError for a wrong length or values outside [0, 1]."""
    try:
        # Strings are refused, although "0.5" could be converted.
        values = np.asarray(alpha)
        values = values.astype(np.float64, casting="same_kind")
    except TypeError as error:
        raise ValueError(f"alpha expects a number or one per parameter, got {alpha!r}.") from error
    if values.shape not in ((), (n_parameters,)):
        raise ValueError(
            f"alpha expects a number or one per parameter ({n_parameters}), got {alpha!r}."
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"alpha expects values in [0, 1], got {alpha!r}.")
    return np.broadcast_to(values, n_parameters)
