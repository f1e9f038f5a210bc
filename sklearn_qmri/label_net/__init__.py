"""Networks trained on labels between the truth and its maximum-likelihood estimate."""

from ._net import HybridLabelNetRegressor

__all__ = ["HybridLabelNetRegressor"]
