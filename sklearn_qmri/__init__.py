"""Scikit-learn-compatible estimators for quantitative MRI."""

from ._network import MLP, Training
from ._version import __version__
from .estimators import (
    BiasConstrainedNetRegressor,
    BiasConstrainedNetRegressorCV,
    HybridLabelNetRegressor,
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
    pretrain,
    read_weights,
    write_weights,
)
from .status import Status

__all__ = [
    "MLP",
    "BiasConstrainedNetRegressor",
    "BiasConstrainedNetRegressorCV",
    "HybridLabelNetRegressor",
    "HybridLabelNetRegressorCV",
    "HybridLabelRegressor",
    "MLEEstimator",
    "PosteriorMeanEstimator",
    "PretrainedNetRegressor",
    "SegmentedIVIMEstimator",
    "SelfSupervisedNetRegressor",
    "Status",
    "Training",
    "__version__",
    "pretrain",
    "read_weights",
    "write_weights",
]
