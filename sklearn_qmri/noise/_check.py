"""Checks of noise levels that users give."""

import numpy as np

from .._arrays import as_floats


def columns_of(sigma):
    """Noise levels of rows that broadcast against measurements.

    Parameters
    ----------
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)

    Returns
    -------
    ndarray of shape (n_voxels, 1) or (n_voxels, n_measurements)
    """
    return sigma[:, None] if sigma.ndim == 1 else sigma


def level_of_rows(sigma):
    """One noise level for each row: the one with the same sum of 1 / sigma^2 over measurements.

    Parameters
    ----------
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)

    Returns
    -------
    ndarray of shape (n_voxels,)
    """
    return sigma if sigma.ndim == 1 else np.mean(sigma**-2.0, axis=1) ** -0.5


def check_sigma(sigma, n_voxels, usable=None, n_measurements=None):
    """Validate sigma: a positive number, one per voxel, or one per measurement.

    Parameters
    ----------
    sigma : float or array-like
        Noise levels of shape (n_voxels,), (n_voxels, n_measurements) or (1, n_measurements); masked
        ones count as NaN. Per measurement, infinity means that there is none.
    n_voxels : int
    usable : bool ndarray of shape (n_voxels,), default=None
        Voxels that need a valid sigma. None: all.
    n_measurements : int, default=None
        Number of measurements. None: one sigma per measurement is refused.

    Returns
    -------
    ndarray of shape (n_voxels,) or (n_voxels, n_measurements)

    Raises
    ------
    ValueError
        If sigma has another shape, or a value that is needed is not positive and finite.
    """
    values = as_floats(sigma)
    shapes = [(), (n_voxels,)]
    if n_measurements is not None:
        shapes += [(n_voxels, n_measurements), (1, n_measurements)]
    if values.shape not in shapes:
        expected = f"a number or one per voxel ({n_voxels})"
        if n_measurements is not None:
            expected += f", or one per measurement (shape {shapes[2]} or {shapes[3]})"
        raise ValueError(f"sigma expects {expected}, got shape {values.shape}.")
    valid = values > 0
    if values.ndim < 2:
        valid &= values < np.inf
    wrong = ~valid
    if usable is not None and len(values.shape) and len(values) == n_voxels:
        wrong &= usable if values.ndim == 1 else usable[:, None]
    if wrong.any():
        rows = np.count_nonzero(wrong if values.ndim < 2 else wrong.any(axis=1))
        where = f" in {rows} of {len(values)} voxels" if values.ndim else ""
        raise ValueError(
            "sigma expects positive finite numbers in the units of the signal, got "
            f"{values[wrong][:5].tolist()}{where}."
        )
    return np.broadcast_to(values, (n_voxels, n_measurements) if values.ndim == 2 else n_voxels)
