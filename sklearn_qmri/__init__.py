"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._validation import Status
from ._version import __version__
from .label_net import HybridLabelNetRegressor
from .mle import MLEEstimator
from .segmented import SegmentedIVIMEstimator

__all__ = [
    "HybridLabelNetRegressor",
    "MLEEstimator",
    "SegmentedIVIMEstimator",
    "Status",
    "__version__",
]
