"""Estimates of all voxels of an image, slab by slab."""

from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted, check_memory
from tqdm import tqdm

from .._version import __version__, library_versions
from .._warnings import quiet, warn
from ..estimators import core, refuse_to_lose_sigma, signal_model_of, takes
from ..estimators._levels import check_coverage
from ..inspection import parametric_bootstrap
from ..status import describe_statuses
from ._nifti import like
from ._open import open_scan
from ._workers import on_processes, on_workers
from ._zeros import Zeros


def predict_image(
    estimator,
    image,
    mask=None,
    *,
    sigma=None,
    fixed=None,
    return_std=False,
    error=None,
    interval=None,
    fill=np.nan,
    chunk_size=65536,
    n_jobs=None,
    client=None,
    memory=None,
    verbose=0,
):
    """Parameter maps of an image.

    The scan is read slab by slab, so that it need not fit into memory. Slabs depend only on the
    mask and on `chunk_size`: `n_jobs`, `client` and `memory` do not change a bit of the result.

    Parameters
    ----------
    estimator : fitted estimator
        Estimator with `predict`. If it has `estimate`, there are maps of status and residual too.
    image : path-like, nibabel image, list of them, or Scan
        One image of four dimensions, the last of which is the measurement, or a list of images of
        three dimensions, one for each measurement. The order is that of the estimator's X. Any real
        data type, scaling and orientation is accepted. A scan comes with its mask and sigma.
    mask : path-like, nibabel image or array-like, default=None
        Nonzero where voxels are inside, same shape as the image's first three dimensions. None: all
        voxels. Same as `mask` of `open_scan`.
    sigma : float, path-like, nibabel image or array-like, default=None
        Noise level, same as for the estimator's `predict`, or a map of it. Voxels where a map is
        not positive and finite get the status ``BAD_INPUT``. A map with a level for each
        measurement has the measurements as its last dimension; where one is not positive and
        finite, there is no measurement.
    fixed : dict of {str: float, path-like, nibabel image or array-like}, default=None
        Known parameters by name, numbers or maps (such as B1), for estimators that take them.
        Voxels where a map is NaN or outside the bounds of the parameter, as 0 often is outside of
        a map's own mask, get the status ``BAD_INPUT``, and one warning counts them.
    return_std : bool, default=False
        Also return maps of standard deviations, if the estimator's `predict` has them.
    error : {None, "bootstrap"}, default=None
        "bootstrap": also return maps of standard deviation and bias of every estimate, from 30
        noise repeats that are simulated at the estimate, see `parametric_bootstrap`. It works for
        every estimator that has a signal model, also on bounds.
    interval : float, default=None
        Coverage of intervals, between 0 and 1: also return maps of their lower and upper ends, if
        the estimator has `predict_interval`.
    fill : float, default=nan
        Value of maps outside the mask; the status there is -1.
    chunk_size : int, default=65536
        Approximate number of voxels at once: slabs are whole slices.
    n_jobs : int, default=None
        Number of processes, same as in joblib.
    client : dask.distributed.Client, default=None
        Estimate on the workers of this client instead. If a worker dies, another repeats its work.
    memory : str or joblib.Memory, default=None
        Folder or cache that keeps finished slabs. The same call on the same scan, for example after
        an interruption, reads them from there. Slabs of another scan, estimator, option or version
        of a library are estimated anew. A signal model of your own counts by its name and
        arguments: empty the folder when you change its formula. With `client`, all workers must see
        the folder.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    dict of {str: nibabel image}
        Maps by parameter name, float32, with the geometry of the scan. If the estimator has
        `estimate`, also ``"status"`` (int8, see `Status`) and ``"residual_rms"``; with
        `return_std` also ``"<name>_std"``, with ``error="bootstrap"`` also ``"<name>_std"`` and
        ``"<name>_bias"``, with `interval` also ``"<name>_lower"`` and ``"<name>_upper"``, with
        `PosteriorMeanEstimator` also ``"log_evidence"``. Maximum likelihood has ``"aic"`` and
        ``"bic"`` too. Estimators with bounds have ``"at_bound"`` (int16), the sum of 2^j over the
        parameters j on a bound, the first being 0.

    Raises
    ------
    OSError
        If a file does not exist.
    ValueError
        If a file is damaged or not NIfTI, shapes, geometries or numbers of measurements disagree,
        or the estimator is not fitted.

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
    ['D', 'D_star', 'S0', 'aic', 'at_bound', 'bic', 'f', 'residual_rms', 'status']
    """
    n_expected = getattr(estimator, "n_features_in_", None)
    scan = open_scan(image, mask, sigma, fixed=fixed, n_expected=n_expected)
    run = partial(on_processes, n_jobs) if client is None else partial(on_workers, client)
    return estimate_scan(
        estimator, scan, run, return_std=return_std, error=error, interval=interval, fill=fill,
        chunk_size=chunk_size, memory=memory, verbose=verbose,
    )  # fmt: skip


def estimate_scan(
    estimator, scan, run, *, return_std=False, error=None, interval=None, fill=np.nan, chunk_size,
    memory=None, verbose=0,
):  # fmt: skip
    """Maps of a scan, same as from `predict_image`.

    `run` takes a function, its first argument, and an iterable with the further arguments of each
    call. It yields the results in order.
    """
    check_is_fitted(estimator)
    name = type(estimator).__name__
    if return_std and not takes(estimator, "std"):
        raise ValueError(f"{name} gives no standard deviations.")
    if interval is not None:
        check_coverage(interval, "interval")
        if not (takes(estimator, "interval") and hasattr(estimator, "predict_interval")):
            raise ValueError(f"{name} gives no intervals.")
    if error not in (None, "bootstrap"):
        raise ValueError(f"error expects None or 'bootstrap', got {error!r}.")
    if error is not None and return_std:
        raise ValueError("error='bootstrap' has standard deviations of its own: drop return_std.")
    if scan.sigma is not None:
        refuse_to_lose_sigma(estimator)
    # Every `estimate` of this package takes sigma, if only to check it. A `predict` alone may not.
    if not (scan.sigma is None or hasattr(estimator, "estimate") or takes(estimator, "sigma")):
        raise ValueError(f"{name} takes no sigma: its estimates do not depend on the noise level.")
    if scan.fixed:
        scan = _with_known_voxels(estimator, scan)
    slabs = scan.slabs(chunk_size)
    estimate = check_memory(memory).cache(estimate_rows)
    versions = (__version__, library_versions())
    zeros = Zeros(scan.n_measurements)
    # A generator: a slab is read when `run` has room for it, and its zeros are counted on the way.
    arguments = (
        (
            *zeros.counted(*scan.read(slab)), scan.known(slab), return_std, interval,
            None if error is None else slab.start, versions,
        )
        for slab in slabs
    )  # fmt: skip
    maps = {}
    with tqdm(total=scan.n_voxels, desc="maps", unit=" voxels", disable=not verbose) as bar:
        for slab, rows in zip(slabs, run(estimate, estimator, arguments), strict=True):
            here = scan.inside[:, :, slab]
            for name, values in rows.items():
                if name not in maps:  # the first slab tells which maps there are
                    outside = {"status": -1, "at_bound": 0}.get(name, fill)
                    maps[name] = np.full(scan.inside.shape, outside, dtype=values.dtype)
                maps[name][:, :, slab][here] = values
            bar.update(np.count_nonzero(here))
    sigma = scan.sigma if scan.sigma is not None else getattr(core(estimator), "sigma_", None)
    zeros.warn_if_masked(sigma)
    if "status" in maps and (text := describe_statuses(maps["status"][scan.inside])):
        warn(text)
    return {name: like(scan.images[0], values) for name, values in maps.items()}


def _with_known_voxels(estimator, scan):
    """Scan whose maps of known parameters are NaN outside their bounds, of which a warning tells.

    Raises
    ------
    ValueError
        If the estimator takes no known parameters, or has no parameter of a name.
    """
    if not takes(estimator, "fixed"):
        raise ValueError(f"{type(estimator).__name__} takes no known parameters, got fixed.")
    inner, known = core(estimator), {}
    names = signal_model_of(estimator).parameter_names
    for name, value in scan.fixed.items():
        if name not in names:
            raise ValueError(f"fixed names {name!r}, but the parameters are {list(names)}.")
        low, high = inner.bounds_[:, names.index(name)]
        if np.ndim(value):
            value = np.where((value >= low) & (value <= high), value, np.nan)
            n_lost = np.count_nonzero(np.isnan(value[scan.inside]))
            if n_lost:
                warn(
                    f"The map of {name} is NaN or outside its bounds of {low:g} to {high:g} in "
                    f"{n_lost} of {scan.n_voxels} voxels: their status is BAD_INPUT."
                )
        known[name] = value
    return replace(scan, fixed=known)


def estimate_rows(estimator, X, sigma, fixed, return_std, interval, seed, versions):
    """Values of the maps of some voxels, by name, without warnings: the status reports problems.

    `seed` is that of a bootstrap, or None. Results may be cached. `versions` is not used, but makes
    the cache key depend on the versions.
    """
    names = signal_model_of(estimator).parameter_names
    X, sigma = marked(X, sigma)
    options = {} if sigma is None else {"sigma": sigma}
    if fixed:
        options["fixed"] = fixed
    std, values = None, {}
    with quiet():
        if hasattr(estimator, "estimate"):
            # Estimators without standard deviations need not have the argument.
            asked = {"return_std": True} if return_std else {}
            result = estimator.estimate(X, **options, **asked)
            values = {"status": result.status, "residual_rms": result.get("residual_rms")}
            values |= {key: result.get(key) for key in ("aic", "bic", "log_evidence")}
            if hasattr(core(estimator), "bounds_"):  # others are never on a bound
                values["at_bound"] = result.at_bound @ 2 ** np.arange(len(names))
            parameters, std = result.parameters, result.get("std")
        elif return_std:
            parameters, std = estimator.predict(X, **options, return_std=True)
        else:
            parameters = estimator.predict(X, **options)
    # A model of one parameter may give an array of one dimension.
    columns = dict(zip(names, parameters.reshape(len(X), -1).T, strict=True))
    if return_std:
        columns |= zip((f"{name}_std" for name in names), std.reshape(len(X), -1).T, strict=True)
    if interval is not None:
        with quiet():
            ends = estimator.predict_interval(X, interval, **options)
        for i, key in enumerate(("lower", "upper")):
            columns |= zip((f"{name}_{key}" for name in names), ends[..., i].T, strict=True)
    if seed is not None:
        repeats = parametric_bootstrap(
            estimator, parameters.reshape(len(X), -1), **_of_present(estimator, X, options),
            random_state=seed,
        )  # fmt: skip
        for key in ("std", "bias"):
            columns |= zip((f"{name}_{key}" for name in names), repeats[key].T, strict=True)
    columns |= values
    kinds = {"status": np.int8, "at_bound": np.int16}
    return {
        name: column.astype(kinds.get(name, np.float32))
        for name, column in columns.items()
        if column is not None
    }


def marked(X, sigma):
    """Copies of rows and noise levels, with NaN in X where a map has no usable level.

    One voxel of a map must not stop the others: NaN in X makes it BAD_INPUT, or a measurement
    missing, and the 1 only stands in for its noise level.
    """
    X = X.astype(np.float64)
    if sigma is None:
        return X, None
    sigma = np.array(sigma, dtype=np.float64)
    if len(sigma.shape) and len(sigma) == len(X):
        unknown = ~(np.isfinite(sigma) & (sigma > 0))
        X[unknown], sigma[unknown] = np.nan, 1.0
    return X, sigma


def _of_present(estimator, X, options):
    """Options with infinite noise levels where X has no measurement: repeats have none there."""
    gaps = np.isnan(X)
    level = options.get("sigma", getattr(core(estimator), "sigma_", None))
    if level is None or not gaps.any():
        return options
    level = np.asarray(level)
    level = level[:, None] if level.ndim == 1 else level
    return options | {"sigma": np.where(gaps, np.inf, level)}
