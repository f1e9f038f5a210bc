"""Whether predicted distributions mean what they say: coverage, calibration and their score."""

import numpy as np

from .._arrays import as_floats


def interval_coverage(y_true, intervals):
    """Share of rows whose true parameter is inside its interval.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_parameters)
        True parameters.
    intervals : array-like of shape (n_samples, n_parameters, 2)
        Lower and upper ends, as `predict_interval` returns them. Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        Shares from 0 to 1; NaN if no row is left.

    Raises
    ------
    ValueError
        If shapes disagree.

    Examples
    --------
    >>> from sklearn_qmri.metrics import interval_coverage
    >>> interval_coverage([[1.0], [2.0]], [[[0.5, 1.5]], [[0.0, 1.0]]])
    array([0.5])
    """
    y_true, intervals = _check(y_true, intervals, "intervals", "(n_samples, n_parameters, 2)")
    if intervals.shape[2] != 2:
        raise ValueError(f"intervals expects two ends, got shape {intervals.shape}.")
    inside = (y_true >= intervals[..., 0]) & (y_true <= intervals[..., 1])
    return _mean_of_valid(inside, ~np.isnan(intervals).any(axis=2) & np.isfinite(y_true))


def calibration_curve(y_true, quantiles, levels):
    """Share of rows whose true parameter is below each predicted quantile.

    Of calibrated predictions, the share is the level of the quantile.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_parameters)
        True parameters.
    quantiles : array-like of shape (n_samples, n_parameters, n_levels)
        Quantiles, as `predict_quantiles` returns them. Rows with NaN are excluded.
    levels : array-like of shape (n_levels,)
        Levels of the quantiles, from 0 to 1.

    Returns
    -------
    observed : ndarray of shape (n_levels, n_parameters)
        Shares from 0 to 1.
    levels : ndarray of shape (n_levels,)
        Levels, as given.

    Raises
    ------
    ValueError
        If shapes disagree.

    References
    ----------
    Gneiting T, Balabdaoui F, Raftery AE (2007), J R Stat Soc B 69:243.

    Examples
    --------
    >>> from sklearn_qmri.metrics import calibration_curve
    >>> quantiles = [[[0.5, 1.5]], [[1.0, 3.0]]]
    >>> observed, levels = calibration_curve([[1.0], [2.0]], quantiles, [0.1, 0.9])
    >>> observed.tolist()
    [[0.0], [1.0]]
    """
    levels = as_floats(levels)
    y_true, quantiles = _check(
        y_true, quantiles, "quantiles", "(n_samples, n_parameters, n_levels)"
    )
    if levels.shape != (quantiles.shape[2],):
        raise ValueError(
            f"levels expects shape ({quantiles.shape[2]},) for quantiles of shape "
            f"{quantiles.shape}, got {levels.shape}."
        )
    valid = np.isfinite(quantiles).all(axis=2) & np.isfinite(y_true)
    below = y_true[..., None] <= quantiles
    return np.stack([_mean_of_valid(below[..., i], valid) for i in range(len(levels))]), levels


def continuous_ranked_probability_score(y_true, samples):
    """Continuous ranked probability score of samples from predicted distributions.

    It generalises the absolute error to distributions, and is least for the true one. For a
    distribution of X and a truth y it is ``E|X - y| - E|X - X'| / 2`` with an independent copy X'.
    From a finite number of samples, the second expectation is one over pairs of different samples,
    so that the score has no bias.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_parameters)
        True parameters.
    samples : array-like of shape (n_samples, n_draws, n_parameters)
        Draws from the predicted distribution of each row, as `sample` of `PosteriorMeanEstimator`
        returns them; at least two. Rows with NaN are excluded.

    Returns
    -------
    ndarray of shape (n_parameters,)
        Mean score in the units of the parameters; smaller is better.

    Raises
    ------
    ValueError
        If shapes disagree, or there are less than two draws.

    References
    ----------
    Gneiting T, Raftery AE (2007), J Am Stat Assoc 102:359, equation 21.

    Examples
    --------
    >>> from sklearn_qmri.metrics import continuous_ranked_probability_score
    >>> continuous_ranked_probability_score([[1.0]], [[[0.0], [2.0]]])
    array([0.])
    """
    samples = as_floats(samples)
    if samples.ndim != 3 or samples.shape[1] < 2:
        raise ValueError(
            "samples expects shape (n_samples, n_draws, n_parameters) with at least two draws, got "
            f"{samples.shape}."
        )
    samples = np.moveaxis(samples, 1, 2)
    y_true, samples = _check(y_true, samples, "samples", "(n_samples, n_draws, n_parameters)")
    n_draws = samples.shape[2]
    error = np.abs(samples - y_true[..., None]).mean(axis=2)
    # In sorted order, the i-th of n draws is the larger one in i - 1 pairs and the smaller one in
    # n - i, so that the sum of |X - X'| over pairs is that of (2 i - n - 1) x_i.
    rank = 2 * np.arange(1, n_draws + 1) - n_draws - 1
    spread = np.sort(samples, axis=2) @ rank / (n_draws * (n_draws - 1))
    return _mean_of_valid(error - spread, np.isfinite(samples).all(axis=2) & np.isfinite(y_true))


def _check(y_true, predicted, name, expected):
    y_true, predicted = as_floats(y_true), as_floats(predicted)
    if y_true.ndim != 2 or predicted.ndim != 3 or predicted.shape[:2] != y_true.shape:
        raise ValueError(
            f"{name} expects shape {expected} for y_true of shape (n_samples, n_parameters), got "
            f"{predicted.shape} and {y_true.shape}."
        )
    return y_true, predicted


def _mean_of_valid(values, valid):
    """Mean over rows that are valid, (n_parameters,); NaN if none is."""
    n_valid = np.count_nonzero(valid, axis=0)
    total = np.where(valid, values, 0.0).sum(axis=0)
    return np.where(n_valid > 0, total / np.maximum(n_valid, 1), np.nan)
