"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._validation import Status
from .mle import MLEEstimator

__all__ = ["MLEEstimator", "Status"]
