"""Door of all estimators: it checks X, y, sigma and fixed, and selects the usable rows.

`fit` calls `check_fit` and `settle_sigma`, under the decorator `all_or_nothing`. `estimate` begins
with `check_estimate` and ends with `scatter_results`. `predict` applies `predicted` to the results
of `estimate`. Checks of single arguments are in `_rows`.
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
from ._missing import complete_rows, split_missing, warn_of_missing
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
SIGMA_PER_MEASUREMENT = [*SIGMA, "array-like"]


def check_fit(estimator, X, y, sigma, *, y_needed, settings=None):
    """Check the arguments of `fit`, and determine the signal model and the noise model.

    Sets ``n_features_in_``, ``feature_names_in_``, ``signal_model_``, ``noise_`` and
    ``_single_output_`` (whether y has one dimension).

    Parameters
    ----------
    estimator : estimator
        Estimator with parameters `signal_model`, `noise` and `sigma`.
    X : array-like of shape (n_voxels, n_measurements)
    y : array-like of shape (n_voxels, n_parameters) or (n_voxels,), or None
    sigma : float or array-like of shape (n_voxels,), or None
        Argument of `fit`, which takes precedence over the parameter of the same name.
    y_needed : bool
        Whether None for y is an error.
    settings : estimator, default=None
        Estimator that has the parameters, if it is another one: the network of a search for alpha.

    Returns
    -------
    Rows
        Rows of X that are possible measurements, with finite y.

    Raises
    ------
    ValueError
        If an argument or parameter is out of range or does not fit the signal model, more than a
        tenth of a column of y is outside its bounds, or no row is usable.
    """
    settings = estimator if settings is None else settings
    # By identity, so that one object in both roles is checked once.
    for checked in {id(each): each for each in (estimator, settings)}.values():
        checked._validate_params()
    model = settings.signal_model
    X = check_signals(estimator, X, reset=True, signal_model=model)
    single_output = False
    if y is not None or y_needed:
        y, single_output = check_parameters(y, X, model)
        if model is not None:
            check_truth(y, model, getattr(settings, "bounds", None))
    noise = resolve_noise(getattr(settings, "noise", "auto"), model or LinearGaussian, X.shape[1])
    sigma = _checked_level(settings, sigma)
    per_measurement = _is_per_measurement(settings)
    n_known = len(getattr(settings, "fixed", None) or ())
    X, missing, enough = _split(settings, X, sigma, n_known)
    others = [] if enough is None else [enough]
    # Sigma is checked after the rows: it may be anything where a row is excluded.
    usable = usable_rows(X, noise, *others, *([] if y is None else [y]))
    if sigma is not None:
        sigma, missing = _absent(sigma, missing)
        sigma = check_sigma(sigma, len(X), usable, X.shape[1] if per_measurement else None)
    taken = [take_rows(field, usable) for field in (X, y, sigma, None, missing)]
    rows = Rows(*taken, usable)
    estimator.signal_model_ = resolve_model(model, rows.X, rows.y)
    estimator.noise_ = noise
    estimator._single_output_ = single_output
    _warn_of_magnitudes(rows.X, estimator.signal_model_)
    return rows


def _checked_level(settings, sigma):
    """Noise level by the argument of `fit` or by the parameter; None if it has to be learnt."""
    own = getattr(settings, "sigma", None)
    if own is not None and (
        np.asarray(own).dtype.kind not in "iuf" or np.shape(own)[:-1] not in ((), (1,)) or
        np.ndim(own) == 1
    ):  # fmt: skip
        raise ValueError(
            f"The parameter sigma of {type(settings).__name__} expects a number, or numbers of "
            f"shape (1, n_measurements), got {own!r}: pass levels of rows to fit."
        )
    sigma = first_given(sigma, own)
    return None if sigma is None else as_floats(sigma)


def _is_per_measurement(settings):
    """Whether an estimator takes noise levels per measurement, and missing measurements."""
    return getattr(settings, "_per_measurement", False) and _given_model(settings) is not None


def _given_model(settings):
    """Signal model that an estimator was given; None if it is learnt from the data.

    Without one there is no telling what the other measurements of a row say.
    """
    # A search has no signal model of its own: the one of its network becomes a fitted attribute.
    learnt = getattr(settings, "signal_model_", None)
    learnt = None if isinstance(learnt, LinearGaussian) else learnt
    return getattr(settings, "signal_model", learnt)


def _split(settings, X, sigma, n_known):
    """X with 0 for missing measurements, which those are, and rows with enough others.

    The last two are None if nothing is missing.
    """
    if not _is_per_measurement(settings):
        return X, None, None
    if not getattr(settings, "_takes_missing", False):
        return X, None, complete_rows(sigma, X.shape, type(settings).__name__)
    n_needed = len(_given_model(settings).parameters) - n_known
    X, missing, enough = split_missing(X, sigma, n_needed)
    return X, missing, None if missing is None else enough


def _absent(sigma, missing):
    """Noise levels per measurement are infinite where there is none, and tell which those are."""
    if missing is None or sigma.shape not in (missing.shape, (1, missing.shape[1])):
        return sigma, missing
    return np.where(missing, np.inf, sigma), None


def _warn_of_magnitudes(X, model):
    """Warn if signals of both signs are expected, but none is negative."""
    # Only such models let the user declare whether magnitudes or signed signals were measured.
    has_choice = "magnitude" in vars(model)
    if has_choice and not model.magnitude and not (X < 0).any() and model.changes_sign():
        name = type(model).__name__
        warn(
            f"No signal is negative, although signals of {name} change their sign. If magnitudes "
            f"were measured, estimates are wrong: use {name}(..., magnitude=True)."
        )


def settle_sigma(estimator, rows, sigma, learn=None, *, needed=True, settings=None):
    """Set ``sigma_``, as given or as learnt, and assign a noise level to every row.

    ``sigma_`` is None if `fit` got noise levels per row.

    Parameters
    ----------
    estimator : estimator
        Estimator after `check_fit`.
    rows : Rows
    sigma : float or array-like or None
        Argument of `fit`.
    learn : callable, default=None
        Function that returns the noise level if none is given. None: learn it from X and y.
    needed : bool, default=True
        Whether NaN, which means an unknown noise level, is an error.
    settings : estimator, default=None
        Estimator that has the parameter `sigma`, if it is another one.

    Returns
    -------
    Rows
        The same rows, with a noise level for each.

    Raises
    ------
    ValueError
        If the noise level cannot be learnt and is needed.
    """
    if rows.sigma is None:
        if learn is None:
            learnt = sigma_from_pairs(estimator.signal_model_, estimator.noise_, rows.X, rows.y)
        else:
            learnt = learn()
        if np.isnan(learnt) and needed:
            raise CannotLearnSigma("Cannot learn sigma, which this estimator needs. Pass sigma.")
        estimator.sigma_ = learnt
        return rows._replace(sigma=np.full(len(rows.X), learnt))
    # Per-row noise levels belong to the rows of `fit` and say nothing about later rows.
    sigma = first_given(sigma, (estimator if settings is None else settings).sigma)
    sigma = np.array(as_floats(sigma))  # a copy, which later changes of the argument leave alone
    of_all = sigma.ndim == 0 or (sigma.ndim == 2 and len(sigma) == 1)
    estimator.sigma_ = (sigma if sigma.ndim else float(sigma)) if of_all else None
    return rows


def check_estimate(estimator, X, *, sigma=None, fixed=None):
    """Check the arguments of `estimate`, and determine the noise level of each row.

    Parameters
    ----------
    estimator : fitted estimator
    X : array-like of shape (n_voxels, n_measurements)
    sigma : float or array-like, default=None
        Noise level, see `check_sigma`. None: the one of `fit`.
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
    sigma, unneeded = _level_of(estimator, sigma)
    given, per_measurement = X, _is_per_measurement(estimator)
    X, missing, enough = _split(estimator, X, sigma, len(fixed or ()))
    usable = estimator.noise_.is_valid(X)
    if enough is not None:
        usable &= enough
    by_name = {name: as_floats(value) for name, value in (fixed or {}).items()}
    if by_name:
        fixed = check_fixed(by_name, estimator.signal_model_, estimator.bounds_, len(X))
    # A map of a known parameter, such as B1, has no values outside its mask.
    for value in by_name.values():
        usable &= ~np.isnan(value)
    absent, (sigma, missing) = missing, _absent(sigma, missing)
    if unneeded:
        sigma = np.broadcast_to(sigma, len(X))
    else:
        sigma = check_sigma(sigma, len(X), usable, X.shape[1] if per_measurement else None)
    warn_of_bad_rows(usable, "their estimates are NaN")
    if absent is not None:
        warn_of_missing(take_rows(np.isnan(given), usable))
    fixed = fixed if by_name else None
    return Rows(*(take_rows(f, usable) for f in (X, None, sigma, fixed, missing)), usable)


def _level_of(estimator, sigma):
    """Noise level by the argument, by `fit` or by the parameter, and whether none is needed."""
    learnt = estimator.sigma_
    # A learnt NaN means that estimates do not depend on sigma; it would not pass any check.
    unneeded = sigma is None and isinstance(learnt, float) and np.isnan(learnt)
    sigma = first_given(sigma, learnt, getattr(estimator, "sigma", None))
    if sigma is None:
        raise ValueError(
            "Cannot tell sigma of these rows: fit was given one sigma per voxel. Pass sigma here "
            "too."
        )
    return as_floats(sigma), unneeded


def first_given(*values):
    """First of several values that is not None; None if there is none."""
    return next((value for value in values if value is not None), None)
