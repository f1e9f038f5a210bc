"""Arrays of users: masked entries, columns with names."""

from functools import reduce

import numpy as np

_SHORT = 32  # columns


def as_floats(values):
    """Numbers as a float64 array; masked entries of a masked array are NaN.

    `numpy.asarray` would drop the mask and return the hidden values as data.

    Parameters
    ----------
    values : array-like

    Returns
    -------
    ndarray
        The array itself, not a copy, if it has this type already.
    """
    if isinstance(values, np.ma.MaskedArray):
        return values.astype(np.float64).filled(np.nan)
    return np.asarray(values, dtype=np.float64)


def row_extremes(X):
    """Least and largest value of each row; NaN where a row has one.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        With at least one column.

    Returns
    -------
    low, high : ndarrays of shape (n_rows,)
    """
    # Along short rows a reduction costs more than a pass over all rows for each column.
    if X.shape[1] > _SHORT:
        return X.min(axis=1), X.max(axis=1)
    return reduce(np.minimum, X.T), reduce(np.maximum, X.T)


def columns_by_name(values, names, argument):
    """Columns of a DataFrame in the order of `names`; anything else is returned as it is.

    Parameters
    ----------
    values : array-like or DataFrame
    names : sequence of str
    argument : str
        Name of the argument, for the error.

    Returns
    -------
    array-like

    Raises
    ------
    ValueError
        If a DataFrame has other columns.
    """
    if not hasattr(values, "columns"):
        return values
    # Labels of different types, such as "D" and 1, can be compared by a sort only as strings.
    columns = list(values.columns)
    if sorted(columns, key=str) != sorted(names):
        raise ValueError(f"{argument} has columns {columns}, expected {list(names)}.")
    return values[list(names)]
