"""Bias and spread by simulated repeats, and displays, which follow scikit-learn's pattern."""

from ._alpha_path import AlphaPathDisplay
from ._bias_variance import BiasVarianceDisplay
from ._bias_weight_path import BiasWeightPathDisplay
from ._bootstrap import parametric_bootstrap
from ._calibration import QuantileCalibrationDisplay
from ._label_shift import LabelShiftDisplay
from ._maps import ParameterMapDisplay
from ._model_choice import model_probabilities
from ._prior import PriorDisplay
from ._trade_off import TradeOffDisplay

__all__ = [
    "AlphaPathDisplay",
    "BiasVarianceDisplay",
    "BiasWeightPathDisplay",
    "LabelShiftDisplay",
    "ParameterMapDisplay",
    "PriorDisplay",
    "QuantileCalibrationDisplay",
    "TradeOffDisplay",
    "model_probabilities",
    "parametric_bootstrap",
]
