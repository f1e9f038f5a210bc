"""Many simulated tissues (atoms) against many voxels."""

from ._interpolation import Interpolation
from ._kernels import mean_over_kernels
from ._profile import (
    Atoms,
    Profile,
    SimulatedAtoms,
    make_atoms,
    place,
    posterior_moments,
    profile,
    rows_at,
    signals_and_slopes,
    simulate_atoms,
    step_from_best,
)
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
    "signals_and_slopes",
    "simulate_atoms",
    "step_from_best",
]
