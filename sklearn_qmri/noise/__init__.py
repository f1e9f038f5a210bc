"""Noise models, and the noise level."""

from ._averaged import AveragedMagnitude, DenoisedMagnitude
from ._base import NoiseModel
from ._bessel import log_bessel
from ._check import check_sigma, columns_of, level_of_rows
from ._chi import NonCentralChi
from ._expected import expected_measurement
from ._gaussian import Gaussian, MagnitudeGaussian
from ._level import CannotLearnSigma, LearntLevel, learn_sigma, sigma_from_pairs
from ._measured import sigma_from_background, sigma_from_repeats, sigma_of_repeats
from ._resolve import resolve_noise
from ._rician import Rician

__all__ = [
    "AveragedMagnitude",
    "DenoisedMagnitude",
    "Gaussian",
    "MagnitudeGaussian",
    "NoiseModel",
    "NonCentralChi",
    "Rician",
    "sigma_from_background",
    "sigma_from_repeats",
]
