"""Bias and variance of parameter estimates, measured on noise repeats."""

from ._decomposition import bias_variance_decomposition, bias_variance_scorer, cramer_rao_bound
from ._rules import least_variance, least_weighted

__all__ = [
    "bias_variance_decomposition",
    "bias_variance_scorer",
    "cramer_rao_bound",
    "least_variance",
    "least_weighted",
]
