"""Regressors trained on labels between the truth and its maximum-likelihood estimate."""

from ._cv import HybridLabelNetRegressorCV
from ._net import HybridLabelNetRegressor
from ._regressor import HybridLabelRegressor

__all__ = ["HybridLabelNetRegressor", "HybridLabelNetRegressorCV", "HybridLabelRegressor"]
