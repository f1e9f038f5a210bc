"""Estimators, and the checks of arguments that all of them share."""

from ._bias_constrained_net import BiasConstrainedNetRegressor
from ._bias_constrained_net_cv import BiasConstrainedNetRegressorCV
from ._hybrid_net import HybridLabelNetRegressor
from ._hybrid_net_cv import HybridLabelNetRegressorCV
from ._hybrid_regressor import HybridLabelRegressor
from ._mle import MLEEstimator
from ._posterior import PosteriorMeanEstimator
from ._segmented import SegmentedIVIMEstimator
from ._self_supervised import SelfSupervisedNetRegressor
from ._table import ESTIMATORS, entry_named, entry_of

__all__ = [
    "ESTIMATORS",
    "BiasConstrainedNetRegressor",
    "BiasConstrainedNetRegressorCV",
    "HybridLabelNetRegressor",
    "HybridLabelNetRegressorCV",
    "HybridLabelRegressor",
    "MLEEstimator",
    "PosteriorMeanEstimator",
    "SegmentedIVIMEstimator",
    "SelfSupervisedNetRegressor",
    "entry_named",
    "entry_of",
]
