"""Many simulated tissues (atoms) against many voxels."""

from ._atoms import (
    Atoms,
    SimulatedAtoms,
    make_atoms,
    place,
    simulate_atoms,
)
from ._interpolation import Interpolation
from ._kernels import mean_over_kernels
from ._profile import Profile, posterior_moments, profile, rows_at, step_from_best
from ._starts import Dictionary, fit_linear, look_up, make_dictionary

__all__ = [
    "Atoms",
    "Dictionary",
    "Interpolation",
    "Profile",
    "SimulatedAtoms",
    "fit_linear",
    "look_up",
    "make_atoms",
    "make_dictionary",
    "mean_over_kernels",
    "place",
    "posterior_moments",
    "profile",
    "rows_at",
    "simulate_atoms",
    "step_from_best",
]
