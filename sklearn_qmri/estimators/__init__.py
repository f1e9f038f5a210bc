"""Estimators, and the checks of arguments that all of them share."""

from ._bias_constrained_net import BiasConstrainedNetRegressor
from ._bias_constrained_net_cv import BiasConstrainedNetRegressorCV
from ._hybrid_net import HybridLabelNetRegressor
from ._hybrid_net_cv import HybridLabelNetRegressorCV
from ._hybrid_regressor import HybridLabelRegressor
from ._inside import core, refuse_to_lose_sigma, signal_model_of, takes
from ._mle import MLEEstimator
from ._posterior import PosteriorMeanEstimator
from ._pretrained import PretrainedNetRegressor
from ._pretraining import pretrain
from ._segmented import SegmentedIVIMEstimator
from ._self_supervised import SelfSupervisedNetRegressor
from ._table import ESTIMATORS, entry_named, entry_of
from ._weights import read_weights, write_weights

__all__ = [
    "ESTIMATORS",
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
    "core",
    "entry_named",
    "entry_of",
    "pretrain",
    "read_weights",
    "refuse_to_lose_sigma",
    "signal_model_of",
    "takes",
    "write_weights",
]
