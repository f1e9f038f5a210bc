"""The noise level of the air in a scan, to compare a learnt one with."""

import numpy as np

from ..estimators._learnt_level import warn_of_misfit
from ..noise import sigma_from_background

_LOWEST = 0.2  # share of the voxels, those with the smallest signals, that the search begins with
# Largest measurement of air in units of sigma: exp(-4.5^2 / 2) = 4e-5 of Rayleigh noise is beyond.
_PEAK = 4.5
_ROUNDS = 30
_SEED = 0  # of the choice of voxels
_FEWEST = 500  # voxels
# Largest mean over standard deviation of air. That of Rayleigh noise is 1.9, and less where filters
# or ghosts vary it. Sums of squares of two coils have 2.7, averages of four magnitudes 3.8.
_LARGEST_RATIO = 2.2
_CORRELATED = 0.2  # correlation between measurements, which the noise of air does not have


def compare_with_air(scan, signal_model, learnt):
    """Warn if a learnt noise level is much larger than that of the air in a scan.

    Parameters
    ----------
    scan : Scan
    signal_model : SignalModel
        Signed signals have no air that this function knows.
    learnt : float

    Returns
    -------
    dict
        ``SigmaOfAir`` for sidecars; empty if there is no air.
    """
    air = sigma_of_air(scan, np.random.RandomState(_SEED)) if signal_model.magnitude else None
    warn_of_misfit(learnt, air, "the air in the scan")
    return {} if air is None else {"SigmaOfAir": air}


def sigma_of_air(scan, rng, n_voxels=50_000):
    """Noise level from voxels of air anywhere in a scan, or None if there are none.

    Air is told by its measurements: they are the smallest of the scan, vary as much as Rayleigh
    noise does or more, and are not correlated with each other. Air that the scanner has set to 0 or
    smoothed, and that of sums of squares of coils or of averages, is none.

    Parameters
    ----------
    scan : Scan
        All of its voxels count, inside the mask or not.
    rng : numpy.random.RandomState
        Generator for the choice of voxels.
    n_voxels : int, default=50000
        Largest number of voxels that are read.

    Returns
    -------
    float or None
    """
    X = scan.everywhere().sample(n_voxels, rng)
    X = X[np.isfinite(X).all(axis=1) & (X >= 0).all(axis=1) & (X > 0).any(axis=1)]
    if len(X) < _FEWEST:
        return None
    power = np.mean(X**2, axis=1)
    air = power <= np.quantile(power, _LOWEST)
    for _ in range(_ROUNDS):
        sigma = np.sqrt(power[air].mean() / 2)
        before, air = air, X.max(axis=1) <= _PEAK * sigma
        if (air == before).all():
            break
    found = _without_zeros(X[air])
    if len(found) < _FEWEST or not _is_noise(found):
        return None
    try:
        return sigma_from_background(found)
    except ValueError:  # most of it is 0
        return None


def _without_zeros(X):
    """Rows without a 0, which filters and gaps leave in some of them.

    Where most rows have one, it is rounding that makes them: all rows are kept.
    """
    whole = (X > 0).all(axis=1)
    return X[whole] if whole.mean() > 0.5 else X


def _is_noise(X):
    """Whether measurements of voxels vary as those of air, and are not correlated."""
    ratio = np.median(X.mean(axis=0) / np.maximum(X.std(axis=0), np.finfo(float).tiny))
    if ratio > _LARGEST_RATIO:
        return False
    if X.shape[1] == 1:
        return True
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(X, rowvar=False)
    return np.nanmedian(np.abs(correlation[np.triu_indices(X.shape[1], 1)])) < _CORRELATED
