"""Maps of many scans; a failed scan is reported and does not stop the others."""

import os
from functools import partial
from numbers import Real
from pathlib import Path

from sklearn.utils import Bunch
from tqdm import tqdm

from ._cohort_scan import LEARN, predict_scan
from ._cohort_table import failure, warn_of_failures, write_table
from ._derivatives import write_dataset_description
from ._names import derivative_description, derivative_prefix
from ._workers import on_own_processes, spread

_REPORT = "cohort.tsv"  # in the output folder, rewritten by every call


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

    Of several estimators, each scan gets the one whose protocol the files beside it show. A scan
    with another protocol is estimated with its own: by a clone of the first estimator that needs no
    training, and with the noise level of that estimator unless `sigma` says otherwise.

    The folders of the maps below `out_dir` repeat those of the scans below their common folder. A
    scan that fails is reported and does not stop the others. A scan whose maps exist already, made
    the same way, is skipped, so that the same call continues after an interruption. ``cohort.tsv``
    in `out_dir` has a line for each scan: outcome, number of voxels with each status, noise level,
    median of each parameter, signal model, protocol, and the reason of a failure.

    Parameters
    ----------
    estimator : fitted estimator, or list of them
        Same as in `predict_image`; a list has one for each protocol.
    images : sequence
        One path per scan, or a list of paths where a scan is one image per measurement.
    masks : sequence of path-like or None
        One mask per scan. None: all voxels of all scans.
    out_dir : path-like
        Folder for maps and report. It is made if it does not exist.
    sigma : float, "learn" or sequence, default=None
        Noise level: one for all, or a number or the path of a map for each scan. "learn": that of
        each scan is learnt from some of its voxels, by maximum likelihood. None: the estimator's
        own, which is right if all scans have the noise and the scale of the scan that it was fitted
        to.
    return_std : bool, default=False
        Also write maps of standard deviations.
    description : str, default=None
        Letters and digits in the names of the maps. None: the estimator's class, lower case. The
        BIDS suffix of a scan is added unless it is ``dwi``.
    chunk_size : int, default=65536
        Same as in `predict_image`.
    n_jobs : int, default=None
        Number of scans at once, each in a process. If a process dies (for lack of memory, for
        example), its scan is reported as failed.
    client : dask.distributed.Client, default=None
        Spread the slabs of all scans over the workers of this client instead. Workers read scans
        and write maps themselves, so that they must see the same folders. If a worker dies, another
        repeats its work.
    overwrite : bool, default=False
        Replace maps that exist already.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    list of Bunch
        One entry per scan: ``image``, ``outcome`` (``"done"``, ``"skipped"`` or ``"failed"``),
        ``maps`` (paths), ``voxels`` (number of each status, by name), ``sigma`` (a number, or the
        path of a map), ``medians`` (by parameter name), ``model`` (name of the signal model),
        ``protocol`` (acquisition by argument of the signal model) and ``reason`` (of a failure).

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
    scans = _plan(images, masks, sigma, Path(out_dir), description)
    estimators = list(estimator) if isinstance(estimator, (list, tuple)) else [estimator]
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    write_dataset_description(out_dir)
    work = partial(predict_scan, return_std=return_std, chunk_size=chunk_size, overwrite=overwrite)
    if client is None:
        rows = on_own_processes(n_jobs, partial(work, estimators), scans)
        rows = (
            failure(scan, row) if isinstance(row, Exception) else row
            for scan, row in zip(scans, rows, strict=True)
        )
    else:
        # As many scans as threads are in flight. Together they submit about twice as many slabs as
        # there are threads, so that workers stay busy while few slabs are in memory.
        room = sum(client.nthreads().values())
        work = partial(work, room=max(2, 2 * room // len(scans)))
        futures = spread(client, work, estimators, ((scan,) for scan in scans), room)
        rows = (_outcome(f, scan) for f, scan in zip(futures, scans, strict=True))
    report = []
    try:
        for row in tqdm(rows, total=len(scans), unit=" scans", disable=not verbose):
            report.append(row)
    finally:
        # Also after an interruption: the report then has the scans that are finished.
        write_table(report, Path(out_dir) / _REPORT)
    warn_of_failures(report, Path(out_dir) / _REPORT)
    return report


def _plan(images, masks, sigma, out_dir, description):
    """Files and output folder of each scan; errors in the arguments are raised before any work."""
    if isinstance(images, (str, os.PathLike)) or not len(images):
        raise ValueError(f"images expects a sequence of at least one scan, got {images!r}.")
    if description is not None and not str(description).isalnum():
        raise ValueError(f"description expects letters and digits, got {description!r}.")
    per_scan = {"masks": masks, "sigma": sigma}
    for name, values in per_scan.items():
        # Compared as a text: an array of levels has no truth value.
        if values is None or isinstance(values, Real) or (name == "sigma" and str(values) == LEARN):
            per_scan[name] = [values] * len(images)
        elif isinstance(values, (str, os.PathLike)) or len(values) != len(images):
            raise ValueError(f"{name} expects one for each of {len(images)} scans, got {values!r}.")
    images = [_absolute(image) for image in images]
    firsts = [Path(image[0] if isinstance(image, list) else image) for image in images]
    common = os.path.commonpath([path.parent for path in firsts])
    scans, owners = [], {}
    for image, first, mask, noise_level in zip(images, firsts, *per_scan.values(), strict=True):
        folder = _absolute(out_dir) / first.parent.relative_to(common)
        # Without a description, the class of the estimator that a scan gets is one.
        names = derivative_prefix(image), derivative_description(description or "", image)
        if (folder, *names) in owners:
            raise ValueError(
                f"The maps of {owners[folder, *names]} and {image} would have the same names."
            )
        owners[folder, *names] = image
        scans.append(
            Bunch(
                image=image, mask=_absolute(mask), out_dir=folder,
                sigma=noise_level if noise_level == LEARN else _absolute(noise_level),
                prefix=names[0], description=description,
            )
        )  # fmt: skip
    return scans


def _absolute(given):
    """Absolute paths, which mean the same in every process; other values unchanged."""
    if isinstance(given, (list, tuple)):
        return [_absolute(each) for each in given]
    return Path(os.path.abspath(given)) if isinstance(given, (str, os.PathLike)) else given


def _outcome(future, scan):
    """Line of the report of a scan, also if every worker that had it died."""
    try:
        return future.result()
    except Exception as error:
        return failure(scan, error)
