"""The box that estimates are searched in: bounds, what is fixed, where a search starts."""

import warnings
from numbers import Real

import numpy as np


def check_bounds(bounds, signal_model):
    """Bounds as an array of shape (2, n_parameters), the signal model's where not given.

    Raises
    ------
    ValueError
        For a name that is no parameter, or bounds that are not a pair low < high.
    """
    names = signal_model.parameter_names
    merged = {p.name: p.bounds for p in signal_model.parameters} | dict(bounds or {})
    if unknown := sorted(set(merged) - set(names)):
        raise ValueError(f"bounds names {unknown}, but the parameters are {list(names)}.")
    array = np.empty((2, len(names)))
    for j, parameter in enumerate(signal_model.parameters):
        pair = merged[parameter.name]
        if np.shape(pair) != (2,) or not all(isinstance(v, Real) for v in pair):
            raise ValueError(f"bounds[{parameter.name!r}] expects two numbers, got {pair!r}.")
        if not pair[0] < pair[1]:
            raise ValueError(f"bounds[{parameter.name!r}] expects (low, high), got {pair!r}.")
        if parameter.log and not pair[0] > 0:
            raise ValueError(f"bounds[{parameter.name!r}] expects low > 0, got {pair!r}.")
        array[:, j] = pair
    return array


def check_fixed(fixed, signal_model, n_voxels):
    """Values of fixed parameters as an array (n_voxels, n_parameters), NaN for the others.

    Parameters
    ----------
    fixed : dict of {str: float or array-like of shape (n_voxels,)}
    signal_model : SignalModel
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
        value = np.asarray(value, dtype=np.float64)
        if value.shape not in ((), (n_voxels,)):
            raise ValueError(
                f"fixed[{name!r}] expects a number or one per voxel ({n_voxels}), "
                f"got shape {value.shape}; values per voxel go to `estimate`, for its rows."
            )
        low, high = signal_model.parameters[j].bounds
        wrong = ~((value >= low) & (value <= high))
        if value.ndim:  # rows without a value are for the caller to leave out
            wrong &= ~np.isnan(value)
        if wrong.any():
            raise ValueError(
                f"fixed[{name!r}] expects values within its bounds of {low:g} to {high:g}, got "
                f"{value[wrong].ravel()[0]:g} in {np.count_nonzero(wrong)} of {value.size} places."
            )
        values[:, j] = value
    return values


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
        warnings.warn(
            f"{np.count_nonzero(outside)} of {n_voxels} seeds were outside the bounds and clipped.",
            stacklevel=4,
        )
    return np.clip(seeds, *bounds)
