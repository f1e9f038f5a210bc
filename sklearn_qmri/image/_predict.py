"""Estimates of all voxels of an image, slab by slab."""

import os
import warnings
import zlib
from collections import deque

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

from .._validation import Status
from ._derivatives import core
from ._nifti import load_nifti, read_volume

_BAD = {
    Status.BAD_INPUT: "are no possible measurements (NaN there)",
    Status.NOT_CONVERGED: "did not converge",
    Status.OUT_OF_DOMAIN: "are unlike what the network was trained on",
    Status.TOO_FEW_ATOMS: "are unlike almost all of the prior",
}


def predict_image(
    estimator,
    image,
    mask=None,
    *,
    sigma=None,
    return_std=False,
    fill=np.nan,
    chunk_size=65536,
    n_jobs=None,
    client=None,
    verbose=0,
):
    """Parameter maps of an image.

    The scan is read slab by slab, so that it need not fit into memory. Slabs depend on the mask
    and on `chunk_size` alone: neither `n_jobs` nor `client` changes a bit of the result.

    Parameters
    ----------
    estimator : fitted estimator
        With `predict`, and maybe `estimate`, which gives maps of status and residual too.
    image : path-like or nibabel image
        Four dimensions, the last one of the measurements, in the order of the estimator's X. Any
        data type, scaling and orientation.
    mask : path-like, nibabel image or array-like, default=None
        Nonzero inside, of the image's first three dimensions. None: all voxels.
    sigma : float, path-like, nibabel image or array-like, default=None
        Noise level, as the estimator's `predict` takes it, or a map of it.
    return_std : bool, default=False
        Also give maps of standard deviations, of an estimator whose `predict` has them.
    fill : float, default=nan
        Value of maps outside the mask; the status there is -1.
    chunk_size : int, default=65536
        Voxels at once, about: slabs are whole slices.
    n_jobs : int, default=None
        Number of processes, as in joblib.
    client : dask.distributed.Client, default=None
        Estimate on its workers instead. What a worker had in hand when it died is done by another.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    dict of {str: nibabel image}
        A float32 map by parameter name, with the geometry of the scan. Where the estimator has
        `estimate`, also ``"status"`` (int8, see `Status`) and ``"residual_rms"``; with
        `return_std` also ``"<name>_std"``.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a file is damaged, or shapes, geometries or numbers of measurements disagree.

    Examples
    --------
    >>> import nibabel, numpy
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.image import predict_image
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 50, 100, 200, 400, 800])
    >>> phantom = make_phantom(model, shape=(16, 16, 2), snr=30, random_state=0)
    >>> scan = nibabel.Nifti1Image(phantom.data, numpy.eye(4))
    >>> mle = MLEEstimator(model, sigma=1 / 30).fit(phantom.data[phantom.mask])
    >>> maps = predict_image(mle, scan, phantom.mask)
    >>> sorted(maps)
    ['D', 'D_star', 'S0', 'f', 'residual_rms', 'status']
    """
    image = _open(image)
    shape = _check_shape(image, estimator)
    mask = _volume(mask, image, "mask")
    inside = np.full(shape[:3], True) if mask is None else mask != 0
    if not inside.any():
        raise ValueError(f"mask of shape {inside.shape} has no voxel in it.")
    sigma = sigma if np.isscalar(sigma) else _volume(sigma, image, "sigma")
    slabs = _slabs(inside, chunk_size)
    arguments = ((estimator, *_read(image, inside, sigma, slab), return_std) for slab in slabs)
    if client is None:
        jobs = (delayed(_predict_rows)(*given) for given in arguments)
        results = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs")(jobs)
    else:
        results = _spread(client, _predict_rows, arguments)
    maps = {}
    with tqdm(total=np.count_nonzero(inside), unit=" voxels", disable=not verbose) as bar:
        for slab, rows in zip(slabs, results, strict=True):
            for name, values in rows.items():
                if name not in maps:
                    outside = -1 if name == "status" else fill
                    maps[name] = np.full(shape[:3], outside, dtype=values.dtype)
                maps[name][:, :, slab][inside[:, :, slab]] = values
            bar.update(len(values))
    if "status" in maps:
        _warn_of_status(maps["status"][inside])
    return {name: _like(image, values) for name, values in maps.items()}


def _spread(client, function, arguments):
    """Results of Dask workers in order, with no more in flight than keeps the workers busy."""
    waiting, room = deque(), 2 * max(1, sum(client.nthreads().values()))
    for given in arguments:
        waiting.append(client.submit(function, *given, pure=False))
        if len(waiting) >= room:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _open(image):
    return load_nifti(image) if isinstance(image, (str, os.PathLike)) else image


def _check_shape(image, estimator):
    shape = image.shape
    if len(shape) != 4:
        raise ValueError(f"The image expects 4 dimensions, got shape {shape}.")
    n_measurements = getattr(estimator, "n_features_in_", shape[3])
    if shape[3] != n_measurements:
        raise ValueError(
            f"The image has {shape[3]} volumes, but the estimator takes {n_measurements} "
            "measurements per voxel."
        )
    return shape


def _volume(values, image, name):
    """Array of a mask or noise map that fits the image, or None of None."""
    if values is None:
        return None
    if hasattr(values, "dataobj") or isinstance(values, (str, os.PathLike)):
        values = _open(values)
        if values.shape[:3] == image.shape[:3] and not np.allclose(
            values.affine, image.affine, atol=1e-3
        ):
            raise ValueError(f"The affine of {name} is not that of the image: resample it.")
        values = read_volume(values)
    values = np.asarray(values)
    if values.shape != image.shape[:3]:
        raise ValueError(f"{name} has shape {values.shape}, but the image {image.shape[:3]}.")
    return values


def _slabs(inside, chunk_size):
    """Runs of slices along the third axis with about chunk_size voxels inside each."""
    counts = np.count_nonzero(inside, axis=(0, 1))
    slabs, start, total = [], 0, 0
    for z, count in enumerate(counts):
        if total and total + count > chunk_size:
            slabs.append(slice(start, z))
            start, total = z, 0
        total += count
    return [*slabs, slice(start, len(counts))]


def _read(image, inside, sigma, slab):
    """Signals of the voxels inside a slab, and their noise levels."""
    here = inside[:, :, slab]
    try:
        signals = np.asanyarray(image.dataobj[:, :, slab])
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise ValueError(f"{image.get_filename()} is damaged: {error}") from error
    if sigma is not None and not np.isscalar(sigma):
        sigma = sigma[:, :, slab][here].astype(np.float64)
    return signals[here].astype(np.float64), sigma


def _predict_rows(estimator, X, sigma, return_std):
    """Maps' values of some voxels by name; what is to be warned of is left to their status."""
    names = core(estimator).signal_model_.parameter_names
    given = {} if sigma is None else {"sigma": sigma}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        std = None
        if hasattr(estimator, "estimate"):
            found = estimator.estimate(X, **given)
            values = {"status": found.status, "residual_rms": found.get("residual_rms")}
            parameters, std = found.parameters, found.get("std")
        else:
            values, parameters = {}, estimator.predict(X, **given)
        if return_std and std is None:
            parameters, std = estimator.predict(X, **given, return_std=True)
    columns = dict(zip(names, parameters.reshape(len(X), -1).T, strict=True))
    if return_std:
        columns |= zip((f"{name}_std" for name in names), std.reshape(len(X), -1).T, strict=True)
    columns |= values
    kinds = {"status": np.int8}
    return {
        name: column.astype(kinds.get(name, np.float32))
        for name, column in columns.items()
        if column is not None
    }


def _warn_of_status(status):
    counts = {text: np.count_nonzero(status == code) for code, text in _BAD.items()}
    parts = [f"{n:,} {text}" for text, n in counts.items() if n]
    if parts:
        warnings.warn(f"Of {len(status):,} voxels {', '.join(parts)}.", stacklevel=3)


def _like(image, values):
    """Image with the geometry of another."""
    header = image.header.copy()
    header.set_data_dtype(values.dtype)
    made = type(image)(values, image.affine, header)
    made.header.set_slope_inter(1, 0)
    return made
