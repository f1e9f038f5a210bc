"""Networks: their settings, stacked modules, training, and the trained network."""

from ._domain import Domain
from ._fitted import FittedNetwork
from ._inputs import NetworkInputs
from ._losses import ScaledSquaredError, SignalLikelihood
from ._modules import Head
from ._settings import MLP, Training
from ._tasks import BiasWeights, LabelTask, OneBiasWeight, RepeatTask
from ._training import train

__all__ = [
    "MLP",
    "BiasWeights",
    "Domain",
    "FittedNetwork",
    "Head",
    "LabelTask",
    "NetworkInputs",
    "OneBiasWeight",
    "RepeatTask",
    "ScaledSquaredError",
    "SignalLikelihood",
    "Training",
    "train",
]
