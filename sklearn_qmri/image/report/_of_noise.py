"""Findings about the noise: its level, its kind, and whether it is the same everywhere."""

import numpy as np

from ...noise import Gaussian, MagnitudeGaussian
from ._finding import DOUBTFUL, WRONG, Finding, percent
from ._finite import mean_of, median_of

_ABSURD = 1.5  # ratio of the noise in the residuals to the noise level, or its inverse
_FILTERED = 0.6  # noise of tissue over that of air
_CORRELATED = 0.25  # correlation of the residuals of neighbours
_UNEVEN = 1.8  # ratio of the noise in the noisiest parts to that in the quietest
_PART = 8  # parts along each axis of a slice
_FEWEST = 60  # voxels of a part
_FLOOR = 3.0  # sigma below which the distribution of a magnitude is not normal
_FLOOR_SHARE = 0.1


def of_noise(evidence, learnt):
    """Findings about noise.

    Parameters
    ----------
    evidence : Evidence
    learnt : bool
        Whether sigma was learnt from the residuals of the estimator.

    Yields
    ------
    Finding
    """
    reference, air = evidence.reference, evidence.air
    if reference is None:
        return
    sigma = float(np.median(evidence.sigma[np.isfinite(evidence.sigma)]))
    ratio = np.sqrt(reference.misfit()) if reference.n_spare > 1 else 1.0
    if not 1 / _ABSURD < ratio < _ABSURD:
        yield _of_level(ratio, sigma, learnt)
    noise = ratio * sigma
    if air is not None and noise < _FILTERED * air:
        yield Finding(
            DOUBTFUL, "Denoised or averaged scan",
            f"The noise in tissue, {noise:.3g}, is {noise / air:.2g} times that in air, {air:.3g}.",
            "Give the number of averages, or use a noise model of denoised magnitudes.",
        )  # fmt: skip
    correlation = _of_neighbours(evidence)
    if correlation > _CORRELATED:
        yield Finding(
            DOUBTFUL, "Smoothed or interpolated scan",
            f"Residuals of neighbouring voxels correlate by {correlation:.2f}; noise has 0.",
            "Fit the images before smoothing, denoising or interpolation. "
            "Errors of regions are larger than those of independent voxels.",
        )  # fmt: skip
    uneven = _between_parts(evidence)
    if uneven > _UNEVEN:
        yield Finding(
            DOUBTFUL, "Uneven noise",
            f"Residuals are {uneven:.2g} times as large in some parts of the image as in others.",
            "Give a map of sigma: parallel imaging amplifies noise in the middle.",
        )  # fmt: skip
    yield from _of_floor(evidence)


def _of_level(ratio, sigma, learnt):
    """Finding about a noise level that the residuals of a fit within wide bounds do not have."""
    fact = f"The residuals of a fit by maximum likelihood are {ratio:.2g} times sigma = {sigma:.3g}"
    remedy = "Leave sigma to be learnt from the scan, or measure it in the same units."
    if learnt:
        reason = "sigma was learnt where model or bounds do not describe the scan."
        remedy = "Widen the bounds, use another signal model, or exclude spoilt volumes."
    elif ratio > 1:
        reason = "the signal model does not describe the scan, or sigma is too small."
    else:
        reason = "sigma is too large, or the scan was denoised."
    return Finding(WRONG, "Noise level does not fit", f"{fact}: {reason}", remedy)


def _of_floor(evidence):
    """Whether normal noise is assumed where a magnitude is near its floor."""
    if not evidence.signal_model.magnitude:
        return
    if not isinstance(evidence.noise, (Gaussian, MagnitudeGaussian)):
        return
    low = np.fmin.reduce(evidence.X / evidence.sigma, axis=1)[evidence.tissue] < _FLOOR
    if low.mean() > _FLOOR_SHARE:
        yield Finding(
            DOUBTFUL, "Noise floor",
            f"{percent(low.mean())} of the voxels have measurements below 3 sigma, where the noise "
            "of a magnitude is not normal, and the fit assumes that it is.",
            "Use an estimator with Rician noise.",
        )  # fmt: skip


def _of_neighbours(evidence):
    """Largest correlation of the residuals of neighbours within a slice, over both axes."""
    residual = np.full(evidence.residual.shape, np.nan)
    own = evidence.residual[evidence.tissue]
    # The part that all measurements of a voxel share is misfit of the tissue, not noise.
    residual[evidence.tissue] = np.clip(own - mean_of(own, axis=1)[:, None], -4, 4)
    volume = evidence.volume(residual)
    found = []
    for axis in (1, 2):
        n = volume.shape[axis]
        a = np.take(volume, range(n - 1), axis).reshape(-1, volume.shape[-1])
        b = np.take(volume, range(1, n), axis).reshape(-1, volume.shape[-1])
        both = np.isfinite(a) & np.isfinite(b)
        # Misfit is alike in neighbours of one tissue: a median over measurements is less of it.
        found.append([_correlation(a[m, k], b[m, k]) for k, m in enumerate(both.T)])
    found = [np.median(row[np.isfinite(row)]) for row in np.array(found) if np.isfinite(row).any()]
    return float(max(found, default=0.0))


def _correlation(a, b):
    if len(a) < _FEWEST:
        return np.nan
    a, b = a - a.mean(), b - b.mean()
    return (a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-30)


def _between_parts(evidence):
    """Ratio of the noise in the noisiest parts of the image to that in the quietest."""
    _, x, y = np.nonzero(evidence.inside)
    _, n_x, n_y = evidence.inside.shape
    part = x * _PART // n_x * _PART + y * _PART // n_y
    size = []
    for k in np.unique(part):
        here = evidence.residual[(part == k) & evidence.tissue]
        if len(here) > _FEWEST:
            size.append(np.sqrt(median_of(here**2)))
    if len(size) < 4:
        return 1.0
    low, high = np.quantile(size, [0.1, 0.9])
    return float(high / max(low, 1e-30))
