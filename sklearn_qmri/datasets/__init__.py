"""Simulated signals and real scans."""

from ..dictionary import WeightedPrior
from ..tissues import tissue_prior
from ._learn_prior import learn_prior
from ._pelvis import fetch_pelvis_ivim
from ._phantom import make_phantom
from ._signals import make_signals

__all__ = [
    "WeightedPrior",
    "fetch_pelvis_ivim",
    "learn_prior",
    "make_phantom",
    "make_signals",
    "tissue_prior",
]
