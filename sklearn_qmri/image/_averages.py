"""Means of repeated volumes."""

import numpy as np

from .._arrays import as_floats
from ._nifti import like, read_volume
from ._open import open_images


def average_repeats(image, b_values, *, tolerance=0.0):
    """Means of the volumes that have the same b-value.

    A mean of magnitudes has less noise, which is no longer Rician: fit it with
    ``noise=AveragedMagnitude(counts)``, see `AveragedMagnitude`, and the sigma of one volume.

    Parameters
    ----------
    image : path-like or nibabel image
        Image of four dimensions. It is read slice by slice; the means are held in memory.
    b_values : array-like of shape (n_measurements,)
        b-value of each volume, in s/mm^2.
    tolerance : float, default=0.0
        Largest difference, in s/mm^2, between neighbours in ascending order that count as the same
        b-value. Not negative.

    Returns
    -------
    means : nibabel image
        Float32, one volume for each of the b-values.
    b_values : ndarray of shape (n_b_values,)
        Mean b-value of each group, ascending.
    counts : ndarray of shape (n_b_values,)
        Number of volumes in each mean.

    Raises
    ------
    ValueError
        If there are not as many b-values as volumes, or a number is not finite or negative.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import average_repeats
    >>> image = nibabel.Nifti1Image(np.ones((2, 2, 1, 5)), np.eye(4))
    >>> means, b_values, counts = average_repeats(image, [0, 795, 800, 805, 0], tolerance=10)
    >>> means.shape, b_values, counts
    ((2, 2, 1, 2), array([  0., 800.]), array([2, 3]))
    """
    (image,) = open_images(image)
    b = as_floats(b_values)
    if b.shape != image.shape[3:]:
        raise ValueError(f"{b.size} b-values were given for {image.shape[3]} volumes.")
    if not (np.isfinite(b) & (b >= 0)).all():
        raise ValueError(f"b_values expects finite numbers of 0 or more, got {b.tolist()}.")
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance expects a finite number of 0 or more, got {tolerance!r}.")
    # In ascending order, a gap wider than the tolerance starts the next group.
    order = np.argsort(b, kind="stable")
    group = np.empty(len(b), dtype=int)
    group[order] = np.cumsum(np.diff(b[order], prepend=b[order[0]]) > tolerance)
    counts = np.bincount(group)
    means = np.empty((*image.shape[:3], len(counts)), dtype=np.float32)
    # Slice by slice, so that the volumes of a long series are never in memory together.
    for z in range(image.shape[2]):
        signals = read_volume(image, slice(z, z + 1))
        for k in range(len(counts)):
            means[:, :, z : z + 1, k] = signals[..., group == k].mean(axis=-1)
    return like(image, means), np.bincount(group, b) / counts, counts
