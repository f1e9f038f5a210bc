"""Networks: several members of one shape, stacked and trained side by side."""

from ._modules import ACTIVATIONS, Head, HeadPerLabel, ScaledSquaredError, SignalLikelihood
from ._training import evaluate, train

__all__ = [
    "ACTIVATIONS",
    "Head",
    "HeadPerLabel",
    "ScaledSquaredError",
    "SignalLikelihood",
    "evaluate",
    "train",
]
