"""Measures of one thing each, one value per parameter."""

import numpy as np
from sklearn.utils import Bunch

from ._decomposition import (
    bias_variance_decomposition,
    check_pair,
    group_moments,
    label_groups,
)


def mean_bias(y_true, y_pred):
    """Mean error of each parameter, with its sign.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded; `failure_rate` counts them.

    Returns
    -------
    ndarray of shape (n_parameters,)
        In the units of the parameters; NaN if all predictions are.

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> from sklearn_qmri.metrics import mean_bias
    >>> mean_bias([1.0, 2.0], [1.5, 2.5])
    array([0.5])
    """
    y_true, y_pred = _finite_rows(y_true, y_pred)
    return _mean(y_pred - y_true)


def rms_bias(y_true, y_pred):
    """Root mean square, over tissues, of each parameter's mean error.

    Unlike a mean of absolute values it has no floor from finite numbers of noise repeats: their
    share is taken off, see `bias_variance_decomposition`. 0 where that leaves less than nothing.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        In the units of the parameters.

    Raises
    ------
    ValueError
        If shapes disagree, or no tissue has two rows with predictions.

    Examples
    --------
    >>> from sklearn_qmri.metrics import rms_bias
    >>> rms_bias([1.0, 1.0, 2.0, 2.0], [1.5, 1.5, 2.5, 2.5])
    array([0.5])
    """
    squared = bias_variance_decomposition(y_true, y_pred).squared_bias
    return np.sqrt(np.maximum(squared, 0.0))


def noise_std(y_true, y_pred):
    """Standard deviation of each parameter over noise repeats, root mean square over tissues.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        In the units of the parameters.

    Raises
    ------
    ValueError
        If shapes disagree, or no tissue has two rows with predictions.

    Examples
    --------
    >>> from sklearn_qmri.metrics import noise_std
    >>> noise_std([1.0, 1.0, 2.0, 2.0], [1.0, 1.2, 2.0, 2.2]).round(3)
    array([0.141])
    """
    return np.sqrt(bias_variance_decomposition(y_true, y_pred).variance)


def root_mean_squared_error(y_true, y_pred):
    """Root mean squared error of each parameter.

    On tissues like those of the training it is least for true labels, whatever the bias.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        In the units of the parameters; NaN if all predictions are.

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> from sklearn_qmri.metrics import root_mean_squared_error
    >>> root_mean_squared_error([1.0, 2.0], [1.5, 1.5])
    array([0.5])
    """
    y_true, y_pred = _finite_rows(y_true, y_pred)
    return np.sqrt(_mean((y_pred - y_true) ** 2))


def shrinkage_slope(y_true, y_pred):
    """Slope of predictions against truth: 1 is faithful, 0 says nothing of the tissue.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        Without unit; NaN for parameters that do not vary.

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> from sklearn_qmri.metrics import shrinkage_slope
    >>> shrinkage_slope([1.0, 2.0, 3.0], [1.5, 2.0, 2.5])
    array([0.5])
    """
    y_true, y_pred = _finite_rows(y_true, y_pred)
    centered = y_true - _mean(y_true)
    varied = (y_true != y_true[:1]).any(axis=0)  # the mean of equal values can miss them
    square = np.where(varied, _mean(centered**2), np.nan)
    return _mean(centered * y_pred) / square


def failure_rate(y_true, y_pred):
    """Share of the rows whose prediction holds NaN or infinity.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Estimates.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> from sklearn_qmri.metrics import failure_rate
    >>> failure_rate([1.0, 2.0], [1.0, float("nan")])
    0.5
    """
    _, y_pred = check_pair(y_true, y_pred)
    return float(np.mean(~np.isfinite(y_pred).all(axis=1)))


def bias_curve(y_true, y_pred, parameter, *, n_bins=10):
    """Signed bias, noise and error of one parameter over its range.

    Tissues are sorted by the parameter's true value into bins with as many each.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.
    parameter : int
        Column.
    n_bins : int, default=10
        Fewer where there are fewer different values.

    Returns
    -------
    Bunch
        Arrays of shape (n_bins,): `center` (mean true value), `bias` (mean error), `std` (noise,
        root mean square over tissues; NaN without repeats), `rmse` and `n_tissues`; the first
        four in the units of the parameter.

    Raises
    ------
    ValueError
        If shapes disagree, there is no such column, or all predictions are NaN.

    Examples
    --------
    >>> from sklearn_qmri.metrics import bias_curve
    >>> bias_curve([1.0, 1.0, 2.0, 2.0], [1.5, 1.5, 1.5, 1.5], 0, n_bins=2).bias
    array([ 0.5, -0.5])
    """
    y_true, y_pred = _finite_rows(y_true, y_pred)
    if not -y_true.shape[1] <= parameter < y_true.shape[1]:
        raise ValueError(f"parameter {parameter} is no column of {y_true.shape[1]}.")
    if len(y_true) == 0:
        raise ValueError("All predictions are NaN: there is nothing to measure.")
    true, error = y_true[:, [parameter]], (y_pred - y_true)[:, [parameter]]
    groups = label_groups(y_true, None)
    n, bias, variance = group_moments(error, groups)
    bias, variance = bias[:, 0], variance[:, 0]
    values = group_moments(true, groups)[1][:, 0]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1]))
    index = np.searchsorted(edges, values, side="right")
    squared = bias**2 + np.where(n > 1, variance * (n - 1) / n, 0.0)
    bins = np.unique(index)

    def over(column, mean=np.mean):
        return np.array([mean(column[index == b]) for b in bins])

    return Bunch(
        center=over(values),
        bias=over(bias),
        std=np.sqrt(over(variance)),
        rmse=np.sqrt(over(squared)),
        n_tissues=over(values, len),
    )


def _finite_rows(y_true, y_pred):
    y_true, y_pred = check_pair(y_true, y_pred)
    kept = np.isfinite(y_pred).all(axis=1)
    return y_true[kept], y_pred[kept]


def _mean(columns):
    if len(columns) == 0:
        return np.full(columns.shape[1], np.nan)
    return columns.mean(axis=0)
