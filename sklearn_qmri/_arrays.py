"""Arrays as users hand them in: masked entries, columns with names."""

import numpy as np


def as_floats(values):
    """Numbers as a float64 array; masked entries of a masked array are NaN.

    NumPy would drop the mask and take for data what it hides.

    Parameters
    ----------
    values : array-like

    Returns
    -------
    ndarray
        Not a copy where none is needed.
    """
    if isinstance(values, np.ma.MaskedArray):
        return values.astype(np.float64).filled(np.nan)
    return np.asarray(values, dtype=np.float64)


def columns_by_name(values, names, argument):
    """Columns of a DataFrame in the order of `names`; anything else as it is.

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
    if sorted(map(str, values.columns)) != sorted(names):
        raise ValueError(f"{argument} has columns {list(values.columns)}, expected {list(names)}.")
    return values[list(names)]
