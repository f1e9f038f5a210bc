"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._validation import Status
from ._version import __version__
from .label_net import HybridLabelNetRegressor
from .mle import MLEEstimator

__all__ = ["HybridLabelNetRegressor", "MLEEstimator", "Status", "__version__"]
