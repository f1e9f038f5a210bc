"""Measures of estimates that are averaged over a region, or taken together."""

from numbers import Integral

import numpy as np

from ._decomposition import bias_variance_decomposition, check_pair, group_moments, label_groups


def roi_mean_squared_error(y_true, y_pred, *, n_voxels):
    """Squared error of the mean over a region of voxels of one tissue: bias^2 + variance / n.

    Averaging lowers the variance, but not the bias. `roi_error` is the rule that minimises this.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.
    n_voxels : int
        Number of voxels n in the region. It need not be the number of repeats.

    Returns
    -------
    ndarray of shape (n_parameters,)
        Mean over tissues, in the units of the parameters squared. The estimate has no bias, so that
        it may come out negative where the true value is close to 0.

    Raises
    ------
    ValueError
        If shapes disagree, `n_voxels` is not a positive integer, or no tissue has two rows with
        predictions.

    Examples
    --------
    >>> from sklearn_qmri.metrics import roi_mean_squared_error
    >>> y_true, y_pred = [1.0, 1.0, 2.0, 2.0], [1.5, 1.7, 2.5, 2.7]
    >>> roi_mean_squared_error(y_true, y_pred, n_voxels=10).round(3)
    array([0.352])
    """
    check_n_voxels(n_voxels)
    parts = bias_variance_decomposition(y_true, y_pred)
    return parts.squared_bias + parts.variance / n_voxels


def check_n_voxels(n_voxels):
    """ValueError unless a number of voxels is an integer of at least 1."""
    if not isinstance(n_voxels, Integral) or isinstance(n_voxels, bool) or n_voxels < 1:
        raise ValueError(f"n_voxels expects an integer of at least 1, got {n_voxels!r}.")


def noise_correlation(y_true, y_pred):
    """Correlation across noise between the estimates of each two parameters.

    Where it is strong, noise moves estimates along a line, and a map of one parameter repeats the
    noise of the other's (Kaandorp et al., Magn Reson Med 2023, discuss f and D_star of IVIM).

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_parameters)
        True parameters; noise repeats are identical rows.
    y_pred : array-like of the same shape
        Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters, n_parameters)
        Mean over tissues of the covariance within each tissue, divided by both standard deviations
        (the roots of its diagonal). NaN for parameters whose estimates do not vary.

    Raises
    ------
    ValueError
        If shapes disagree, or no tissue has two rows with predictions.

    Examples
    --------
    >>> from sklearn_qmri.metrics import noise_correlation
    >>> noise_correlation([[1.0, 2.0]] * 3, [[1.1, 1.9], [1.0, 2.0], [0.9, 2.1]]).round(3)
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    y_true, y_pred = check_pair(y_true, y_pred)
    kept = np.isfinite(y_pred).all(axis=1)
    error = (y_pred - y_true)[kept]
    _, groups = np.unique(label_groups(y_true, None)[kept], return_inverse=True)
    n, mean, _ = group_moments(error, groups) if len(error) else (np.zeros(1), None, None)
    if not (n >= 2).any():
        raise ValueError(
            "No tissue has two rows with predictions: simulate noise repeats, e.g. "
            "make_signals(..., n_repeats=10)."
        )
    # The pooled covariance over tissues of equal weight: a tissue's sum of products over n - 1.
    weight = np.where(n >= 2, 1 / np.maximum(n - 1, 1), 0.0)[groups]
    rest = error - mean[groups]
    covariance = (rest * weight[:, None]).T @ rest
    std = np.sqrt(np.diagonal(covariance) / len(n))
    # Equal estimates can differ from their mean by rounding, which would correlate at random.
    size = np.abs(y_pred[kept]).max(axis=0) + np.abs(y_true[kept]).max(axis=0)
    std = np.where(std > 1e-12 * size, std * np.sqrt(len(n)), np.nan)
    return covariance / std / std[:, None]
