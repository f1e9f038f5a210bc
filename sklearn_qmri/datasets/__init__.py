"""Simulated signals and real scans."""

from ..tissues import tissue_prior
from ._pelvis import fetch_pelvis_ivim
from ._phantom import make_phantom
from ._signals import make_signals

__all__ = ["fetch_pelvis_ivim", "make_phantom", "make_signals", "tissue_prior"]
