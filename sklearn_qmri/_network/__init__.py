"""Networks: their settings, stacked modules, training, and the trained network."""

from ._domain import Domain
from ._fitted import FittedNetwork
from ._inputs import NetworkInputs
from ._modules import Head, ScaledSquaredError, SignalLikelihood
from ._settings import MLP, Training
from ._training import Task, train

__all__ = [
    "MLP",
    "Domain",
    "FittedNetwork",
    "Head",
    "NetworkInputs",
    "ScaledSquaredError",
    "SignalLikelihood",
    "Task",
    "Training",
    "train",
]
