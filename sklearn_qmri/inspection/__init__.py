"""Displays: figures of estimates, which follow scikit-learn's display pattern."""

from ._alpha_path import AlphaPathDisplay
from ._bias_variance import BiasVarianceDisplay
from ._bias_weight_path import BiasWeightPathDisplay
from ._label_shift import LabelShiftDisplay
from ._maps import ParameterMapDisplay
from ._trade_off import TradeOffDisplay

__all__ = [
    "AlphaPathDisplay",
    "BiasVarianceDisplay",
    "BiasWeightPathDisplay",
    "LabelShiftDisplay",
    "ParameterMapDisplay",
    "TradeOffDisplay",
]
