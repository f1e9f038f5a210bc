"""What every estimator does with X, y and sigma at its door, and the status it gives a voxel."""

import warnings
from enum import IntEnum
from numbers import Real

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import validate_data

from .noise import Gaussian, Rician

# Constraints of the parameters that estimators have in common.
_OF_NOISE = [
    "derivatives", "information", "is_valid", "mean", "normalizer", "sample", "variance",
    "without_bias",
]  # fmt: skip
NOISE = [StrOptions({"auto", "gaussian", "rician"}), HasMethods(_OF_NOISE)]
SIGMA = [Interval(Real, 0, None, closed="neither"), None]


class Status(IntEnum):  # numpydoc ignore=PR01
    """What became of a voxel; the values of `status` in the result of ``estimate``.

    Attributes
    ----------
    OK : 0
        Nothing to report.
    AT_BOUND : 1
        Converged, at least one parameter on a bound.
    NOT_CONVERGED : 2
        Stopped before the optimum was reached.
    OUT_OF_DOMAIN : 3
        Unlike anything that the network was trained on.
    BAD_INPUT : 4
        Not a possible measurement (e.g. NaN); estimates are NaN.
    TOO_FEW_ATOMS : 5
        So few simulated tissues are like it that their mean is a matter of luck.

    Examples
    --------
    >>> from sklearn_qmri import Status
    >>> Status(4)
    <Status.BAD_INPUT: 4>
    """

    OK = 0
    AT_BOUND = 1
    NOT_CONVERGED = 2
    OUT_OF_DOMAIN = 3
    BAD_INPUT = 4
    TOO_FEW_ATOMS = 5


def check_noise(noise, signal_model):
    """Noise model meant by `noise`, which may be one already.

    Raises
    ------
    ValueError
        If `noise` is a string of no known meaning.
    """
    if not isinstance(noise, str):
        return noise
    if noise == "auto":
        return Rician() if signal_model.magnitude else Gaussian()
    if noise == "rician":
        return Rician()
    if noise == "gaussian":
        return Gaussian()
    raise ValueError(f"noise expects 'auto', 'gaussian', 'rician' or a noise model, got {noise!r}.")


def check_signals(estimator, X, *, reset, signal_model=None):
    """Validate X as scikit-learn does, but let NaN and infinity through.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64
    """
    X = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite=False)
    if signal_model is not None and X.shape[1] != signal_model.n_measurements:
        raise ValueError(
            f"X has {X.shape[1]} measurements per voxel, but {signal_model!r} "
            f"has {signal_model.n_measurements}."
        )
    return X


def check_parameters(y, X, signal_model=None):
    """Validate y; a DataFrame's columns are taken by name, others in the model's order.

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
        names = list(signal_model.parameter_names)
        if hasattr(y, "columns"):
            if set(y.columns) != set(names) or len(y.columns) != len(names):
                raise ValueError(f"y has columns {list(y.columns)}, expected {names}.")
            y = y[names]
    y = check_array(
        y,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite=False,
        allow_nd=False,
        input_name="y",
    )
    check_consistent_length(X, y)
    single_output = y.ndim == 1
    y = y.reshape(len(y), -1)
    if signal_model is not None and y.shape[1] != len(names):
        raise ValueError(f"y has {y.shape[1]} parameters, but {signal_model!r} has {names}.")
    return y, single_output


def check_sigma(sigma, n_voxels, usable=None):
    """Validate sigma, a positive number or one per voxel; returns one per voxel.

    Only voxels that are `usable` (default: all) need a valid one.

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


def common_sigma(sigma):
    """What `fit` keeps of sigma for later voxels: a number, but nothing of one per voxel."""
    return float(sigma) if np.ndim(sigma) == 0 else None


def resolve_sigma(estimator, sigma, usable):
    """Noise level of each row: the argument, else the one of fit, else the init parameter."""
    for known in (estimator.sigma_, estimator.sigma):
        sigma = known if sigma is None else sigma
    if sigma is None:
        raise ValueError(
            "fit was given one sigma per voxel, which says nothing about these voxels: "
            "pass sigma here too."
        )
    return check_sigma(sigma, len(usable), usable)


def usable_rows(X, noise, *others):
    """Rows that can be fitted: X possible under the noise model, the rest finite.

    Warns once with the number of rows left out.

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
    warn_of_bad_rows(usable, "left out of the fit")
    return usable


def warn_of_bad_rows(usable, consequence):
    """One warning for all rows that are not possible measurements."""
    n_bad = len(usable) - np.count_nonzero(usable)
    if n_bad:
        warnings.warn(
            f"{n_bad} of {len(usable)} rows hold NaN, infinity, or values that the noise model "
            f"cannot give: {consequence}.",
            stacklevel=4,
        )


def number_tissues(y):
    """Number the distinct rows of y (n_voxels, n_parameters), in their order; one int per row.

    As `numpy.unique` along the first axis would, several times faster.
    """
    order = np.lexsort(y.T[::-1])
    new = (y[order[1:]] != y[order[:-1]]).any(axis=1)
    numbers = np.empty(len(y), dtype=np.intp)
    numbers[order] = np.concatenate([np.zeros(min(len(y), 1), np.intp), np.cumsum(new)])
    return numbers


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
