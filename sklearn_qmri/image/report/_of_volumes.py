"""Findings about single volumes: swapped, scaled, moved, or spoilt, as a whole or in a slice."""

import numpy as np

from ._finding import WRONG, Finding, listed
from ._finite import mean_of, median_of

_BETTER, _CLEAR = 0.9, 8.0  # misfit after a repair over that before, and its significance
_MUCH_BETTER = 0.75  # of a volume that is dropped, which always makes a fit better
_LARGEST = 25.0  # squared residual that counts for a larger one
_MOVED = 0.4  # voxels
_STEPS = 10  # of a voxel that shifts are measured in
_SCALED = 0.04  # relative change of a volume's scale
_OF_SLICE = 2.0  # squared residuals in a slice of a volume over those in its other slices
_FEWEST = 50  # voxels of a slice
_SUSPECTS = 6  # volumes that are dropped on trial, those with the largest residuals


def of_volumes(evidence):
    """Findings about volumes that disagree with the others.

    Parameters
    ----------
    evidence : Evidence

    Yields
    ------
    Finding
    """
    spoilt = list(_of_slices(evidence))
    yield from spoilt
    moved = _moved(evidence)
    for k, distance in moved.items():
        yield Finding(
            WRONG, "Motion in one volume",
            f"Volume {k} lies {distance:.1f} voxels beside the others.",
            "Register the volumes, or exclude it.",
        )  # fmt: skip
    reference = evidence.reference
    # A volume that is explained needs no second explanation.
    if reference is None or spoilt or moved or reference.n_spare < 2:
        return
    yield from _of_fits(reference.some())


def _of_fits(reference):
    """Findings from fits with two volumes exchanged, and without one."""
    before = _misfits(reference)
    # A spoilt volume spreads its residuals over the others: the one counts without which all fit.
    size = mean_of(np.minimum(reference.residual**2, _LARGEST), axis=0)
    without = {int(k): _without(reference, k) for k in np.argsort(-size)[:_SUSPECTS]}
    misfits = {k: _misfits(fit) for k, fit in without.items()}
    order = sorted(misfits, key=lambda k: mean_of(misfits[k]))
    for k in order[:2]:
        # An exchange explains no more than to drop the volume does.
        pair = _is_better(before, misfits[k], _BETTER) and _partner(reference, k, before)
        if pair:
            i, j, after = pair
            yield Finding(
                WRONG, "Swapped volumes",
                f"With volumes {i} and {j} exchanged, the squared residuals fall from "
                f"{mean_of(before):.2g} to {after:.2g} per degree of freedom.",
                "Check the order of the volumes against the b-values or times.",
            )  # fmt: skip
            return
    k = order[0]
    if _is_better(before, misfits[k], _MUCH_BETTER):
        yield _spoilt(reference, without[k], k, mean_of(before), mean_of(misfits[k]))


def _spoilt(reference, without, k, before, after):
    """Finding about a volume that the others do not predict."""
    fact = (
        f"Without volume {k} the squared residuals fall from {before:.2g} to {after:.2g} per "
        "degree of freedom."
    )
    ratio = _scale(reference, without, k)
    if abs(ratio - 1) > _SCALED:
        return Finding(
            WRONG, "Scale of one volume",
            f"{fact} It has {ratio:.2f} times the signal that the others predict.",
            "Check the scaling of the stored values and the receiver gain, or exclude the volume.",
        )  # fmt: skip
    return Finding(
        WRONG, "Spoilt volume", fact, "Look at the volume for artefacts, and exclude it."
    )


def _misfits(reference):
    """Squared residuals per degree of freedom, of each voxel."""
    squares = np.minimum(reference.residual**2, _LARGEST)
    spare = np.isfinite(squares).sum(axis=1) - reference.n_free
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spare > 0, np.nansum(squares, axis=1) / spare, np.nan)


def _is_better(before, after, share):
    """Whether misfits of voxels are smaller, by a share and beyond chance."""
    gain = (before - after)[np.isfinite(before - after)]
    if len(gain) < _FEWEST:
        return False
    error = gain.std() / np.sqrt(len(gain))
    return mean_of(after) < share * mean_of(before) and gain.mean() > _CLEAR * error


def _without(reference, k):
    """Fit without a volume, whose residuals are NaN."""
    sigma = reference.sigma.copy()
    sigma[:, k] = np.inf
    return reference.again(sigma=sigma)


def _partner(reference, k, before):
    """Volume k and another whose exchange mends the fit, and the misfit then, or None."""
    found = []
    for j in range(reference.X.shape[1]):
        if j != k:
            X = reference.X.copy()
            X[:, [k, j]] = X[:, [j, k]]
            after = _misfits(reference.again(X=X))
            found.append((float(mean_of(after)), int(j), after))
    size, j, after = min(found, key=lambda each: each[0])
    return (min(k, j), max(k, j), size) if _is_better(before, after, _BETTER) else None


def _scale(reference, without, k):
    """Median ratio of a volume to the prediction of the others."""
    predicted = np.abs(without.estimator.signal_model.simulate(without.parameters)[:, k])
    strong = predicted > 4 * reference.sigma[:, k]
    # The mean square of a magnitude is that of the signal and that of two channels of noise.
    with np.errstate(invalid="ignore"):
        squares = reference.X[strong, k] ** 2 - 2 * reference.sigma[strong, k] ** 2
    ratio = np.sqrt(np.maximum(squares, 0)) / predicted[strong]
    return float(np.median(ratio)) if strong.any() else 1.0


def _of_slices(evidence):
    """Findings about slices whose residuals in one volume are much larger than elsewhere."""
    index, squares = evidence.slice_of_voxel(), np.minimum(evidence.residual**2, _LARGEST)
    size = np.full((len(evidence.slices), squares.shape[1]), np.nan)
    for i in range(len(size)):
        here = squares[(index == i) & evidence.tissue]
        if len(here) > _FEWEST:
            size[i] = mean_of(here, axis=0)
    if np.isfinite(size).all(axis=1).sum() < 3:
        return
    # Misfit that all slices of a volume share, or all volumes of a slice, is not of one of them.
    excess = size / np.fmax(median_of(size, axis=0), median_of(size, axis=1)[:, None])
    bad = (excess > _OF_SLICE) & (size > median_of(size) + 0.5)
    for k in np.flatnonzero(bad.any(axis=0)):
        share = bad[:, k].mean()
        if share < 0.5 and excess[bad[:, k], k].max() >= np.nanmax(excess):
            yield Finding(
                WRONG, "Spoilt slices",
                f"In slices {listed(evidence.slices[bad[:, k]])} of volume {k}, squared residuals "
                f"are {np.nanmax(excess[:, k]):.2g} times those of its other slices.",
                "Exclude the volume, or store NaN in these slices.",
            )  # fmt: skip


def _moved(evidence):
    """Distance in voxels of each volume that lies beside the others, by its number."""
    # A volume without a number says nothing about motion.
    complete = np.flatnonzero(np.isfinite(evidence.images).any(axis=(1, 2)).all(axis=0))
    volume = np.nan_to_num(evidence.images[..., complete])
    if volume.shape[-1] < 3:
        return {}
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(np.corrcoef(volume.reshape(-1, volume.shape[-1]).T))
    np.fill_diagonal(correlation, -1)
    shifts = {}
    for k in range(volume.shape[-1]):
        # Two others with the most similar contrast: both must see the same shift.
        pairs = [_shift(volume, j, k) for j in np.argsort(-correlation[k])[:2]]
        distances = [float(np.linalg.norm(pair)) for pair in pairs]
        if min(distances) > _MOVED and np.linalg.norm(pairs[0] - pairs[1]) < _MOVED:
            shifts[int(complete[k])] = min(distances)
    return shifts if 2 * len(shifts) < volume.shape[-1] else {}


def _shift(images, j, k):
    """Shift of volume k against volume j in voxels, a median over slices."""
    from skimage.registration import phase_cross_correlation

    shifts = [
        phase_cross_correlation(image[..., j], image[..., k], upsample_factor=_STEPS)[0]
        for image in images
    ]
    return np.median(shifts, axis=0)
