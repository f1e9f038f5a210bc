"""Acquisitions: the settings of each measurement, read from the files beside an image."""

from pathlib import Path

import numpy as np

from .._arrays import as_floats
from .._warnings import warn
from ._nifti import like, read_volume, stem_of
from ._open import open_images
from ._scan import Scan
from ._sidecar import read_sidecar

# Names that `read_acquisition` may return; they are arguments of signal models.
MEASURED = (
    "b_values", "echo_times", "inversion_times", "flip_angles", "repetition_times",
    "repetition_time",
)  # fmt: skip
# BIDS fields with one value per measurement: the argument of signal models, and the factor from the
# unit of BIDS to that of signal models (seconds to milliseconds; angles are degrees in both).
_MEASURED = {
    "EchoTime": ("echo_times", 1e3),
    "InversionTime": ("inversion_times", 1e3),
    "FlipAngle": ("flip_angles", 1.0),
}
# Names of the repetition time in BIDS, the more specific first. After an inversion the time between
# preparations counts, never that between the excitations of a readout train.
_REPETITION = ("RepetitionTimeExcitation", "RepetitionTime")
_REPETITION_PREPARED = ("RepetitionTimePreparation", "RepetitionTime")


def read_b_values(path):
    """Read the b-values of an FSL ``.bval`` file, in s/mm^2.

    Parameters
    ----------
    path : path-like
        Numbers in a row or a column, separated by spaces or commas.

    Returns
    -------
    ndarray of shape (n_measurements,)
        Same numbers as in the file; repeats and jitter are kept.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If the file holds anything but numbers, or no number.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn_qmri.image import read_b_values
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "dwi.bval"
    ...     _ = path.write_text("0 10 10 800")
    ...     read_b_values(path)
    array([  0.,  10.,  10., 800.])
    """
    try:
        values = np.array(Path(path).read_text().replace(",", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path} is not a list of b-values: {error}") from error
    if len(values) == 0:
        raise ValueError(f"{path} is not a list of b-values: it has no number in it.")
    return values


def read_acquisition(image, *, b_values=None):
    """Acquisition of a scan from the files beside it, as arguments of signal models.

    The files are FSL's ``.bval`` and the JSON sidecar of BIDS, with the same name as the image. The
    fields of the sidecar are ``EchoTime``, ``InversionTime``, ``FlipAngle`` and the repetition time
    (``RepetitionTimeExcitation``, after an inversion ``RepetitionTimePreparation``, or else
    ``RepetitionTime``). Times are seconds in the sidecar and milliseconds in the result. A sidecar
    counts for its own image only: sidecars of parent folders are not inherited.

    Parameters
    ----------
    image : path-like, list of path-like, or Scan
        One image of four dimensions, or one image of three dimensions for each measurement, as in
        the file collections of BIDS (suffixes VFA, IRT1, MESE, MEGRE).
    b_values : array-like of shape (n_measurements,), default=None
        b-values from elsewhere. If they are given, no ``.bval`` file is read.

    Returns
    -------
    dict of {str: ndarray or float}
        Those of ``b_values``, ``echo_times``, ``inversion_times``, ``flip_angles`` and
        ``repetition_times`` that are known, with one value per measurement. ``repetition_time`` is
        there too if all measurements share it. A field that only some sidecars have is unknown, and
        a warning says so.

    Raises
    ------
    OSError
        If there is no such image.
    ValueError
        If a file is damaged, or has more or fewer values than the image has measurements.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import numpy as np
    >>> from sklearn_qmri.image import read_acquisition, write_nifti
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stems = [pathlib.Path(folder) / f"sub-01_echo-{n}_MESE" for n in (1, 2)]
    ...     for stem, time in zip(stems, (0.01, 0.05)):
    ...         write_nifti(f"{stem}.nii.gz", np.ones((2, 2, 1)), np.eye(4))
    ...         _ = stem.with_suffix(".json").write_text(json.dumps({"EchoTime": time}))
    ...     read_acquisition([f"{stem}.nii.gz" for stem in stems])
    {'echo_times': array([10., 50.])}
    """
    scan = image if isinstance(image, Scan) else Scan(open_images(image), None)
    paths, n = scan.paths, scan.n_measurements
    known = {} if b_values is None else {"b_values": np.asarray(b_values, dtype=np.float64)}
    # A .bval file lists the volumes of one image, so that it does not belong to a list of images.
    if not known and len(paths) == 1 and (bval := _beside(paths[0], ".bval")).is_file():
        known["b_values"] = read_b_values(bval)
        if len(known["b_values"]) != n:
            raise ValueError(
                f"{bval} has {len(known['b_values'])} b-values, but the scan {n} volumes."
            )
    sidecars = [read_sidecar(_beside(path, ".json"), missing={}) for path in paths]
    for field, (argument, unit) in _MEASURED.items():
        if _have(field, sidecars, paths):
            known[argument] = unit * _per_measurement(sidecars, field, n, paths[0].name)
    names = _REPETITION_PREPARED if "inversion_times" in known else _REPETITION
    for field in names:
        # Only the first field that all sidecars have counts: the two names may hold unlike times.
        if _have(field, sidecars, paths):
            times = 1e3 * _per_measurement(sidecars, field, n, paths[0].name)
            known["repetition_times"] = times
            # Models with a `repetition_time` take one number; several times leave it unknown.
            if (times == times[0]).all():
                known["repetition_time"] = float(times[0])
            break
    return known


def average_repeats(image, b_values, *, tolerance=0.0):
    """Means of the volumes that have the same b-value.

    A mean of magnitudes has less noise, which is no longer Rician: fit it with
    ``noise="gaussian"``. The bias that noise adds to small magnitudes stays in the mean, so that
    diffusivities come out too low at low signal. A fit of all volumes with Rician noise does not
    have this bias. Estimators assume the same noise in all measurements, which does not hold where
    the numbers of repeats differ.

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


def _beside(path, ending):
    """File of the same name with another ending."""
    return path.with_name(stem_of(path) + ending)


def _have(field, sidecars, paths):
    """Whether all sidecars have a field; warns if only some of them have it."""
    having = [field in sidecar for sidecar in sidecars]
    if any(having) and not all(having):
        without = paths[having.index(False)]
        warn(
            f"The sidecar of {without} has no {field}, but others of the scan have: it counts as "
            "unknown."
        )
    return all(having)


def _per_measurement(sidecars, field, n, name):
    """One number per measurement, from one value for each image or for all."""
    entries = [sidecar[field] for sidecar in sidecars]
    try:
        values = np.concatenate([np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in entries])
    # JSON allows integers of any length, which overflow a float.
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{field} of {name} expects numbers, got {_short(entries)}.") from error
    if values.ndim != 1:
        raise ValueError(f"{field} of {name} expects one number per volume, got {_short(entries)}.")
    # Python's JSON parser accepts NaN and Infinity, which are not in the standard.
    if not np.isfinite(values).all():
        raise ValueError(f"{field} of {name} expects finite numbers, got {_short(entries)}.")
    if len(values) not in (1, n):
        raise ValueError(f"{field} of {name} has {len(values)} values, but the scan {n} volumes.")
    # One value holds for all volumes. The copy makes the broadcast array writable.
    return np.broadcast_to(values, n).copy()


def _short(value):
    """The repr of a value, clipped if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
