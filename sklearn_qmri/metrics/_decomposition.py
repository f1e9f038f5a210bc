"""Bias and variance of parameter estimates, measured on noise repeats."""

import numpy as np
from sklearn.utils import Bunch, check_array, check_consistent_length, column_or_1d

from .._arrays import as_floats
from ..tissues import number_tissues


def bias_variance_decomposition(y_true, y_pred, *, groups=None, scale=None):
    """Split the mean squared error into squared bias and variance, by noise repeats.

    Noise repeats are rows with identical `y_true`. The variance of a tissue has n - 1 in its
    denominator. The squared bias is the squared mean error less variance / n. Both are unbiased,
    and they add up to the mean squared error exactly; the squared bias may come out negative.
    Tissues have equal weights, however many repeats they have. Tissues with a single row are
    excluded.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_parameters)
        True parameters.
    y_pred : array-like of the same shape
        Rows with NaN are excluded and counted.
    groups : array-like of shape (n_samples,), default=None
        Restricts repeats to identical rows of `y_true` within the same group.
    scale : array-like of shape (n_parameters,), default=None
        Divisor of each parameter's errors. Without it there is no average over parameters, as
        their units differ.

    Returns
    -------
    Bunch
        Arrays of shape (n_parameters,): `squared_bias`, `variance` and `mse`, in the parameters'
        units squared, or in units of the squared scale if there is one. With a scale there is
        also `scaled`, a Bunch of the three averaged over parameters. The counts are `n_groups`,
        `n_failed` (rows with NaN predictions) and `n_single` (tissues excluded because they have
        only one row).

    Raises
    ------
    ValueError
        If shapes disagree, the scale is not positive, or no group has two rows with predictions.
        In the last case, simulate noise repeats with ``make_signals(..., n_repeats=...)``.

    Examples
    --------
    >>> from sklearn_qmri.metrics import bias_variance_decomposition
    >>> parts = bias_variance_decomposition([1.0, 1.0, 2.0, 2.0], [1.0, 1.2, 2.0, 2.2])
    >>> parts.variance.round(3), parts.squared_bias.round(3)
    (array([0.02]), array([0.]))
    """
    y_true, y_pred = check_pair(y_true, y_pred)
    groups = label_groups(y_true, groups)
    if not np.isfinite(y_pred).all(axis=1).any():
        raise ValueError(f"All {len(y_pred)} predictions are NaN: there is nothing to measure.")
    error = y_pred - y_true
    if scale is not None:
        error = error / _check_scale(scale, error.shape[1])
    kept = np.isfinite(error).all(axis=1)
    # Per tissue, mean and variance are those of the errors, (n_tissues, n_parameters).
    n, mean, variance = group_moments(error[kept], groups[kept])
    _check_repeats(n)
    repeated = n >= 2
    n, mean, variance = n[repeated, None], mean[repeated], variance[repeated]
    # With b the bias and v the variance, E[mean^2] = b^2 + v / n, so mean^2 - v / n is unbiased.
    # The average squared error of a tissue's rows is mean^2 + sum((e - mean)^2) / n, and the sum
    # is (n - 1) * v. This equals (mean^2 - v / n) + v: the two parts add up exactly.
    parts = Bunch(
        squared_bias=np.mean(mean**2 - variance / n, axis=0),
        variance=np.mean(variance, axis=0),
        mse=np.mean(mean**2 + variance * (n - 1) / n, axis=0),
    )
    if scale is not None:
        parts.scaled = Bunch(**{name: float(np.mean(value)) for name, value in parts.items()})
    return Bunch(
        **parts,
        n_groups=len(n),
        n_failed=np.count_nonzero(~kept),
        n_single=np.count_nonzero(~repeated),
    )


def product_decomposition(y_true, errors):
    """Bias products and error covariances of all pairs of estimators on the same rows.

    Parameters
    ----------
    y_true : ndarray of shape (n_rows, n_parameters)
        Noise repeats are identical rows.
    errors : ndarray of shape (n_estimators, n_rows, n_parameters)
        Prediction minus truth, finite.

    Returns
    -------
    bias, variance : ndarrays of shape (n_estimators, n_estimators, n_parameters)
        Means over the tissues with at least two rows. Entry (a, b) of `bias` is the mean of
        ``m_a * m_b - v_ab / n``, and that of `variance` is the mean of ``v_ab``. Here m are the
        mean errors over a tissue's n rows, and v is the unbiased covariance of the errors.

    Raises
    ------
    ValueError
        If no tissue has two rows.
    """
    groups = label_groups(y_true, None)
    n, counts = np.bincount(groups)[:, None], len(errors)
    _check_repeats(n)
    means = np.stack([_sums(e, groups) / n for e in errors])
    # Errors are taken about their means before they are multiplied: the difference of E[ab] and
    # E[a] E[b] would lose digits where the bias is much larger than the noise.
    rest = errors - means[:, groups]
    kept = n[:, 0] >= 2
    bias, variance = np.empty((2, counts, counts, y_true.shape[1]))
    for a in range(counts):
        for b in range(counts):
            covariance = _sums(rest[a] * rest[b], groups)[kept] / (n[kept] - 1)
            # E[m_a m_b] = b_a b_b + v_ab / n for means over n independent repeats.
            product = means[a, kept] * means[b, kept]
            variance[a, b] = covariance.mean(axis=0)
            bias[a, b] = (product - covariance / n[kept]).mean(axis=0)
    return bias, variance


def _check_repeats(n):
    """Refuse group sizes none of which is 2 or more."""
    if not (n >= 2).any():
        raise ValueError(
            f"None of {len(n)} groups has two rows, so the variance cannot be measured: "
            "simulate noise repeats, e.g. make_signals(..., n_repeats=10)."
        )


def _sums(columns, groups):
    """Sum of each column (n_rows, n_columns) over each group, (n_groups, n_columns)."""
    return np.stack([np.bincount(groups, column) for column in columns.T], axis=1)


def check_pair(y_true, y_pred):
    """Validate truth and predictions, as (n_samples, n_parameters); masked values are NaN.

    Raises
    ------
    ValueError
        If shapes disagree, or the truth is not finite.
    """
    # check_array would drop the mask and keep the values under it.
    y_true, y_pred = (as_floats(y) if np.ma.isMaskedArray(y) else y for y in (y_true, y_pred))
    y_true = check_array(y_true, ensure_2d=False, dtype=np.float64, input_name="y_true")
    y_pred = check_array(
        y_pred, ensure_2d=False, dtype=np.float64, ensure_all_finite=False, input_name="y_pred"
    )
    check_consistent_length(y_true, y_pred)
    y_true, y_pred = y_true.reshape(len(y_true), -1), y_pred.reshape(len(y_pred), -1)
    if y_true.shape != y_pred.shape:
        raise ValueError(f"y_true has shape {y_true.shape}, but y_pred {y_pred.shape}.")
    return y_true, y_pred


def _check_scale(scale, n_parameters):
    """Scale as an array; ValueError unless it is one positive number per parameter."""
    scale = as_floats(scale)
    if scale.shape != (n_parameters,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"scale expects {n_parameters} positive numbers, got {scale!r}.")
    return scale


def label_groups(y_true, groups):
    """Integer per row, equal for noise repeats: identical rows, of the same group if given."""
    tissue = number_tissues(y_true)
    if groups is None:
        return tissue
    check_consistent_length(y_true, groups)
    group = np.unique(column_or_1d(groups), return_inverse=True)[1]
    # One integer for each pair of group and tissue; numbers of pairs that do not occur are skipped.
    return group * (tissue.max() + 1) + tissue


def group_moments(values, groups):
    """Size, mean and unbiased variance of each group that has rows; NaN variance for one row."""
    # Labels may have gaps, where rows have been excluded or pairs do not occur.
    _, groups = np.unique(groups, return_inverse=True)
    n = np.bincount(groups)
    mean = _sums(values, groups) / n[:, None]
    with np.errstate(invalid="ignore"):
        # Two passes, the mean first: mean(x^2) - mean(x)^2 would lose digits.
        variance = (
            _sums((values - mean[groups]) ** 2, groups) / np.where(n > 1, n - 1, np.nan)[:, None]
        )
    return n, mean, variance
