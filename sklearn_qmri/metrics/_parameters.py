"""Measures of one aspect of the error each, with one value per parameter."""

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
        In the units of the parameters; NaN if all predictions are NaN.

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

    A finite number of noise repeats does not raise it, unlike a mean of absolute values: the share
    of the noise is subtracted, see `bias_variance_decomposition`. It is 0 where the difference is
    negative.

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
    """Standard deviation of each parameter over noise repeats, as root mean square over tissues.

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

    On tissues like the training tissues, networks trained on true labels have the smallest error,
    although they are biased.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        In the units of the parameters; NaN if all predictions are NaN.

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
    """Slope of predictions against the truth: 1 without shrinkage, 0 where they do not follow it.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        Without a unit; NaN for parameters that do not vary.

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
    # The mean of equal values can differ from them by rounding, and so can a variance from 0.
    varied = (y_true != y_true[:1]).any(axis=0)
    # Least-squares slope cov(t, p) / var(t). The centered truth sums to 0, so the mean of the
    # predictions drops out of the covariance and need not be subtracted.
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

    Tissues are sorted by the true value of the parameter into bins of about equal size.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.
    parameter : int
        Column index.
    n_bins : int, default=10
        Number of bins. There are fewer where the parameter has fewer different values.

    Returns
    -------
    Bunch
        Arrays of shape (n_bins,): `center` (mean true value), `bias` (mean error), `std` (noise
        as root mean square over tissues; NaN without repeats), `rmse` and `n_tissues`. The first
        four are in the units of the parameter.

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
        raise ValueError(f"parameter expects a column of {y_true.shape[1]}, got {parameter!r}.")
    if len(y_true) == 0:
        raise ValueError("All predictions are NaN: there is nothing to measure.")
    # One column each, (n_rows, 1); the moments are then per tissue, (n_tissues,).
    true, error = y_true[:, [parameter]], (y_pred - y_true)[:, [parameter]]
    groups = label_groups(y_true, None)
    n, bias, variance = group_moments(error, groups)
    bias, variance = bias[:, 0], variance[:, 0]
    values = group_moments(true, groups)[1][:, 0]
    # Inner quantiles are the edges between bins. Equal ones would leave a bin empty.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1]))
    index = np.searchsorted(edges, values, side="right")
    # Mean squared error of a tissue's n rows, see bias_variance_decomposition. The variance of one
    # row is NaN, and its squared error is all there is.
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
    """Truth and predictions of the rows whose predictions are finite."""
    y_true, y_pred = check_pair(y_true, y_pred)
    kept = np.isfinite(y_pred).all(axis=1)
    return y_true[kept], y_pred[kept]


def _mean(columns):
    """Mean of each column; NaN without the warning of NumPy where there are no rows."""
    if len(columns) == 0:
        return np.full(columns.shape[1], np.nan)
    return columns.mean(axis=0)
