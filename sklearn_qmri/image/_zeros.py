"""Detection of zeros that mean "no data" in some volumes, such as those of motion correction."""

import numpy as np

from .._arrays import as_floats
from .._warnings import warn

_MANY = 3.0  # ratio of zeros to those that rounding explains, beyond which they are suspect
_ENOUGH = 2**16  # number of values that is enough to find the step of rounding


class Zeros:
    """Count of voxels that are exactly 0 in some volumes but not in all, while slabs are read.

    Rounding makes a small magnitude 0. Noise with standard deviation sigma in both channels has a
    magnitude below half a step q with probability 1 - exp(-(q/2)^2 / (2 sigma^2)) (Rayleigh). Any
    signal makes this less likely, so that it is an upper limit. Voxels at the edge of a field of
    view that moved are 0 for another reason, and more often.

    Parameters
    ----------
    n_measurements : int
    """

    def __init__(self, n_measurements):
        self.by_volume = np.zeros(n_measurements, dtype=int)
        self.n_partly, self.n_voxels = 0, 0
        self.step = np.inf  # step of rounding: the least difference of two values

    def counted(self, signals, sigma):
        """Count the zeros of a slab; return the slab unchanged."""
        zero = signals == 0
        partly = zero.any(axis=1) & ~zero.all(axis=1)
        self.n_voxels += len(signals)
        if partly.any():
            self.n_partly += int(np.count_nonzero(partly))
            self.by_volume += np.count_nonzero(zero[partly], axis=0)
            values = np.unique(signals[partly].astype(np.float64).ravel()[:_ENOUGH])
            steps = np.diff(values[np.isfinite(values)])
            self.step = min(self.step, float(steps.min(initial=np.inf)))
        return signals, sigma

    def warn_if_masked(self, sigma):
        """Warn if volumes have more zeros than rounding explains.

        Parameters
        ----------
        sigma : None, float or array-like
            Noise level. None: any zero could be due to noise, and there is no warning.
        """
        positive = as_floats([] if sigma is None else sigma)
        positive = positive[np.isfinite(positive) & (positive > 0)]
        if not (self.n_partly and positive.size):
            return
        # The probability of the class's docstring: (q/2)^2 / (2 sigma^2) = (q/sigma)^2 / 8.
        share = -np.expm1(-((self.step / np.median(positive)) ** 2) / 8)
        expected = share * self.n_voxels
        # Five standard deviations of a count (Poisson) on top, for scans with few zeros.
        volumes = np.flatnonzero(self.by_volume > _MANY * expected + 5 * np.sqrt(expected))
        if len(volumes):
            warn(
                f"{self.n_partly:,} of {self.n_voxels:,} voxels are exactly 0 in some volumes only "
                f"(volumes {volumes.tolist()}, the first is 0), more than noise explains: they may "
                "have been outside of the field of view there, as after motion correction. They "
                "count as measurements; exclude them from the mask if they are not."
            )
