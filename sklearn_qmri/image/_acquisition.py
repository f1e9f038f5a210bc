"""Acquisitions: the settings of each measurement, read from the files beside an image."""

from pathlib import Path

import numpy as np

from .._warnings import warn
from ._open import open_images
from ._scan import Scan
from ._sidecar import applicable_files, read_inherited

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
_B_VALUE = "DiffusionBValue"  # attribute (0018,9087) of DICOM, s/mm^2
# Acquisitions count as the same within 1 %, b-values also within 1 s/mm^2, since a relative
# difference says nothing near 0. Scanners report values that differ by rounding between scans.
_SAME = 0.01
_SLACK = {"b_values": 1.0}


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
    ``RepetitionTime``). Times are seconds in the sidecar and milliseconds in the result. Files of
    BIDS are inherited: one that has fewer entities in its name, also in a folder above within the
    dataset, counts for the image where a more specific one says nothing else. b-values are also
    read from ``DiffusionBValue``, the field that DICOM has for them.

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
        If a file is damaged, has more or fewer values than the image has measurements, or the
        ``.bval`` file and the sidecars disagree.

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
    sidecars = [read_inherited(path) for path in paths]
    if b_values is None and (found := _read_b_values(paths, sidecars, n)) is not None:
        known["b_values"] = found
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


def is_same(name, one, other):
    """Whether two values of an argument differ by no more than scans of one protocol do."""
    one, other = (np.asarray(value, dtype=np.float64) for value in (one, other))
    alike = one.shape == other.shape
    return alike and np.allclose(one, other, rtol=_SAME, atol=_SLACK.get(name, 0.0))


def _read_b_values(paths, sidecars, n):
    """b-values of a scan from its .bval file or its sidecars, which must not disagree; or None."""
    told = None
    if _have(_B_VALUE, sidecars, paths):
        told = _per_measurement(sidecars, _B_VALUE, n, paths[0].name)
    # A .bval file lists the volumes of one image, so that it does not belong to a list of images.
    files = applicable_files(paths[0], ".bval") if len(paths) == 1 else []
    if not files:
        return told
    found = read_b_values(files[-1])
    if len(found) != n:
        raise ValueError(f"{files[-1]} has {len(found)} b-values, but the scan {n} volumes.")
    if told is not None and not is_same("b_values", found, told):
        raise ValueError(
            f"{files[-1]} has the b-values {_short(found.tolist())}, but {_B_VALUE} in the sidecar "
            f"of {paths[0].name} is {_short(told.tolist())}: correct one of them."
        )
    return found


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
