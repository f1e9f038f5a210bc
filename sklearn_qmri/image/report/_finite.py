"""Means and medians without NaN, which are NaN, without a warning, where nothing is left."""

import numpy as np


def mean_of(values, axis=None):
    """Mean of the finite values along an axis."""
    finite = np.isfinite(values)
    n = np.count_nonzero(finite, axis=axis)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def median_of(values, axis=None):
    """Median of the finite values along an axis."""
    kept = np.ma.masked_invalid(values)
    return np.ma.filled(np.ma.median(kept, axis=axis), np.nan)
