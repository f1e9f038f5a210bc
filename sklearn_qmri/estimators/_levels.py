"""Checks of probabilities that users ask for."""

from numbers import Real

import numpy as np

from .._arrays import as_floats


def check_levels(levels, name):
    """Numbers between 0 and 1, as an array of shape (n_levels,).

    Parameters
    ----------
    levels : float or array-like of shape (n_levels,)
    name : str
        Name of the argument, for the error.

    Returns
    -------
    ndarray of shape (n_levels,)

    Raises
    ------
    ValueError
        If they are no numbers between 0 and 1, both excluded, or there are none.
    """
    values = np.atleast_1d(as_floats(levels))
    if values.ndim != 1 or values.size == 0 or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"{name} expects numbers between 0 and 1, got {levels!r}.")
    return values


def check_coverage(coverage, name="coverage"):
    """Coverage of an interval as a number.

    Parameters
    ----------
    coverage : float
    name : str, default="coverage"
        Name of the argument, for the error.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is not a number between 0 and 1, both excluded.
    """
    if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ValueError(f"{name} expects a number between 0 and 1, got {coverage!r}.")
    return float(coverage)
