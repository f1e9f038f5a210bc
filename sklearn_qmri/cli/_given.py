"""Facts that a command is given: the noise level and known parameters, as numbers or maps."""

from typing import NamedTuple

import numpy as np

from ..image import open_scan


class Given(NamedTuple):
    """Noise level and known parameters of a command, each a number or the path of a map.

    Attributes
    ----------
    sigma : None, float or path-like
    fixed : dict of {str: float or path-like}
    """

    sigma: object
    fixed: dict

    def add_to(self, scan):
        """The scan with these, whose maps are checked against it."""
        return open_scan(scan, sigma=self.sigma, fixed=self.fixed)

    def typical(self, scan):
        """One number for each, by which the noise level is learnt: medians of maps in the mask."""
        fixed = {name: _median(value, scan.inside) for name, value in scan.fixed.items()}
        return {"sigma": _median(scan.sigma, scan.inside), "fixed": fixed or None}


def _median(value, inside):
    """Median of the positive values of a map within a mask; a number or None as it is."""
    if np.ndim(value) == 0:
        return value
    positive = value[inside][value[inside] > 0]
    if not len(positive):
        raise ValueError("A map of --sigma or --fixed has no positive value in the mask.")
    return float(np.median(positive))
