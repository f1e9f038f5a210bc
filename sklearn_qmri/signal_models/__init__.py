"""Signal models: what a tissue with given parameters would measure, without noise."""

from ._base import Parameter, SignalModel
from ._ivim import IVIM
from ._linear import LinearGaussian, resolve_model

__all__ = ["IVIM", "LinearGaussian", "Parameter", "SignalModel", "resolve_model"]
