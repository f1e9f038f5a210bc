"""Many simulated tissues (atoms) against many voxels."""

from ._interpolation import Interpolation
from ._starts import Dictionary, fit_linear, look_up, make_dictionary

__all__ = ["Dictionary", "Interpolation", "fit_linear", "look_up", "make_dictionary"]
