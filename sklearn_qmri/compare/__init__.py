"""Comparison of methods for one protocol, and limits that hold for all methods."""

from ._limits import limits
from ._methods import compare_methods
from ._tissues import estimate_snr

__all__ = ["compare_methods", "estimate_snr", "limits"]
