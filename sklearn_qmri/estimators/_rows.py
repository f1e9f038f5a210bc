"""Rows of voxels: checks of X and y, selection of usable rows, and results for all rows."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch, check_array, check_consistent_length
from sklearn.utils.validation import validate_data

from .._arrays import as_floats, columns_by_name
from .._torch import pieces
from .._warnings import warn
from ..noise import columns_of
from ..status import Status
from ..tissues import check_bounds, outside_bounds

# Share of the rows of y outside the signal model's bounds above which y is refused. A few rows may
# be plausible tissues beyond textbook ranges. This many mean a wrong unit or order of columns.
_MOST_OUTSIDE = 0.1
# Results for a row that is not a possible measurement; NaN for those not named here.
_FILL = {
    "status": Status.BAD_INPUT, "at_bound": False, "n_iter": 0, "outliers": False, "n_outliers": 0,
}  # fmt: skip


class Rows(NamedTuple):
    """Usable rows of the arguments of an estimator, and which rows those are.

    Attributes
    ----------
    X : ndarray of shape (n_usable, n_measurements)
    y : ndarray of shape (n_usable, n_parameters) or None
    sigma : ndarray of shape (n_usable,) or (n_usable, n_measurements) or None
        Noise levels. None if the noise level has to be learnt.
    fixed : ndarray of shape (n_usable, n_parameters) or None
        Values of known parameters, NaN for the others.
    missing : bool ndarray of shape (n_usable, n_measurements) or None
        Measurements that do not exist, at which X is 0; None if there are none. Where sigma has a
        value per measurement it is infinite there, and this is None.
    usable : bool ndarray of shape (n_voxels,)
        Whether each row of the arguments is usable.
    """

    X: np.ndarray
    y: np.ndarray | None
    sigma: np.ndarray | None
    fixed: np.ndarray | None
    missing: np.ndarray | None
    usable: np.ndarray

    @property
    def measured(self):
        """X with NaN where there is no measurement."""
        return self.X if self.missing is None else np.where(self.missing, np.nan, self.X)

    @property
    def n_present(self):
        """Number of measurements of each row, (n_usable,)."""
        return np.count_nonzero(~np.isinf(self.sigma_of_measurements()), axis=1)

    def sigma_of_measurements(self):
        """Noise levels (n_usable, n_measurements), infinite where there is no measurement."""
        sigma = np.broadcast_to(columns_of(self.sigma), self.X.shape)
        return sigma if self.missing is None else np.where(self.missing, np.inf, sigma)

    def piece(self, rows):
        """Consecutive usable rows, by a slice."""
        fields = (None if field is None else field[rows] for field in self[:-1])
        return Rows(*fields, np.ones(len(self.X[rows]), dtype=bool))

    def take(self, kept):
        """Select some of the usable rows, by a bool array (n_usable,)."""
        usable = self.usable.copy()
        usable[usable] = kept
        return Rows(*(take_rows(field, kept) for field in self[:-1]), usable)


def check_signals(estimator, X, *, reset, signal_model=None):
    """Validate X as scikit-learn does, but accept NaN and infinity; masked values become NaN.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64
    """
    if isinstance(X, np.ma.MaskedArray):
        X = as_floats(X)
    # Rows are contiguous in memory: the order of a sum, and so its rounding, depends on the layout.
    X = validate_data(
        estimator, X, reset=reset, dtype=np.float64, order="C", ensure_all_finite=False
    )
    if signal_model is not None and X.shape[1] != signal_model.n_measurements:
        raise ValueError(
            f"X has {X.shape[1]} measurements per voxel, but {signal_model!r} "
            f"has {signal_model.n_measurements}."
        )
    # Arrays from pandas may be read-only, for which torch issues a warning.
    return X if X.flags.writeable else X.copy()


def check_parameters(y, X, signal_model=None, argument="y"):
    """Validate y; columns of a DataFrame are taken by name, others in the model's order.

    Parameters
    ----------
    y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
    X : ndarray of shape (n_voxels, n_measurements)
    signal_model : SignalModel, default=None
        Signal model, which determines the parameters. None: there may be any number.
    argument : str, default="y"
        Name of the argument, for errors.

    Returns
    -------
    y : ndarray of shape (n_voxels, n_parameters), float64
    single_output : bool
        Whether `y` has one dimension, in which case predictions have one too.

    Raises
    ------
    ValueError
        If y is missing, has another length than X, or its columns are not the model's parameters.
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
    """Refuse y in other units, in another order or standardised.

    Values outside the bounds are evidence of that; a few rows only lead to a warning. The user's
    own `bounds` count where they are wider than the signal model's.
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
    """Whether each row can be fitted: X is possible under the noise model, the rest is finite.

    Warns once of all rows that are excluded.

    Raises
    ------
    ValueError
        If no row can be fitted.
    """
    usable = noise.is_valid(X)
    for other in others:
        usable &= other if other.dtype == bool else np.isfinite(other).all(axis=1)
    if not usable.any():
        raise ValueError(
            f"None of the {len(X)} rows can be used: they hold NaN, infinity, or values that "
            f"{noise} noise cannot produce."
        )
    warn_of_bad_rows(usable, "excluded from the fit")
    return usable


def warn_of_bad_rows(usable, consequence):
    """Issue one warning for all rows that are not possible measurements."""
    n_bad = len(usable) - np.count_nonzero(usable)
    if n_bad:
        warn(
            f"{n_bad} of {len(usable)} rows hold NaN, infinity, or values that the noise model "
            f"cannot produce: {consequence}."
        )


def take_rows(values, usable):
    """Usable rows of an array, without a copy if all are usable; None of None."""
    return values if values is None or usable.all() else values[usable]


def in_pieces(n_rows, size, compute):
    """Columns of results by name, computed in pieces of rows to need little further memory.

    Parameters
    ----------
    n_rows : int
    size : int
        Most rows of a piece.
    compute : callable
        Function of a slice of rows. It returns their results by name, with arrays of one row each.

    Returns
    -------
    dict of {str: ndarray}
    """
    columns = {}
    # There is at least one piece, which may be empty: columns exist without any row.
    for rows in pieces(n_rows, size):
        for name, values in compute(rows).items():
            # The first piece says which columns there are, of which shape and type.
            if name not in columns:
                columns[name] = np.empty((n_rows, *values.shape[1:]), dtype=values.dtype)
            columns[name][rows] = values
    return columns


def scatter_results(usable, **columns):
    """Extend results of usable rows to all rows.

    Parameters
    ----------
    usable : bool ndarray of shape (n_voxels,)
    **columns : ndarray of shape (n_usable, ...)
        Results by name.

    Returns
    -------
    Bunch
        Results with n_voxels rows. Without an estimate they are NaN, and `status` is BAD_INPUT.
    """
    return Bunch(
        **{
            name: scatter_rows(values, usable, _FILL.get(name, np.nan))
            for name, values in columns.items()
        }
    )


def scatter_rows(values, usable, fill=np.nan):
    """Extend values of usable rows to all rows, without a copy if all are usable."""
    if usable.all():
        return values
    full = np.full((len(usable), *values.shape[1:]), fill, dtype=values.dtype)
    full[usable] = values
    return full
