"""Search for the noise level at which residuals are as large as they should be."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._warnings import warn

TOLERANCE = 2e-3  # relative, of sigma, whose standard error is larger
_SLOPES = -2.0, -0.25  # range of the slopes that a step of the search may assume


def find_sigma(excess, sigma, limits, max_iter, climb=np.inf):
    """Sigma at which ``excess(sigma)`` is 1, the rounds that it took, and the slope of F there.

    Until a sigma is found that is large enough, steps are at most `climb`, in log(sigma).

    With s = log(sigma) it is the zero of ``F(s) = log(excess) / 2``, found by the secant method.
    Residuals that do not change with sigma make the excess proportional to ``1 / sigma^2``, so that
    F has a slope of -1, the first one assumed. Near the noise floor of magnitudes it is flatter.
    """
    s = np.log(sigma)
    low, high = -np.inf, np.inf  # F is positive at low, and not at high
    slope, last, n_iter = -1.0, None, 0
    while True:
        n_iter += 1
        # An excess of 0 has no logarithm.
        value = 0.5 * np.log(max(excess(np.exp(s)), 1e-300))
        if value > 0:
            low = s
        else:
            high = s
        if last is not None and s != last[0]:
            slope = np.clip((value - last[1]) / (s - last[0]), *_SLOPES)
        last = s, value
        s = np.clip(s - value / slope, *np.log(limits))
        if high == np.inf:
            s = min(s, last[0] + climb)
        # A secant step out of the bracket is replaced by bisection.
        if not low <= s <= high:
            s = (low + high) / 2
        change = s - last[0]
        if abs(change) < TOLERANCE:
            break
        if n_iter == max_iter:
            warn(
                f"The noise level was still changing by {abs(np.expm1(change)):.1%} after "
                f"{n_iter} rounds.",
                ConvergenceWarning,
            )
            break
    return float(np.exp(s)), n_iter, slope
