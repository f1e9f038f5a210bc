"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._version import __version__
from .estimators import (
    HybridLabelNetRegressor,
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
)
from .status import Status

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
