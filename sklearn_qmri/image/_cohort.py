"""Maps of many scans: each written where it was made, failures told and the rest kept."""

import csv
import os
import warnings
from functools import partial
from pathlib import Path

from joblib import Parallel, delayed
from sklearn.utils import Bunch
from tqdm import tqdm

from .._files import replacing
from .._validation import Status
from ._derivatives import (
    core,
    count_statuses,
    derivative_prefix,
    map_stems,
    write_dataset_description,
    write_maps,
)
from ._predict import predict_image, spread

_REPORT = "cohort.tsv"


def predict_cohort(
    estimator,
    images,
    masks,
    out_dir,
    *,
    sigma=None,
    return_std=False,
    description=None,
    chunk_size=65536,
    n_jobs=None,
    client=None,
    overwrite=False,
    verbose=0,
):
    """Parameter maps of many scans, written to a folder of BIDS derivatives.

    Maps lie under `out_dir` as their scans lie under the folder that these have in common. A scan
    that fails is reported and stops no other; a scan that has its maps already is left alone, so
    that the same call goes on after an interruption. ``cohort.tsv`` in `out_dir` has a line for
    each.

    Parameters
    ----------
    estimator : fitted estimator
        As of `predict_image`.
    images : sequence
        One path per scan, or a list of paths where a scan is one image per measurement.
    masks : sequence of path-like or None
        One per scan, or None: all voxels of all scans.
    out_dir : path-like
        Made if it is not there.
    sigma : float or sequence, default=None
        Noise level: one for all, or a number or the path of a map for each scan.
    return_std : bool, default=False
        Also maps of standard deviations.
    description : str, default=None
        Letters and digits in the names of the maps. None: the estimator's class, lower case.
    chunk_size : int, default=65536
        As of `predict_image`.
    n_jobs : int, default=None
        Number of scans at once, each in a process.
    client : dask.distributed.Client, default=None
        Spread the slabs of all scans over its workers instead, which read scans and write maps
        themselves, so that they must see the same folders. What a worker had in hand when it died
        is done by another.
    overwrite : bool, default=False
        Make maps anew where there are some.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    list of Bunch
        One per scan: ``image``, ``outcome`` (``"done"``, ``"skipped"`` or ``"failed"``), ``maps``
        (paths), ``voxels`` (number of each status, by name) and ``reason`` (of a failure).

    Raises
    ------
    ValueError
        If numbers of images, masks and sigmas differ, or the maps of two scans would have the same
        name.
    OSError
        If `out_dir` cannot be written to.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.image import predict_cohort, write_nifti
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> signals = model.simulate([[100, 1.0]]).reshape(1, 1, 1, 3)
    >>> mle = MLEEstimator(model, sigma=1.0).fit(signals.reshape(1, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scans = [pathlib.Path(folder) / f"sub-0{n}_dwi.nii.gz" for n in (1, 2)]
    ...     for scan in scans:
    ...         write_nifti(scan, signals, np.eye(4))
    ...     report = predict_cohort(mle, scans, None, pathlib.Path(folder) / "maps")
    >>> [(row.outcome, row.voxels["OK"]) for row in report]
    [('done', 1), ('done', 1)]
    """
    if description is None:
        description = type(core(estimator)).__name__.lower()
    scans = _plan(images, masks, sigma, Path(out_dir), description)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    write_dataset_description(out_dir)
    work = partial(
        _predict_scan,
        return_std=return_std,
        description=description,
        chunk_size=chunk_size,
        overwrite=overwrite,
        on_dask=client is not None,
    )
    arguments = [(estimator, scan) for scan in scans]
    if client is None:
        jobs = (delayed(work)(*given) for given in arguments)
        rows = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs")(jobs)
    else:
        futures = spread(client, work, arguments)
        rows = (_outcome(f, scan) for f, scan in zip(futures, scans, strict=True))
    report = list(tqdm(rows, total=len(scans), unit=" scans", disable=not verbose))
    _write_report(report, Path(out_dir) / _REPORT)
    failed = [row for row in report if row.outcome == "failed"]
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(report)} scans failed, the first for: {failed[0].reason} "
            f"All are in {Path(out_dir) / _REPORT}.",
            stacklevel=2,
        )
    return report


def _plan(images, masks, sigma, out_dir, description):
    """What each scan is made of and where its maps go; all that can be wrong at once is told."""
    images = list(images)
    if not images:
        raise ValueError("images expects at least one scan, got none.")
    given = {"masks": masks, "sigma": sigma}
    for name, values in given.items():
        if not hasattr(values, "__len__"):
            given[name] = [values] * len(images)
        elif isinstance(values, (str, os.PathLike)) or len(values) != len(images):
            raise ValueError(f"{name} expects one for each of {len(images)} scans, got {values!r}.")
    firsts = [Path(i[0] if isinstance(i, (list, tuple)) else i).absolute() for i in images]
    common = os.path.commonpath([path.parent for path in firsts])
    scans, owners = [], {}
    for image, first, mask, level in zip(images, firsts, *given.values(), strict=True):
        folder, prefix = out_dir / first.parent.relative_to(common), derivative_prefix(image)
        (stem,) = map_stems([""], folder, prefix, description).values()
        if stem in owners:
            raise ValueError(f"The maps of {owners[stem]} and {image} would have the same names.")
        owners[stem] = image
        scans.append(Bunch(image=image, mask=mask, sigma=level, out_dir=folder, prefix=prefix))
    return scans


def _predict_scan(estimator, scan, *, return_std, description, chunk_size, overwrite, on_dask):
    """Maps of one scan, written; its line of the report."""
    names = core(estimator).signal_model_.parameter_names
    stems = map_stems(names, scan.out_dir, scan.prefix, description)
    if not overwrite and all(Path(f"{stem}.json").exists() for stem in stems.values()):
        return Bunch(image=scan.image, outcome="skipped", maps=[], voxels={}, reason="")
    estimate = partial(
        predict_image, estimator, scan.image, scan.mask,
        sigma=scan.sigma, return_std=return_std, chunk_size=chunk_size,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the report counts voxels
            maps = _on_all_workers(estimate) if on_dask else estimate()
        paths = write_maps(
            maps, scan.out_dir, estimator, prefix=scan.prefix, description=description,
            sigma=scan.sigma if isinstance(scan.sigma, (int, float)) else None,
            sources=scan.image if isinstance(scan.image, (list, tuple)) else [scan.image],
            overwrite=True,
        )  # fmt: skip
    except Exception as error:  # whatever is wrong with one scan, the others go on
        return _failure(scan, error)
    voxels = count_statuses(maps)
    return Bunch(image=scan.image, outcome="done", maps=paths, voxels=voxels, reason="")


def _on_all_workers(estimate):
    """Let the worker that this runs on hand its slabs to all workers."""
    from distributed import worker_client

    with worker_client() as client:
        return estimate(client=client)


def _outcome(future, scan):
    """Line of the report of a scan, also where the workers that had it kept dying."""
    try:
        return future.result()
    except Exception as error:
        return _failure(scan, error)


def _failure(scan, error):
    reason = f"{type(error).__name__}: {error}"
    return Bunch(image=scan.image, outcome="failed", maps=[], voxels={}, reason=reason)


def _write_report(report, path):
    statuses = [code.name for code in Status]
    with replacing(path) as scratch, scratch.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["image", "outcome", *(s.lower() for s in statuses), "reason"])
        for row in report:
            counts = (row.voxels.get(status, "") for status in statuses)
            reason = " ".join(row.reason.split())
            writer.writerow([row.image, row.outcome, *counts, reason])
