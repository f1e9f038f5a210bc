"""Many simulated tissues (atoms) against many voxels."""

from ._along import LossAlong
from ._atoms import (
    Atoms,
    SimulatedAtoms,
    amplitude_of,
    make_atoms,
    place,
    simulate_atoms,
)
from ._interpolation import Interpolation
from ._kernels import N_KERNELS, mean_over_kernels
from ._local import LocalDraws, can_draw
from ._look_up import fit_linear, look_up
from ._prior import WeightedPrior, check_floor, maximize_weights
from ._profile import Nearest, Posterior, find_nearest, find_posterior, rows_at, step_from_best
from ._shapes import ShapeDraws
from ._starts import Dictionary, make_dictionary
from ._weighted import WeightedTissues

__all__ = [
    "N_KERNELS",
    "Atoms",
    "Dictionary",
    "Interpolation",
    "LocalDraws",
    "LossAlong",
    "Nearest",
    "Posterior",
    "ShapeDraws",
    "SimulatedAtoms",
    "WeightedPrior",
    "WeightedTissues",
    "amplitude_of",
    "can_draw",
    "check_floor",
    "find_nearest",
    "find_posterior",
    "fit_linear",
    "look_up",
    "make_atoms",
    "make_dictionary",
    "maximize_weights",
    "mean_over_kernels",
    "place",
    "rows_at",
    "simulate_atoms",
    "step_from_best",
]
