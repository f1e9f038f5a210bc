"""Bias and variance of parameter estimates, measured on noise repeats."""

from ..information import cramer_rao_bound
from ._calibration import (
    calibration_curve,
    continuous_ranked_probability_score,
    interval_coverage,
)
from ._decomposition import bias_variance_decomposition, product_decomposition
from ._forms import quadratic
from ._parameters import (
    bias_curve,
    failure_rate,
    mean_bias,
    noise_std,
    rms_bias,
    root_mean_squared_error,
    shrinkage_slope,
)
from ._regions import noise_correlation, roi_mean_squared_error
from ._repeatability import repeatability, roi_statistics
from ._rules import BiasVarianceRule, least_variance, least_weighted, roi_error
from ._scorers import bias_variance_scorer, parameter_scorer

__all__ = [
    "bias_curve",
    "bias_variance_decomposition",
    "bias_variance_scorer",
    "calibration_curve",
    "continuous_ranked_probability_score",
    "cramer_rao_bound",
    "failure_rate",
    "interval_coverage",
    "least_variance",
    "least_weighted",
    "mean_bias",
    "noise_correlation",
    "noise_std",
    "parameter_scorer",
    "repeatability",
    "rms_bias",
    "roi_error",
    "roi_mean_squared_error",
    "roi_statistics",
    "root_mean_squared_error",
    "shrinkage_slope",
]
