"""One scan of a cohort: its estimator, its noise level, its maps, and its line of the report."""

import os
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
from sklearn.base import clone

from .._warnings import quiet
from ..estimators import MLEEstimator, core, refuse_to_lose_sigma, signal_model_of, takes
from ._air import compare_with_air
from ._cohort_table import failure, report_line
from ._derivatives import finished_maps, read_map, voxel_counts, write_maps
from ._estimators import describe_run
from ._masks import sample_voxels
from ._names import MapFiles, derivative_description
from ._nifti import read_volume
from ._open import open_scan
from ._predict import estimate_scan
from ._protocols import estimator_for
from ._workers import on_workers

LEARN = "learn"  # noise level of a scan that its voxels tell
_SEED = 0  # of the voxels that tell it: the same call on the same scan gives the same maps


def predict_scan(estimators, scan, *, return_std, chunk_size, overwrite, room=None):
    """Write the maps of one scan.

    Parameters
    ----------
    estimators : list of fitted estimators
    scan : Bunch
        Its ``image``, ``mask``, ``sigma``, ``out_dir``, ``prefix`` and ``description``.
    return_std, chunk_size, overwrite
        Same as in `predict_cohort`.
    room : int, default=None
        Number of slabs in flight, on Dask only.

    Returns
    -------
    Bunch
        Line of the report.
    """
    try:
        estimator = estimator_for(estimators, open_scan(scan.image), scan.sigma)
        method = scan.description or type(core(estimator)).__name__.lower()
        description = derivative_description(method, scan.image)
        files = MapFiles(scan.out_dir, scan.prefix, signal_model_of(estimator), description)
        if not overwrite and (row := _finished(estimator, scan, files, return_std)):
            return row
        # Warnings about voxels stay silent: the report has the counts of every status.
        with quiet(), _runner(room) as run:
            opened = open_scan(
                scan.image,
                scan.mask,
                None if scan.sigma == LEARN else scan.sigma,
                n_expected=getattr(estimator, "n_features_in_", None),
            )
            sigma, about = scan.sigma, {}
            if scan.sigma == LEARN:
                sigma, about = _learn(estimator, opened)
                opened = replace(opened, sigma=sigma)
            maps = estimate_scan(
                estimator, opened, run, return_std=return_std, chunk_size=chunk_size
            )
        # Finished maps of another run are an error above, unless `overwrite` is set.
        paths = write_maps(
            maps, scan.out_dir, estimator, prefix=scan.prefix, description=description,
            sigma=sigma, mask=scan.mask, sources=_sources(scan), about=about, overwrite=True,
        )  # fmt: skip
        medians = _medians({name: read_volume(maps[name]) for name in files.names()})
    except Exception as error:  # any error of one scan becomes its line of the report
        return failure(scan, error)
    level = getattr(core(estimator), "sigma_", None) if sigma is None else sigma
    level = level.tolist() if isinstance(level, np.ndarray) else level
    return report_line(scan, "done", estimator, paths, voxel_counts(maps), level, medians)


def _learn(estimator, opened):
    """Noise level of a scan by maximum likelihood, and what its sidecars say of it.

    Both are None and empty for an estimator that has no use for a noise level.
    """
    refuse_to_lose_sigma(estimator)
    if not takes(estimator, "sigma"):
        return None, {}
    inner = core(estimator)
    if isinstance(inner, MLEEstimator):
        mle = clone(inner).set_params(sigma=None)
    else:
        mle = MLEEstimator(signal_model_of(estimator), noise=inner.noise)
    mle.fit(sample_voxels(opened, random_state=_SEED))
    error = float(mle.sigma_error_)
    about = {"SigmaLearnt": True, "SigmaStandardError": error if np.isfinite(error) else None}
    about |= compare_with_air(opened, signal_model_of(estimator), mle.sigma_)
    return float(mle.sigma_), about


def _finished(estimator, scan, files, return_std):
    """Line of the report of a scan whose maps exist, made the same way; None without maps."""
    names = files.names()
    paths, story = finished_maps(files, names)
    if not paths:
        return None
    # The sidecar tells whether estimator, sigma and files were the same. Maps that were made
    # otherwise are an error, never replaced in silence.
    learnt = scan.sigma == LEARN and takes(estimator, "sigma")
    sigma = story.get("Sigma") if learnt else None if scan.sigma == LEARN else scan.sigma
    expected = describe_run(estimator, sigma, _sources(scan), mask=scan.mask)
    if learnt:  # the level itself follows from the files, which are the same
        expected["SigmaLearnt"] = True
        del expected["SigmaStandardError"]
    if differ := sorted(key for key in expected if story.get(key) != expected[key]):
        raise FileExistsError(
            f"{paths[0]} was made with another {', '.join(differ)}; overwrite=True replaces it."
        )
    # The same run without maps of standard deviations is made again, with them.
    if return_std and not finished_maps(files, [f"{name}_std" for name in names])[0]:
        return None
    voxels = story["Voxels"]
    if not isinstance(voxels, dict):
        raise ValueError(f"The sidecar of {paths[0]} has no Voxels: overwrite=True replaces it.")
    medians = _medians({name: read_map(f"{files.stem(name)}.nii.gz") for name in names})
    return report_line(scan, "skipped", estimator, paths, voxels, story["Sigma"], medians)


def _medians(maps):
    """Median of the finite values of each map, by name; NaN if there are none."""
    finite = {name: values[np.isfinite(values)] for name, values in maps.items()}
    return {n: float(np.median(v)) if len(v) else np.nan for n, v in finite.items()}


def _sources(scan):
    """Files that the maps of a scan are made from."""
    images = scan.image if isinstance(scan.image, list) else [scan.image]
    return [*images, *(f for f in (scan.mask, scan.sigma) if isinstance(f, os.PathLike))]


@contextmanager
def _runner(room):
    """Function that estimates slabs: in this process, or on all workers of the Dask cluster."""
    if room is None:
        yield lambda function, first, arguments: (function(first, *given) for given in arguments)
        return
    from distributed import worker_client

    # A worker_client leaves the thread pool of its worker. Otherwise tasks that wait for their
    # slabs could occupy every thread, and no slab would ever run.
    with worker_client() as client:
        yield partial(on_workers, client, room=room)
