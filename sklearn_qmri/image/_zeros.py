"""Zeros that stand for "nothing there" in some volumes only, as motion correction leaves them."""

import numpy as np

from .._arrays import as_floats
from .._warnings import warn

_MANY = 3.0  # times as many zeros as rounding explains
_ENOUGH = 2**16  # values that show the step of rounding


class Zeros:
    """Count of voxels that are exactly 0 in some volumes but not in all, while slabs are read.

    A magnitude is 0 where rounding makes it so. Noise with standard deviation sigma in both
    channels has a magnitude below half a step q with probability 1 - exp(-(q/2)^2 / (2 sigma^2))
    (Rayleigh) at most: any signal makes it less likely. Voxels at the edge of a field of view that
    moved are 0 for another reason, and more often.

    Parameters
    ----------
    n_measurements : int
    """

    def __init__(self, n_measurements):
        self.by_volume = np.zeros(n_measurements, dtype=int)
        self.n_partly, self.n_voxels = 0, 0
        self.step = np.inf  # of rounding: the least difference of two values

    def counted(self, signals, sigma):
        """Count the zeros of a slab, and hand it on."""
        zero = signals == 0
        partly = zero.any(axis=1) & ~zero.all(axis=1)
        self.n_voxels += len(signals)
        if partly.any():
            self.n_partly += int(np.count_nonzero(partly))
            self.by_volume += np.count_nonzero(zero[partly], axis=0)
            levels = np.unique(signals[partly].astype(np.float64).ravel()[:_ENOUGH])
            self.step = min(self.step, float(np.diff(levels[np.isfinite(levels)]).min()))
        return signals, sigma

    def warn_if_masked(self, sigma):
        """Warn of volumes with more zeros than rounding explains.

        Parameters
        ----------
        sigma : None, float or array-like
            Noise level. None: any zero could be honest, and there is no warning.
        """
        level = as_floats([] if sigma is None else sigma)
        level = level[np.isfinite(level) & (level > 0)]
        if not (self.n_partly and level.size):
            return
        share = -np.expm1(-((self.step / np.median(level)) ** 2) / 8)
        honest = share * self.n_voxels
        volumes = np.flatnonzero(self.by_volume > _MANY * honest + 5 * np.sqrt(honest))
        if len(volumes):
            warn(
                f"{self.n_partly:,} of {self.n_voxels:,} voxels are exactly 0 in some volumes only "
                f"(volumes {volumes.tolist()}, the first is 0), more than noise explains: they may "
                "have been outside of the field of view there, as after motion correction. They "
                "are taken for measurements; leave them out of the mask if they are none."
            )
