"""Networks: several members of one shape, stacked and trained side by side."""

from ._domain import Domain
from ._inputs import NetworkInputs
from ._modules import ACTIVATIONS, Head, HeadPerLabel, ScaledSquaredError, SignalLikelihood
from ._training import evaluate, train

__all__ = [
    "ACTIVATIONS",
    "Domain",
    "Head",
    "HeadPerLabel",
    "NetworkInputs",
    "ScaledSquaredError",
    "SignalLikelihood",
    "evaluate",
    "train",
]
