"""The noise level from repeated measurements, or from air."""

import math

import numpy as np
import torch
from scipy.stats import chi2

from .._arrays import as_floats

_LARGE = 5.0  # in units of sigma; below, magnitudes are not Gaussian
_ROUNDS = 10
_FEWEST = 100  # voxels without a missing measurement that tell a noise level from their repeats
_TISSUES = 8  # random ones, whose signals tell which measurements are repeats of each other
_STRONG = 1e4  # signal in units of sigma at which every noise model is Gaussian


def sigma_from_repeats(repeats):
    """Noise level from repeated measurements of the same signals.

    Each signal that is at least 5 times as large as sigma has its variance over repeats taken, as
    smaller magnitudes are not Gaussian. Only the smaller half of the variances counts, so that
    signals that change between repeats (motion, pulsation) have a small effect: 5 % of them raise
    sigma by 1 to 5 %, 20 % of them by 3 to 30 %. The effect is larger with fewer repeats.

    Parameters
    ----------
    repeats : array-like of shape (n_repeats, ...)
        Magnitudes or signed signals, the same ones in every repeat. Signals of a masked array that
        are masked in any repeat are excluded.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the signals.

    Raises
    ------
    ValueError
        For fewer than two repeats, values that are not finite, no signal that is large enough, or
        signals most of which do not differ between repeats.

    Notes
    -----
    The variance of n Gaussian repeats, times n - 1 and over sigma^2, is a chi-squared variable with
    k = n - 1 degrees of freedom. Below its median m it has the mean ``2 k F_{k+2}(m)``, because x
    times the density with k degrees of freedom is k times the density with k + 2. The mean of the
    smaller half of the variances over that mean is consistent; its standard error is 1.2 to 2 times
    that of the mean of all. A median would be coarse where signals are rounded to few counts.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.noise import sigma_from_repeats
    >>> round(sigma_from_repeats(100 + np.random.RandomState(0).normal(size=(9, 10_000))), 1)
    1.0
    """
    excluded = np.ma.getmaskarray(repeats).any(axis=0) if np.ma.isMaskedArray(repeats) else None
    repeats = as_floats(repeats)
    if repeats.ndim < 1 or len(repeats) < 2:
        raise ValueError(
            f"repeats expects at least two along its first axis, got shape {repeats.shape}."
        )
    repeats = repeats.reshape(len(repeats), -1)
    if excluded is not None:
        repeats = repeats[:, ~excluded.reshape(-1)]
    if not np.isfinite(repeats).all():
        raise ValueError("repeats expects finite values, got NaN or infinity among them.")
    size = np.abs(repeats.mean(axis=0))
    freedom = len(repeats) - 1
    squared = repeats.var(axis=0, ddof=1) * freedom
    # Mean below the median: the integral of x * density up to m, over the probability 1 / 2.
    expected = 2 * freedom * chi2.cdf(chi2.median(freedom), freedom + 2)
    # Magnitudes of air have less variance than sigma^2, so that the first sigma may be too low and
    # too many signals count as large. Repeated until the large signals stay the same.
    large = np.ones(len(size), dtype=bool)
    for _ in range(_ROUNDS):
        half = np.sort(squared[large])[: (np.count_nonzero(large) + 1) // 2]
        sigma = math.sqrt(half.mean() / expected) if half.size else 0.0
        before, large = large, size >= _LARGE * sigma
        if not large.any():
            raise ValueError(
                f"repeats expects signals of at least {_LARGE:g} times the standard deviation over "
                f"repeats ({sigma:.4g}), got at most {size.max(initial=0):.4g}."
            )
        if (large == before).all():
            break
    if sigma == 0:
        raise ValueError(
            "repeats expects signals that differ between repeats, got the same ones in most "
            "places: they are copies, or rounded more coarsely than the noise."
        )
    return sigma


def sigma_of_repeats(signal_model, noise, X):
    """Noise level of X from measurements that its protocol repeats, whatever the signal model says.

    Parameters
    ----------
    signal_model : SignalModel
        Measurements with the same signal for any tissue are repeats.
    noise : NoiseModel
    X : ndarray of shape (n_voxels, n_measurements)
        NaN where there is no measurement.

    Returns
    -------
    float or None
        None if nothing is repeated, or repeats tell nothing.
    """
    # Random tissues of the prior, the same ones every time.
    low, high = np.transpose([p.prior for p in signal_model.parameters])
    share = np.random.RandomState(0).uniform(size=(_TISSUES, len(low)))
    signals = signal_model.simulate(low + (high - low) * share)
    # The same noise in units of sigma, which averages of different numbers do not have.
    strong = torch.full((X.shape[1],), _STRONG, dtype=torch.float64)
    variance = noise.variance(strong).numpy()
    if not np.allclose(variance, noise.variance(strong / 10).numpy(), rtol=1e-3):
        return None  # noise that grows with the signal has no level that repeats alone tell
    deviation = np.sqrt(variance)
    # Repeats have the same signal and the same noise.
    _, group = np.unique(np.vstack([signals, deviation]), axis=1, return_inverse=True)
    squares, freedom = 0.0, 0
    for k in range(group.max() + 1):
        repeats = np.flatnonzero(group == k)
        rows = X[:, repeats] / deviation[repeats]
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(repeats) < 2 or len(rows) < _FEWEST:
            continue
        try:
            sigma = sigma_from_repeats(rows.T)
        except ValueError:  # too little signal, or copies of each other
            continue
        squares += (len(repeats) - 1) * sigma**2
        freedom += len(repeats) - 1
    return float(np.sqrt(squares / freedom)) if freedom else None


def sigma_from_background(background):
    """Noise level from magnitudes of air: ``sqrt(mean(M^2) / 2)``.

    Rician magnitudes without a signal are Rayleigh distributed, with a mean square of 2 sigma^2
    (Gudbjartsson and Patz, Magn Reson Med 1995;34:910).

    Parameters
    ----------
    background : array-like
        Magnitudes of voxels without signal, from one receiver channel or an adaptive combination.
        Masked values are excluded.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the magnitudes.

    Raises
    ------
    ValueError
        If there are no values, any is negative or not finite, or so many are 0 that the scanner
        must have set them to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.noise import sigma_from_background
    >>> round(sigma_from_background(np.random.RandomState(0).rayleigh(3.0, 100_000)), 1)
    3.0
    """
    if np.ma.isMaskedArray(background):
        background = background.compressed()
    background = as_floats(background)
    if background.size == 0 or not (np.isfinite(background) & (background >= 0)).all():
        raise ValueError("background expects finite magnitudes of at least 0, and at least one.")
    sigma = math.sqrt(np.mean(background**2) / 2)
    # Rounding to integers sets magnitudes below 1/2 to 0: a share 1 - exp(-(1/2)^2 / (2 sigma^2)),
    # about 1 / (8 sigma^2), of Rayleigh noise.
    expected = 0.125 / sigma**2 if sigma else 0.0
    zeros = np.mean(background == 0)
    if zeros > 0.01 + 2 * expected:
        raise ValueError(
            f"{zeros:.0%} of the background is exactly 0: the scanner has masked it, and the rest "
            "tells nothing about the noise."
        )
    return sigma
