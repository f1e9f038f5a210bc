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

    def typical(self, scan, signal_model):
        """One number for each, by which the noise level is learnt: medians of maps in the mask."""
        ranges = {p.name: p.bounds for p in signal_model.parameters}
        fixed = {
            name: _median(value, scan.inside, *ranges[name], f"--fixed {name}")
            for name, value in scan.fixed.items()
        }
        least, most = np.finfo(float).tiny, np.finfo(float).max
        sigma = _median(scan.sigma, scan.inside, least, most, "--sigma")
        return {"sigma": sigma, "fixed": fixed or None}


def _median(value, inside, low, high, option):
    """Median of the values of a map within a mask and a range; a number or None as it is.

    Of a map with a value for each measurement, these are one row.
    """
    if np.ndim(value) == 0:
        return value
    found = value[inside]
    within = (found >= low) & (found <= high)
    if not within.any(axis=0).all():
        raise ValueError(
            f"The map of {option} has no value from {low:.3g} to {high:.3g} in the mask."
        )
    medians = np.nanmedian(np.where(within, found, np.nan), axis=0, keepdims=found.ndim > 1)
    return medians if medians.ndim else float(medians)
