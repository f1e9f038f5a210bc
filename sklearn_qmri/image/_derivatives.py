"""Maps as files, with sidecars that describe how they were made."""

import glob
import json
from numbers import Real
from pathlib import Path

from .._files import replacing
from .._version import __version__, library_versions
from ..status import Status, count_statuses
from ._estimators import describe, signal_model_of
from ._nifti import like, load_nifti, read_volume, stem_of
from ._sidecar import read_sidecar
from ._units import factor_to_memory, unit_in_files

_BIDS_VERSION = "1.10.0"
_GENERATED_BY = [{"Name": "sklearn_qmri", "Version": __version__}]


def write_maps(
    maps, out_dir, estimator, *, prefix, description, sigma=None, fixed=None, sources=(),
    overwrite=False,
):  # fmt: skip
    """Write maps of `predict_image` and their JSON sidecars.

    Names follow BIDS derivatives, ``<prefix>_desc-<description>_<parameter>map.nii.gz``, without
    underscores within the parts. Values are in the units of BIDS: times in s, diffusivities in
    mm^2/s, rates in Hz; `read_map` converts them back. Each sidecar holds the map's unit, the
    method, signal model, noise, sigma, alpha, weight of the bias and seed of the estimator,
    versions, and the number of voxels with each status.

    Parameters
    ----------
    maps : dict of {str: nibabel image}
        Result of `predict_image`.
    out_dir : path-like
        Folder for the maps. It is made if it does not exist.
    estimator : fitted estimator
        Estimator that the maps were made with.
    prefix : str
        Start of the names, e.g. ``"sub-01"``, as `derivative_prefix` makes it.
    description : str
        Letters and digits, e.g. ``"mle"``.
    sigma : float or path-like, default=None
        Noise level that `predict_image` was given, or the file of its map. None: the estimator's.
    fixed : dict of {str: float or path-like}, default=None
        Known parameters that `predict_image` was given, or the files of their maps.
    sources : sequence of path-like, default=()
        Files that the maps were made from.
    overwrite : bool, default=False
        Replace existing maps with this prefix and description. Those that are not among the new
        maps are removed.

    Returns
    -------
    list of Path
        Paths of the maps.

    Raises
    ------
    FileExistsError
        If such a map exists already, unless `overwrite`; nothing is written then.
    ValueError
        If the description has other characters than letters and digits.
    OSError
        If the folder cannot be written to; no partial file is left.

    Examples
    --------
    >>> import nibabel, tempfile
    >>> import numpy as np
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.image import predict_image, write_maps
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> signals = model.simulate([[100, 1.0]]).reshape(1, 1, 1, 3)
    >>> mle = MLEEstimator(model, sigma=1.0).fit(signals.reshape(1, 3))
    >>> maps = predict_image(mle, nibabel.Nifti1Image(signals, np.eye(4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = write_maps(maps, folder, mle, prefix="sub-01", description="mle")
    >>> paths[1].name
    'sub-01_desc-mle_Dmap.nii.gz'
    """
    out_dir, stems = Path(out_dir), map_stems(maps, out_dir, prefix, description)
    present = present_maps(out_dir, prefix, description)
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already.")
    texts = _sidecars(maps, estimator, sigma, fixed, sources)
    out_dir.mkdir(parents=True, exist_ok=True)
    # A run counts as finished if its sidecars exist. So they are the first to go and the last to
    # come: a kill at any moment leaves maps that a cohort makes again.
    for path in present:
        _sidecar(path).unlink(missing_ok=True)
    units = _units(estimator)
    paths = [
        _write_map(_converted(image, units.get(name)), f"{stems[name]}.nii.gz")
        for name, image in maps.items()
    ]
    for path in set(present) - set(paths):
        path.unlink()
    for name in reversed(stems):  # those of the parameters, which `finished_maps` asks for, last
        _write_text(f"{stems[name]}.json", texts[name])
    return paths


def read_map(path):
    """Read a map that `write_maps` has written, in the units of this package.

    Parameters
    ----------
    path : path-like
        File of the map. The sidecar with the unit lies beside it.

    Returns
    -------
    ndarray of shape (n_x, n_y, n_z)
        Times in ms, diffusivities in um^2/ms, other values as in the file.

    Raises
    ------
    OSError
        If there is no such map or no sidecar.
    ValueError
        If a file is damaged, or the sidecar has no unit.

    Examples
    --------
    >>> import nibabel, tempfile
    >>> import numpy as np
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.image import predict_image, read_map, write_maps
    >>> from sklearn_qmri.signal_models import T2Decay
    >>> model = T2Decay([10, 40, 90])
    >>> signals = model.simulate([[100, 80.0]]).reshape(1, 1, 1, 3)
    >>> mle = MLEEstimator(model, sigma=1.0).fit(signals.reshape(1, 3))
    >>> maps = predict_image(mle, nibabel.Nifti1Image(signals, np.eye(4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = write_maps(maps, folder, mle, prefix="sub-01", description="mle")
    ...     in_file = nibabel.load(paths[1]).get_fdata().item()
    ...     T2 = read_map(paths[1]).item()
    >>> f"{in_file:.3f} s, {T2:.1f} ms"
    '0.080 s, 80.0 ms'
    """
    path = Path(path)
    story = read_sidecar(path.with_name(stem_of(path) + ".json"))
    if not isinstance(story.get("Units"), str):
        raise ValueError(f"The sidecar of {path} has no Units.")
    values = read_volume(load_nifti(path))
    factor = factor_to_memory(story["Units"])
    return values if factor == 1 else (values * factor).astype(values.dtype)


def derivative_prefix(image):
    """Start of the names of a scan's maps: the name of its file without ending and BIDS suffix.

    Parameters
    ----------
    image : path-like, or list of path-like
        File of the scan. For several files, the BIDS entities that all of them have count.

    Returns
    -------
    str
        Entities such as ``sub-01_ses-2``. A name that does not follow BIDS is kept.

    Examples
    --------
    >>> from sklearn_qmri.image import derivative_prefix
    >>> derivative_prefix("sub-01_ses-2_dwi.nii.gz")
    'sub-01_ses-2'
    >>> derivative_prefix(["sub-01_echo-1_MESE.nii", "sub-01_echo-2_MESE.nii"])
    'sub-01'
    >>> derivative_prefix("dwi_corrected.nii.gz")
    'dwi_corrected'
    """
    paths = image if isinstance(image, (list, tuple)) else [image]
    stems = [stem_of(Path(path)) for path in paths]
    parts = [stem.split("_") for stem in stems]
    entities = [p for p in parts[0] if "-" in p and all(p in others for others in parts)]
    return "_".join(entities) if parts[0][0].startswith("sub-") and entities else stems[0]


def map_stems(names, out_dir, prefix, description):
    """Paths of maps by name, without their ending."""
    if not description.isalnum():
        raise ValueError(f"description expects letters and digits, got {description!r}.")
    start = Path(out_dir) / f"{prefix}_desc-{description}"
    return {name: Path(f"{start}_{name.replace('_', '')}map") for name in names}


def present_maps(out_dir, prefix, description):
    """Existing maps of any parameter."""
    (stem,) = map_stems(["*"], "", glob.escape(prefix), description).values()
    return sorted(Path(out_dir).glob(f"{stem}.nii.gz"))


def finished_maps(names, out_dir, prefix, description):
    """Maps of a finished run, and a sidecar. `names` are those of the parameters.

    The sidecars of the parameters are written last: if one is missing, the run is not finished.
    """
    stems = map_stems(names, out_dir, prefix, description)
    sidecars = [Path(f"{stem}.json") for stem in stems.values()]
    if not all(path.exists() for path in sidecars):
        return [], None
    return present_maps(out_dir, prefix, description), read_sidecar(sidecars[0])


def describe_run(estimator, sigma, sources, fixed=None):
    """Fields of a sidecar that determine the values of the maps."""
    story = describe(estimator) | {"Sources": [str(source) for source in sources]}
    if sigma is not None:
        story["Sigma"] = float(sigma) if isinstance(sigma, Real) else str(sigma)
    if fixed:
        story["Fixed"] = {n: v if isinstance(v, Real) else str(v) for n, v in fixed.items()}
    # Through JSON and back, so that it compares equal to a sidecar that was read from disk.
    return json.loads(json.dumps(story, default=repr))


def write_dataset_description(out_dir):
    """Write the description that BIDS requires of a folder of derivatives, unless it exists."""
    path = Path(out_dir) / "dataset_description.json"
    if not path.exists():
        description = {
            "Name": "Quantitative maps",
            "BIDSVersion": _BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": _GENERATED_BY,
        }
        _write_text(path, json.dumps(description, indent=1))


def voxel_counts(maps):
    """Number of voxels of each status, by name; empty if there is no map of the status."""
    return count_statuses(read_volume(maps["status"])) if "status" in maps else {}


def _sidecars(maps, estimator, sigma, fixed, sources):
    """Text of each map's sidecar."""
    units = _units(estimator)
    levels = {"-1": "outside the mask"} | {str(code.value): code.name for code in Status}
    names = signal_model_of(estimator).parameter_names
    bits = {str(2**j): f"{name} is on a bound" for j, name in enumerate(names)}
    of_one = {"status": {"Levels": levels}, "at_bound": {"Bits": bits}}
    common = {
        "GeneratedBy": _GENERATED_BY,
        "Libraries": library_versions(),
        **describe_run(estimator, sigma, sources, fixed),
        "Voxels": voxel_counts(maps),
        "Use": "research only",
    }
    return {
        name: json.dumps(
            {"Parameter": name, "Units": unit_in_files(units.get(name, ""))[0]}
            | of_one.get(name, {})
            | common,
            indent=1,
        )
        for name in maps
    }


def _units(estimator):
    """Unit of each map in memory."""
    units = {p.name: p.unit for p in signal_model_of(estimator).parameters}
    return (
        units | {f"{name}_std": unit for name, unit in units.items()} | {"residual_rms": "signal"}
    )


def _converted(image, unit):
    """Map in the unit of files."""
    factor = unit_in_files(unit)[1]
    if factor == 1:
        return image
    values = read_volume(image)
    return like(image, (values * factor).astype(values.dtype))


def _sidecar(path):
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _write_map(image, path):
    with replacing(path) as scratch:
        image.to_filename(scratch)
    return Path(path)


def _write_text(path, text):
    with replacing(path) as scratch:
        scratch.write_text(text + "\n")
