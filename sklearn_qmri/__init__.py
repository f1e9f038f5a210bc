"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._validation import Status
from ._version import __version__
from .label_net import (
    HybridLabelNetRegressor,
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
)
from .mle import MLEEstimator
from .posterior import PosteriorMeanEstimator
from .segmented import SegmentedIVIMEstimator
from .self_supervised import SelfSupervisedNetRegressor

__all__ = [
    "HybridLabelNetRegressor",
    "HybridLabelNetRegressorCV",
    "HybridLabelRegressor",
    "MLEEstimator",
    "PosteriorMeanEstimator",
    "SegmentedIVIMEstimator",
    "SelfSupervisedNetRegressor",
    "Status",
    "__version__",
]
