"""The noise level from measurements that are made for it: repeats, or air."""

import math

import numpy as np

from .._arrays import as_floats


def sigma_from_repeats(repeats):
    """Noise level from repeated measurements of the same signals.

    The pooled standard deviation over repeats of the signals that are at least 5 times as large;
    below, magnitudes are not Gaussian.

    Parameters
    ----------
    repeats : array-like of shape (n_repeats, ...)
        Magnitudes or signed signals, the same ones in every repeat.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the signals.

    Raises
    ------
    ValueError
        For fewer than two repeats, values that are not finite, or no signal that is large enough.

    Examples
    --------
    >>> import numpy as np

    from .._arrays import as_floats
    >>> from sklearn_qmri.noise import sigma_from_repeats
    >>> round(sigma_from_repeats(100 + np.random.RandomState(0).normal(size=(9, 10_000))), 2)
    1.0
    """
    repeats = as_floats(repeats)
    if repeats.ndim < 1 or len(repeats) < 2:
        raise ValueError(f"repeats expects at least two along its first axis, got {repeats.shape}.")
    if not np.isfinite(repeats).all():
        raise ValueError("repeats expects finite values, got NaN or infinity among them.")
    mean, variance = repeats.mean(axis=0), repeats.var(axis=0, ddof=1)
    sigma = math.sqrt(np.mean(variance))
    large = np.abs(mean) >= 5 * sigma
    if not large.any():
        raise ValueError(f"No signal is 5 times the standard deviation over repeats ({sigma:.4g}).")
    return math.sqrt(np.mean(variance[large]))


def sigma_from_background(background):
    """Noise level from magnitudes of air, which are Rayleigh distributed: sqrt(mean(M^2) / 2).

    As of Rician noise without a signal (Gudbjartsson and Patz, Magn Reson Med 1995;34:910).

    Parameters
    ----------
    background : array-like
        Magnitudes of voxels without signal, from one receiver channel or an adaptive combination.

    Returns
    -------
    float
        Standard deviation of the Gaussian noise per channel, in the units of the magnitudes.

    Raises
    ------
    ValueError
        If there are no values, any is negative or not finite, or so many are 0 that the scanner
        has masked them.

    Examples
    --------
    >>> import numpy as np

    from .._arrays import as_floats
    >>> from sklearn_qmri.noise import sigma_from_background
    >>> round(sigma_from_background(np.random.RandomState(0).rayleigh(3.0, 100_000)), 1)
    3.0
    """
    if isinstance(background, np.ma.MaskedArray):  # what is masked is no air
        background = background.compressed()
    background = as_floats(background)
    if background.size == 0 or not (np.isfinite(background) & (background >= 0)).all():
        raise ValueError("background expects finite magnitudes of at least 0, and at least one.")
    sigma = math.sqrt(np.mean(background**2) / 2)
    # Rounding to integers puts this share of honest Rayleigh noise below half a count.
    expected = 0.125 / sigma**2 if sigma else 0.0
    zeros = np.mean(background == 0)
    if zeros > 0.01 + 2 * expected:
        raise ValueError(
            f"{zeros:.0%} of the background is exactly 0: the scanner has masked it, and what is "
            "left tells nothing about the noise."
        )
    return sigma
