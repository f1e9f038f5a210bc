"""Noise models, and the noise level."""

from ._base import NoiseModel
from ._bessel import log_bessel
from ._expected import expected_measurement
from ._gaussian import Gaussian
from ._level import CannotLearnSigma, check_sigma, learn_sigma, sigma_from_pairs
from ._measured import sigma_from_background, sigma_from_repeats
from ._resolve import resolve_noise
from ._rician import Rician

__all__ = ["Gaussian", "NoiseModel", "Rician", "sigma_from_background", "sigma_from_repeats"]
