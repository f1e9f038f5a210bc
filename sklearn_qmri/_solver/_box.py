"""Checks of fixed parameters and of starting points, for each voxel."""

import numpy as np

from .._arrays import as_floats
from .._warnings import warn


def check_fixed(fixed, signal_model, bounds, n_voxels):
    """Values of fixed parameters as an array (n_voxels, n_parameters), NaN for the others.

    Parameters
    ----------
    fixed : dict of {str: float or array-like of shape (n_voxels,)}
    signal_model : SignalModel
    bounds : ndarray of shape (2, n_parameters)
        Range of the fixed values.
    n_voxels : int

    Returns
    -------
    ndarray or None
        None if nothing is fixed.

    Raises
    ------
    ValueError
        For a name that is no parameter, a wrong length, or values that are not finite.
    """
    if not fixed:
        return None
    names = signal_model.parameter_names
    if unknown := sorted(set(fixed) - set(names)):
        raise ValueError(f"fixed names {unknown}, but the parameters are {list(names)}.")
    values = np.full((n_voxels, len(names)), np.nan)
    for name, value in fixed.items():
        j = names.index(name)
        value = as_floats(value)
        if value.shape not in ((), (n_voxels,)):
            raise ValueError(
                f"fixed[{name!r}] expects a number or one per voxel ({n_voxels}), "
                f"got shape {value.shape}; values per voxel go to `estimate`, for its rows."
            )
        low, high = bounds[:, j]
        # Negated, so that NaN, which compares as false, is wrong at first.
        wrong = ~((value >= low) & (value <= high))
        # The caller excludes rows whose own value is NaN. One NaN for all voxels is an error.
        if value.ndim:
            wrong &= ~np.isnan(value)
        if wrong.any():
            raise ValueError(
                f"fixed[{name!r}] expects values within its bounds of {low:g} to {high:g}, got "
                f"{value[wrong].ravel()[0]:g} in {np.count_nonzero(wrong)} of {value.size} places."
            )
        values[:, j] = value
    return values


def common_values(fixed, signal_model):
    """Values of parameters that are fixed to one number for all voxels, NaN for the others.

    Parameters
    ----------
    fixed : dict of {str: float or array-like of shape (n_voxels,)}
    signal_model : SignalModel

    Returns
    -------
    ndarray of shape (n_parameters,) or None
        None if there are none.
    """
    numbers = {name: value for name, value in fixed.items() if np.ndim(value) == 0}
    if not numbers:
        return None
    names = signal_model.parameter_names
    return np.array([numbers.get(name, np.nan) for name in names], dtype=np.float64)


def check_seeds(init, bounds, n_voxels):
    """Starting points (n_voxels, n_parameters) in the box, None for ``init="auto"``.

    Seeds outside the box are clipped; one warning says how many.

    Raises
    ------
    ValueError
        For a wrong shape or values that are not finite.
    """
    if isinstance(init, str):
        return None
    seeds = np.asarray(init, dtype=np.float64)
    n_parameters = bounds.shape[1]
    if seeds.shape not in ((n_parameters,), (n_voxels, n_parameters)):
        raise ValueError(
            f"init expects 'auto' or seeds of shape ({n_parameters},) or "
            f"({n_voxels}, {n_parameters}), got {seeds.shape}."
        )
    if not np.isfinite(seeds).all():
        raise ValueError("init expects finite seeds, got NaN or infinity among them.")
    seeds = np.broadcast_to(seeds, (n_voxels, n_parameters))
    outside = ((seeds < bounds[0]) | (seeds > bounds[1])).any(axis=1)
    if outside.any():
        warn(f"{np.count_nonzero(outside)} of {n_voxels} seeds were outside the bounds: clipped.")
    return np.clip(seeds, *bounds)
