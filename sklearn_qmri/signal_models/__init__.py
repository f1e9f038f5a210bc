"""Signal models: noise-free signals of tissues with given parameters.

`_base` is the contract, `_closed_form` the base of the models that have derivatives by hand.
"""

from ._base import SignalModel
from ._decay import BiexponentialT2, R2StarDecay, T2Decay
from ._diffusion import ADC, Kurtosis, StretchedExponential, TriExponential
from ._diffusion_relaxometry import ProstateHybrid, SIRSphericalMean, TwoCompartmentDiffusionT2
from ._ivim import IVIM, IVIMKurtosis
from ._linear import LinearGaussian, resolve_model
from ._parameter import Parameter, amplitude
from ._recovery import SPGR, InversionRecovery, SaturationRecovery
from ._spherical_mean import (
    SphericalMeanThreeCompartment,
    SphericalMeanTwoCompartment,
    powder_average,
)

__all__ = [
    "ADC",
    "IVIM",
    "SPGR",
    "BiexponentialT2",
    "IVIMKurtosis",
    "InversionRecovery",
    "Kurtosis",
    "LinearGaussian",
    "Parameter",
    "ProstateHybrid",
    "R2StarDecay",
    "SIRSphericalMean",
    "SaturationRecovery",
    "SignalModel",
    "SphericalMeanThreeCompartment",
    "SphericalMeanTwoCompartment",
    "StretchedExponential",
    "T2Decay",
    "TriExponential",
    "TwoCompartmentDiffusionT2",
    "amplitude",
    "powder_average",
    "resolve_model",
]
