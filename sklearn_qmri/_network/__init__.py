"""Networks: their settings, stacked modules, training, and the trained network."""

from ._batches import Stream
from ._domain import Domain
from ._fitted import FittedNetwork
from ._inputs import NetworkInputs
from ._losses import CorrectionError, ScaledSquaredError, SignalLikelihood, unit_of_correction
from ._modules import Head
from ._protocol_free import ProtocolFreeNetwork
from ._reading import read
from ._settings import MLP, Training
from ._tasks import BiasWeights, LabelTask, OneBiasWeight, RepeatTask
from ._training import train

__all__ = [
    "MLP",
    "BiasWeights",
    "CorrectionError",
    "Domain",
    "FittedNetwork",
    "Head",
    "LabelTask",
    "NetworkInputs",
    "OneBiasWeight",
    "ProtocolFreeNetwork",
    "RepeatTask",
    "ScaledSquaredError",
    "SignalLikelihood",
    "Stream",
    "Training",
    "read",
    "train",
    "unit_of_correction",
]
