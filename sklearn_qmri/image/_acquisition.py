"""What was measured: acquisitions from the files that come with images."""

import json
from pathlib import Path

import numpy as np

from .._arrays import as_floats
from .._warnings import warn
from ._nifti import like, read_volume, stem_of
from ._open import open_images
from ._scan import Scan

# All that `read_acquisition` may know, by the arguments of signal models.
MEASURED = (
    "b_values", "echo_times", "inversion_times", "flip_angles", "repetition_times",
    "repetition_time",
)  # fmt: skip
# BIDS fields that are one value per measurement: the argument of signal models, and its unit in
# that of the field (BIDS has seconds, signal models milliseconds).
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
    """Read b-values of an FSL ``.bval`` file, in s/mm^2.

    Parameters
    ----------
    path : path-like
        Numbers in a row or a column, with spaces or commas between.

    Returns
    -------
    ndarray of shape (n_measurements,)
        As they stand there: repeats and jitter stay.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If the file holds anything but numbers, or none.

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

    Those are FSL's ``.bval`` and the JSON sidecar of BIDS, of the same name as the image. Of the
    sidecar: ``EchoTime``, ``InversionTime``, ``FlipAngle`` and the repetition time
    (``RepetitionTimeExcitation``, after an inversion ``RepetitionTimePreparation``, or else
    ``RepetitionTime``), in seconds there and in milliseconds here. A sidecar counts for its own
    image only; those of folders above are not looked for.

    Parameters
    ----------
    image : path-like, list of path-like, or Scan
        One image of four dimensions, or one of three for each measurement, as in the file
        collections of BIDS (suffixes VFA, IRT1, MESE, MEGRE).
    b_values : array-like of shape (n_measurements,), default=None
        b-values that are known otherwise; a ``.bval`` file is not read then.

    Returns
    -------
    dict of {str: ndarray or float}
        What of ``b_values``, ``echo_times``, ``inversion_times``, ``flip_angles`` and
        ``repetition_times`` is known, one value per measurement, and ``repetition_time`` where
        it is the same in all. A field that some sidecars lack is unknown, and a warning says so.

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
    if not known and len(paths) == 1 and (bval := _beside(paths[0], ".bval")).is_file():
        known["b_values"] = read_b_values(bval)
        if len(known["b_values"]) != n:
            raise ValueError(
                f"{bval} has {len(known['b_values'])} b-values, but the scan {n} volumes."
            )
    sidecars = [_read_sidecar(_beside(path, ".json")) for path in paths]
    for field, (argument, unit) in _MEASURED.items():
        if _have(field, sidecars, paths):
            known[argument] = unit * _per_measurement(sidecars, field, n, paths[0].name)
    names = _REPETITION_PREPARED if "inversion_times" in known else _REPETITION
    for field in names:
        if _have(field, sidecars, paths):
            times = 1e3 * _per_measurement(sidecars, field, n, paths[0].name)
            known["repetition_times"] = times
            if (times == times[0]).all():
                known["repetition_time"] = float(times[0])
            break
    return known


def average_repeats(image, b_values, *, tolerance=0.0):
    """Means of the volumes that have the same b-value.

    A mean of magnitudes has less noise, and it is no longer Rician: fit it with
    ``noise="gaussian"``. What noise has added to small magnitudes stays in the mean, so that at low
    signal diffusivities come out too low; fitting all volumes with Rician noise has neither
    problem. Estimators take the noise of all measurements to be equal, which it no longer is where
    numbers of repeats differ.

    Parameters
    ----------
    image : path-like or nibabel image
        Of four dimensions; read slice by slice, while the means are held in memory.
    b_values : array-like of shape (n_measurements,)
        s/mm^2.
    tolerance : float, default=0.0
        Neighbours in ascending order that differ by no more are the same, s/mm^2. Not negative.

    Returns
    -------
    means : nibabel image
        Float32, one volume for each of the b-values.
    b_values : ndarray of shape (n_b_values,)
        Ascending; means of those taken together.
    counts : ndarray of shape (n_b_values,)
        Volumes in each mean.

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
    order = np.argsort(b, kind="stable")
    group = np.empty(len(b), dtype=int)
    group[order] = np.cumsum(np.diff(b[order], prepend=b[order[0]]) > tolerance)
    counts = np.bincount(group)
    means = np.empty((*image.shape[:3], len(counts)), dtype=np.float32)
    for z in range(image.shape[2]):
        signals = read_volume(image, slice(z, z + 1))
        for k in range(len(counts)):
            means[:, :, z : z + 1, k] = signals[..., group == k].mean(axis=-1)
    return like(image, means), np.bincount(group, b) / counts, counts


def _beside(path, ending):
    """File of the same name with another ending."""
    return path.with_name(stem_of(path) + ending)


def _read_sidecar(path):
    """Fields of a JSON sidecar; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        fields = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # of nesting without end
        raise ValueError(f"{path} is not a JSON sidecar: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON sidecar: it holds no object.")
    return fields


def _have(field, sidecars, paths):
    """Whether all sidecars have a field; one that only some have is unknown, and warned of."""
    having = [field in sidecar for sidecar in sidecars]
    if any(having) and not all(having):
        without = paths[having.index(False)]
        warn(
            f"The sidecar of {without} has no {field}, as others of the scan have: it counts as "
            "unknown."
        )
    return all(having)


def _per_measurement(sidecars, field, n, name):
    """One number per measurement, of one value for each image or for all."""
    given = [sidecar[field] for sidecar in sidecars]
    try:
        values = np.concatenate([np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in given])
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{field} of {name} expects numbers, got {_short(given)}.") from error
    if values.ndim != 1:
        raise ValueError(f"{field} of {name} expects one number per volume, got {_short(given)}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{field} of {name} expects finite numbers, got {_short(given)}.")
    if len(values) not in (1, n):
        raise ValueError(f"{field} of {name} has {len(values)} values, but the scan {n} volumes.")
    return np.broadcast_to(values, n).copy()


def _short(value):
    """Its repr, or the beginning of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
