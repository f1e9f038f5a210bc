"""Findings about the protocol, the mask and the stored numbers: before any fit."""

import numpy as np

from .._protocols import acquisition_of
from ._finding import DOUBTFUL, NOTE, WRONG, Finding, listed, percent
from ._finite import mean_of

_LOW_B = 60.0  # s/mm^2; without one of less, S0 is extrapolated
_EMPTY = 0.5  # share of the voxels of a slice without signal
_SHARE = 0.01  # of the voxels, from which on they are worth a word
_AIR = 0.3  # share of the mask without signal
_MISSED = 0.3  # voxels outside the mask with tissue's signal, as a share of those inside
_FEW = 50  # voxels
_STEPS = 8  # distinct values, with fewer of which equal steps may be chance
_CLIPPED = 0.002  # share of the values that are equal to the largest


def of_protocol(evidence):
    """Findings about the number of the measurements, and copies of volumes.

    Parameters
    ----------
    evidence : Evidence

    Yields
    ------
    Finding
    """
    model = evidence.signal_model
    yield from _of_number(evidence)
    b_values = acquisition_of(model).get("b_values")
    if b_values is not None and np.min(b_values) > _LOW_B:
        yield Finding(
            DOUBTFUL, "No low b-value",
            f"The least b-value is {np.min(b_values):g} s/mm^2: S0 is extrapolated.",
            "Add the volumes with b = 0 if they were acquired and dropped.",
        )  # fmt: skip
    same = _equal_volumes(evidence.X)
    if same:
        yield Finding(
            WRONG, "Equal volumes",
            f"Volumes {same[0]} and {same[1]} hold the same numbers, noise included.",
            "Replace the copy by the volume that was measured, or exclude it.",
        )  # fmt: skip


def _of_number(evidence):
    model, n = evidence.signal_model, evidence.X.shape[1]
    values = [np.broadcast_to(v, n) for v in acquisition_of(model).values() if np.ndim(v)]
    distinct = len(np.unique(np.transpose(values), axis=0)) if values else n
    n_free = len(model.parameters) - len(evidence.reference.fixed if evidence.reference else ())
    if distinct <= n_free + 1:
        yield Finding(
            (NOTE, DOUBTFUL, WRONG)[min(n_free + 1 - distinct, 2)], "Too few measurements",
            f"There are {distinct} distinct measurements for {n_free} parameters.",
            "Use a model with fewer parameters, fix known parameters, or measure more.",
        )  # fmt: skip


def _equal_volumes(X):
    finite = np.isfinite(X).all(axis=1) & (X != 0).all(axis=1)
    X = X[finite][:20_000]
    for i in range(X.shape[1] if len(X) > _FEW else 0):
        for j in range(i + 1, X.shape[1]):
            if np.mean(X[:, i] == X[:, j]) > 0.9:
                return i, j
    return None


def of_numbers(evidence):
    """Findings about the stored numbers: gaps, zeros, negative, clipped or rounded values."""
    X = evidence.X
    yield from _of_gaps(evidence, X == 0)
    bad = np.mean((X == 0).any(axis=1))
    if bad > _SHARE:
        yield Finding(
            DOUBTFUL, "Zeros", f"{percent(bad)} of the voxels have a 0 in some measurement.",
            "Take voxels without signal out of the mask; store gaps as NaN, not as 0.",
        )  # fmt: skip
    missing = np.mean(np.isnan(X).any(axis=1))
    if missing > _SHARE:
        volumes = np.flatnonzero(np.isnan(X).mean(axis=0) > _SHARE)
        yield Finding(
            NOTE, "Missing measurements",
            f"{percent(missing)} of the voxels have no number in some measurement"
            f"{f', most in volumes {listed(volumes)}' if len(volumes) else ''}.",
            "Nothing, if they were excluded on purpose.",
        )  # fmt: skip
    negative = np.mean((X < 0).any(axis=1))
    if evidence.signal_model.magnitude and negative > _SHARE:
        yield Finding(
            WRONG, "Negative magnitudes",
            f"{percent(negative)} of the voxels have a negative value, a magnitude has none.",
            "Use the magnitude as reconstructed, or a signed model with Gaussian noise.",
        )  # fmt: skip
    finite = X[np.isfinite(X)]
    largest = finite.max(initial=0.0)
    clipped = np.mean(finite == largest) if largest > 0 else 0.0
    if clipped > _CLIPPED and len(finite) * clipped > _FEW:
        yield Finding(
            WRONG, "Clipped values",
            f"{percent(clipped)} of the values are equal to the largest, {largest:g}.",
            "Export the images again with a scaling that keeps the brightest voxels.",
        )  # fmt: skip
    step, sigma = _step(finite), float(np.median(evidence.sigma[np.isfinite(evidence.sigma)]))
    if step > sigma:
        yield Finding(
            DOUBTFUL, "Coarsely rounded values",
            f"The values are in steps of {step:.3g}, and the noise level is {sigma:.3g}.",
            "Export the images as floating point or with a finer scaling.",
        )  # fmt: skip


def _of_gaps(evidence, empty):
    """Slices of a volume without signal."""
    volume, where = evidence.slice_of_voxel(), []
    for i, z in enumerate(evidence.slices):
        share = empty[volume == i].mean(axis=0)
        where += [(int(z), int(k)) for k in np.flatnonzero(share > _EMPTY)]
    if where:
        slices, volumes = (sorted({pair[i] for pair in where}) for i in (0, 1))
        yield Finding(
            WRONG, "Truncated scan",
            f"There is no signal in slices {listed(slices)} of volumes {listed(volumes)}.",
            "Convert or copy the scan again, or exclude these volumes.",
        )  # fmt: skip


def _step(values):
    """Common step between stored values, or 0 if there is none."""
    distinct = np.unique(values[:: max(1, len(values) // 50_000)])
    if len(distinct) < _STEPS:
        return 0.0
    steps = np.diff(distinct)
    step = steps.min()
    # Rounded values are whole multiples of a step; others are not.
    return float(step) if np.abs(steps / step - np.round(steps / step)).max() < 1e-3 else 0.0


def of_mask(evidence, n_voxels):
    """Findings about the mask, which has a number of voxels."""
    if n_voxels < _FEW:
        yield Finding(
            DOUBTFUL, "Tiny mask", f"The mask has only {n_voxels} voxels.",
            "Check that it is the mask of this scan: the noise level is learnt from its voxels.",
        )  # fmt: skip
        return
    estimated = np.isfinite(evidence.parameters).all(axis=1)
    if not estimated.any():
        return
    air = 1 - np.mean(evidence.tissue[estimated])
    if air > _AIR:
        yield Finding(
            DOUBTFUL, "Mask full of air",
            f"{percent(air)} of the voxels in the mask have no signal above the noise.",
            "Use a tighter mask; air disturbs the learnt noise level and every median.",
        )  # fmt: skip
    mean, inside = mean_of(np.abs(evidence.images), axis=-1), evidence.inside[evidence.whole]
    lowest = np.nan_to_num(np.quantile(mean[inside & np.isfinite(mean)], 0.25))
    missed = np.count_nonzero(~inside & (mean > max(lowest, 0))) / np.count_nonzero(inside)
    if missed > _MISSED and lowest > 0:
        yield Finding(
            NOTE, "Tissue outside the mask",
            f"As many voxels as {percent(missed)} of the mask are outside and as bright as tissue.",
            "Check that the mask is that of this scan, and neither shifted nor flipped.",
        )  # fmt: skip
