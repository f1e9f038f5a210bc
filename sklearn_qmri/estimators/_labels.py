"""Labels: the second one, the weight between the two, and which rows validate."""

from inspect import signature

import numpy as np
from sklearn import get_config
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import check_memory

from .._version import __version__


def compute_labels(estimator, X, y, params, memory):
    """Fit the label estimator and let it label X, or take both from the cache.

    Parameters
    ----------
    estimator : regressor
    X, y : arrays
    params : Bunch
        Keyword arguments of its `fit` and `predict`.
    memory : None, str or joblib.Memory

    Returns
    -------
    estimator : fitted regressor
    labels : ndarray of the shape of y

    Raises
    ------
    ValueError
        If the labels have another shape.
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
    """Fit and predict in one step, to be cached; the version only is part of the key."""
    estimator.fit(X, y, **params.fit)
    return estimator, estimator.predict(X, **params.predict)


def route_sigma(router, label_estimator, sigma):
    """What the label estimator gets of `sigma`: what it requests, or without routing can take."""
    if sigma is None:
        return Bunch(fit={}, predict={})
    if get_config()["enable_metadata_routing"]:
        return process_routing(router, "fit", sigma=sigma).label_estimator
    methods = ("fit", "predict")
    takes = {m: "sigma" in signature(getattr(label_estimator, m)).parameters for m in methods}
    return Bunch(**{m: {"sigma": sigma} if takes[m] else {} for m in methods})


def check_alpha(alpha, n_parameters):
    """Alpha per parameter; ValueError for a wrong length or values outside [0, 1]."""
    try:
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
