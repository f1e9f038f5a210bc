"""The door that all estimators share: X, y, sigma and fixed in, results of all rows out.

`fit` goes through `check_fit` and `settle_sigma`, under the decorator `all_or_nothing`; `estimate`
goes in through `check_estimate` and out through `scatter_results`; `predict` is `predicted` of
what `estimate` found.
"""

from functools import wraps
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Bunch, check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arrays import as_floats, columns_by_name
from .._solver import check_fixed
from .._warnings import warn
from ..noise import CannotLearnSigma, NoiseModel, check_sigma, resolve_noise, sigma_from_pairs
from ..signal_models import LinearGaussian, resolve_model
from ..status import Status
from ..tissues import check_bounds, outside_bounds

# Constraints of the parameters that estimators have in common.
NOISE = [StrOptions({"auto", "gaussian", "rician"}), NoiseModel]
SIGMA = [Interval(Real, 0, None, closed="neither"), None]

# Share of the rows of y outside the signal model's bounds from which on y is refused.
_MOST_OUTSIDE = 0.1
# What stands in the results for a row that is no possible measurement.
_FILL = {"status": Status.BAD_INPUT, "at_bound": False, "n_iter": 0}


class Rows(NamedTuple):
    """Usable rows of what an estimator was given, and which rows those are.

    Attributes
    ----------
    X : ndarray of shape (n_usable, n_measurements)
    y : ndarray of shape (n_usable, n_parameters) or None
    sigma : ndarray of shape (n_usable,) or None
        None where it is to be learnt.
    fixed : ndarray of shape (n_usable, n_parameters) or None
        Values of known parameters, NaN for the others.
    usable : bool ndarray of shape (n_voxels,)
        Which of the rows that were given these are.
    """

    X: np.ndarray
    y: np.ndarray | None
    sigma: np.ndarray | None
    fixed: np.ndarray | None
    usable: np.ndarray

    def take(self, kept):
        """Some of the usable rows, by a bool array (n_usable,)."""
        usable = self.usable.copy()
        usable[usable] = kept
        return Rows(*(take_rows(field, kept) for field in self[:4]), usable)


class TissueRegressorMixin(RegressorMixin):
    """The tags and the score of regressors from signals to tissue parameters."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags

    def score(self, X, y, sample_weight=None, *, sigma=None):
        """Coefficient of determination of the predictions, R^2, averaged over the parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters; the columns of a DataFrame are taken by name.
        sample_weight : array-like of shape (n_voxels,), default=None
            Weight of each voxel.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, as in `predict`. None: the one of `fit`.

        Returns
        -------
        float
            1 for perfect predictions, 0 for the mean of y.

        Raises
        ------
        NotFittedError, ValueError
            Same as `predict`.
        """
        model = _named_model(self)
        if model is not None:
            y = columns_by_name(y, list(model.parameter_names), "y")
        predicted = self.predict(X) if sigma is None else self.predict(X, sigma=sigma)
        return r2_score(y, predicted, sample_weight=sample_weight)


def _named_model(estimator):
    """The signal model that the user has named, maybe of an estimator inside; None if none."""
    for holder in (
        estimator,
        *(getattr(estimator, n, None) for n in ("estimator", "label_estimator")),
    ):
        if getattr(holder, "signal_model", None) is not None:
            return holder.signal_model
    return None


def all_or_nothing(fit):
    """Decorate `fit`: an estimator whose fit fails, or is interrupted, is not fitted.

    Whatever `fit` learns is in attributes whose names end in an underscore. They go when a fit
    begins, and again where it does not come to its end; so scikit-learn's own rule, which is to
    look for such attributes, tells whether an estimator is fitted.
    """

    @wraps(fit)
    def fit_or_forget(self, *args, **kwargs):
        _forget(self)
        try:
            return fit(self, *args, **kwargs)
        except BaseException:  # an interruption too
            _forget(self)
            raise

    return fit_or_forget


def _forget(estimator):
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def refuse(estimator, **options):
    """Refuse, by name, options that an estimator cannot take.

    Raises
    ------
    ValueError
        For the first that is neither None nor False.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise ValueError(f"{type(estimator).__name__} does not take {name}, got {value!r}.")


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


def scatter_results(usable, **columns):
    """Results of usable rows among all rows.

    Parameters
    ----------
    usable : bool ndarray of shape (n_voxels,)
    **columns : ndarray of shape (n_usable, ...)
        Results by name.

    Returns
    -------
    Bunch
        With n_voxels rows: NaN where there is no estimate, in `status` BAD_INPUT.
    """
    return Bunch(
        **{
            name: scatter_rows(values, usable, _FILL.get(name, np.nan))
            for name, values in columns.items()
        }
    )


def predicted(estimator, found, return_std):
    """Result of `predict`, of what `estimate` found: parameters, and `std` where asked for.

    One-dimensional where y was.
    """
    results = [found.parameters, found.std] if return_std else [found.parameters]
    if estimator._single_output_:
        results = [values[:, 0] for values in results]
    return tuple(results) if return_std else results[0]


def first_given(*values):
    """First of several values that is not None, else None."""
    return next((value for value in values if value is not None), None)


def check_signals(estimator, X, *, reset, signal_model=None):
    """Validate X as scikit-learn does, but let NaN and infinity through; masked ones are NaN.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64
    """
    if isinstance(X, np.ma.MaskedArray):
        X = as_floats(X)
    # Row by row in memory: the order of a sum, and so its rounding, depends on the layout.
    X = validate_data(
        estimator, X, reset=reset, dtype=np.float64, order="C", ensure_all_finite=False
    )
    if signal_model is not None and X.shape[1] != signal_model.n_measurements:
        raise ValueError(
            f"X has {X.shape[1]} measurements per voxel, but {signal_model!r} "
            f"has {signal_model.n_measurements}."
        )
    # What pandas hands out may be read-only, which torch warns of.
    return X if X.flags.writeable else X.copy()


def check_parameters(y, X, signal_model=None, argument="y"):
    """Validate y; a DataFrame's columns are taken by name, others in the model's order.

    Parameters
    ----------
    y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
    X : ndarray of shape (n_voxels, n_measurements)
    signal_model : SignalModel, default=None
        None: any number of parameters.
    argument : str, default="y"
        Name of the argument, for errors.

    Returns
    -------
    y : ndarray of shape (n_voxels, n_parameters), float64
    single_output : bool
        Whether `y` came as one dimension, in which case predictions have one too.

    Raises
    ------
    ValueError
        If y is missing, has another length than X, or other columns than the model's parameters.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    if signal_model is not None:
        y = columns_by_name(y, list(signal_model.parameter_names), argument)
    if isinstance(y, np.ma.MaskedArray):
        y = as_floats(y)
    y = check_array(
        y,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite=False,
        allow_nd=False,
        input_name=argument,
    )
    check_consistent_length(X, y)
    single_output = y.ndim == 1
    y = y.reshape(len(y), -1)
    if signal_model is not None:
        names = list(signal_model.parameter_names)
        if y.shape[1] != len(names):
            raise ValueError(
                f"{argument} has {y.shape[1]} parameters, but {signal_model!r} has {names}."
            )
    return y, single_output


def check_truth(y, signal_model, bounds=None):
    """Refuse y in other units, another order or standardised; warn of a few rows outside bounds.

    The user's own `bounds` count where they are wider than the signal model's.
    """
    finite = np.isfinite(y)
    low, high = check_bounds(bounds, signal_model)
    outside = outside_bounds(y, signal_model) & ~((y >= low) & (y <= high)) & finite
    for p, wrong, column in zip(signal_model.parameters, outside.T, y.T, strict=True):
        if wrong.mean() > _MOST_OUTSIDE:
            raise ValueError(
                f"y has {p.name} outside its bounds of {p.bounds[0]:g} to {p.bounds[1]:g}"
                f"{f' {p.unit}' if p.unit else ''} in {np.count_nonzero(wrong)} of {len(y)} rows "
                f"(median {np.median(column[finite.all(axis=1)]):.4g}): check its unit and the "
                f"order of the columns, {list(signal_model.parameter_names)}; y must not be scaled."
            )
    rows = outside.any(axis=1)
    if rows.any():
        warn(f"y is outside the bounds of {signal_model!r} in {np.count_nonzero(rows)} rows.")


def usable_rows(X, noise, *others):
    """Rows that can be fitted: X possible under the noise model, the rest finite.

    Warns once with the number of rows that are excluded.

    Raises
    ------
    ValueError
        If there are none.
    """
    usable = noise.is_valid(X)
    for other in others:
        usable &= np.isfinite(other).all(axis=1)
    if not usable.any():
        raise ValueError(
            f"None of the {len(X)} rows can be used: they hold NaN, infinity, or values that "
            f"{noise} noise cannot give."
        )
    warn_of_bad_rows(usable, "excluded from the fit")
    return usable


def warn_of_bad_rows(usable, consequence):
    """One warning for all rows that are not possible measurements."""
    n_bad = len(usable) - np.count_nonzero(usable)
    if n_bad:
        warn(
            f"{n_bad} of {len(usable)} rows hold NaN, infinity, or values that the noise model "
            f"cannot give: {consequence}."
        )


def take_rows(values, usable):
    """Usable rows of an array, or None of None; no copy where all are."""
    return values if values is None or usable.all() else values[usable]


def scatter_rows(values, usable, fill=np.nan):
    """Put the values of usable rows back among all rows; no copy where all are."""
    if usable.all():
        return values
    full = np.full((len(usable), *values.shape[1:]), fill, dtype=values.dtype)
    full[usable] = values
    return full
