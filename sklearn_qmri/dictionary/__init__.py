"""Many simulated tissues (atoms) against many voxels."""

from ._interpolation import Interpolation
from ._profile import (
    Atoms,
    make_atoms,
    place,
    posterior_moments,
    profile,
    rows_at,
    signals_and_slopes,
    step_from_best,
)
from ._starts import Dictionary, fit_linear, look_up, make_dictionary

__all__ = [
    "Atoms",
    "Dictionary",
    "Interpolation",
    "fit_linear",
    "look_up",
    "make_atoms",
    "make_dictionary",
    "place",
    "posterior_moments",
    "profile",
    "rows_at",
    "signals_and_slopes",
    "step_from_best",
]
