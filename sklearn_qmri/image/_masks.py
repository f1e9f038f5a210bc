"""The way between volumes and rows of voxels."""

import numpy as np


def apply_mask(volumes, mask):
    """Rows of the voxels in a mask.

    Parameters
    ----------
    volumes : array-like of shape (..., n_measurements)
    mask : array-like of shape (...)
        Nonzero inside.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64

    Raises
    ------
    ValueError
        If the shapes disagree or the mask is empty.
    """
    volumes, mask = np.asarray(volumes), np.asarray(mask) != 0
    if mask.shape != volumes.shape[:-1]:
        raise ValueError(f"mask has shape {mask.shape}, but the volumes {volumes.shape[:-1]}.")
    if not mask.any():
        raise ValueError(f"mask of shape {mask.shape} has no voxel in it.")
    return volumes[mask].astype(np.float64)


def unmask(values, mask, fill=np.nan):
    """Put the values of the voxels in a mask back into a volume.

    Parameters
    ----------
    values : array-like of shape (n_voxels, ...)
    mask : array-like
        Nonzero inside.
    fill : float, default=nan
        Value outside.

    Returns
    -------
    ndarray of shape mask.shape + (...)
    """
    values, mask = np.asarray(values), np.asarray(mask) != 0
    if len(values) != np.count_nonzero(mask):
        raise ValueError(f"{len(values)} values for {np.count_nonzero(mask)} voxels in the mask.")
    if np.isnan(fill) and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"NaN cannot be stored outside the mask as {values.dtype}: give a fill.")
    volume = np.full((*mask.shape, *values.shape[1:]), fill, dtype=values.dtype)
    volume[mask] = values
    return volume
