"""The door that all estimators share: X, y, sigma and fixed in, results of all rows out.

`fit` goes through `check_fit` and `settle_sigma`, under the decorator `all_or_nothing`; `estimate`
goes in through `check_estimate` and out through `scatter_results`; `predict` is `predicted` of
the results of `estimate`. Checks of single arguments are in `_rows`.
"""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._arrays import as_floats
from .._solver import check_fixed
from .._warnings import warn
from ..noise import CannotLearnSigma, NoiseModel, check_sigma, resolve_noise, sigma_from_pairs
from ..signal_models import LinearGaussian, resolve_model
from ._rows import (
    Rows,
    check_parameters,
    check_signals,
    check_truth,
    take_rows,
    usable_rows,
    warn_of_bad_rows,
)

# Constraints of the parameters that estimators have in common.
NOISE = [StrOptions({"auto", "gaussian", "rician"}), NoiseModel]
SIGMA = [Interval(Real, 0, None, closed="neither"), None]


def check_fit(estimator, X, y, sigma, *, y_needed, settings=None):
    """Check what `fit` was given; settle signal model and noise model.

    Sets ``n_features_in_``, ``feature_names_in_``, ``signal_model_``, ``noise_`` and
    ``_single_output_`` (whether y came as one dimension).

    Parameters
    ----------
    estimator : estimator
        With parameters `signal_model`, `noise` and `sigma`.
    X : array-like of shape (n_voxels, n_measurements)
    y : array-like of shape (n_voxels, n_parameters) or (n_voxels,), or None
    sigma : float or array-like of shape (n_voxels,), or None
        The argument of `fit`, which takes precedence over the parameter of the same name.
    y_needed : bool
        Whether None for y is an error.
    settings : estimator, default=None
        Has the parameters, where that is another: the network that a search is over.

    Returns
    -------
    Rows
        Rows that are possible measurements of finite tissues.

    Raises
    ------
    ValueError
        If an argument or parameter is out of range or does not fit the signal model, more than a
        tenth of y is outside the bounds, or no row is usable.
    """
    settings = estimator if settings is None else settings
    for checked in {id(each): each for each in (estimator, settings)}.values():
        checked._validate_params()
    model = settings.signal_model
    X = check_signals(estimator, X, reset=True, signal_model=model)
    single_output = False
    if y is not None or y_needed:
        y, single_output = check_parameters(y, X, model)
        if model is not None:
            check_truth(y, model, getattr(settings, "bounds", None))
    noise = resolve_noise(getattr(settings, "noise", "auto"), model or LinearGaussian)
    usable = usable_rows(X, noise, *([] if y is None else [y]))
    sigma = first_given(sigma, getattr(settings, "sigma", None))
    if sigma is not None:
        sigma = check_sigma(as_floats(sigma), len(X), usable)
    rows = Rows(*(take_rows(field, usable) for field in (X, y, sigma)), None, usable)
    estimator.signal_model_ = resolve_model(model, rows.X, rows.y)
    estimator.noise_ = noise
    estimator._single_output_ = single_output
    _warn_of_magnitudes(rows.X, estimator.signal_model_)
    return rows


def _warn_of_magnitudes(X, model):
    """Warn where signals of both signs are expected and there is not one negative one."""
    told = "magnitude" in vars(model)  # The user can say which of the two was measured.
    if told and not model.magnitude and not (X < 0).any() and model.changes_sign():
        name = type(model).__name__
        warn(
            f"No signal is negative, though those of {name} change their sign. If magnitudes were "
            f"measured, estimates are wrong: expected {name}(..., magnitude=True)."
        )


def settle_sigma(estimator, rows, sigma, learn=None, *, needed=True, settings=None):
    """Set ``sigma_``: as given (None of one per row), or learnt; and give every row its own.

    Parameters
    ----------
    estimator : estimator
        After `check_fit`.
    rows : Rows
    sigma : float or array-like or None
        The argument of `fit`.
    learn : callable, default=None
        Returns the noise level where none is given. None: from the signals of y.
    settings : estimator, default=None
        Has the parameter `sigma`, where that is another.
    needed : bool, default=True
        False where a noise level of NaN, which is unknown, will do.

    Returns
    -------
    Rows
        With a noise level for each.

    Raises
    ------
    ValueError
        If the noise level cannot be learnt and is needed.
    """
    if rows.sigma is None:
        if learn is None:
            level = sigma_from_pairs(estimator.signal_model_, estimator.noise_, rows.X, rows.y)
        else:
            level = learn()
        if np.isnan(level) and needed:
            raise CannotLearnSigma("Cannot learn sigma, which this estimator needs. Pass sigma.")
        estimator.sigma_ = level
        return rows._replace(sigma=np.full(len(rows.X), level))
    sigma = first_given(sigma, (estimator if settings is None else settings).sigma)
    estimator.sigma_ = float(sigma) if np.ndim(sigma) == 0 else None
    return rows


def check_estimate(estimator, X, *, sigma=None, fixed=None):
    """Check what `estimate` was given, and settle the noise level of each row.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like of shape (n_voxels, n_measurements)
    sigma : float or array-like of shape (n_voxels,), default=None
        None: the one of `fit`.
    fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
        Known parameters; a voxel with NaN has no estimate.

    Returns
    -------
    Rows

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        If X, sigma or fixed do not fit, or no noise level is known for these rows.
    """
    check_is_fitted(estimator)
    X = check_signals(estimator, X, reset=False)
    usable = estimator.noise_.is_valid(X)
    known = {name: as_floats(value) for name, value in (fixed or {}).items()}
    if known:
        fixed = check_fixed(known, estimator.signal_model_, estimator.bounds_, len(X))
    for value in known.values():  # a map of B1, say, has no value outside of its mask
        usable &= ~np.isnan(value)
    learnt = estimator.sigma_
    unneeded = sigma is None and learnt is not None and np.isnan(learnt)
    sigma = first_given(sigma, learnt, getattr(estimator, "sigma", None))
    if sigma is None:
        raise ValueError(
            "Cannot tell sigma of these rows: fit was given one sigma per voxel. Pass sigma here "
            "too."
        )
    if not unneeded:
        sigma = check_sigma(sigma, len(X), usable)
    sigma = np.broadcast_to(sigma, len(X))
    warn_of_bad_rows(usable, "their estimates are NaN")
    taken = (take_rows(field, usable) for field in (X, None, sigma, fixed if known else None))
    return Rows(*taken, usable)


def first_given(*values):
    """First of several values that is not None, else None."""
    return next((value for value in values if value is not None), None)
