"""Maps as files, with sidecars that describe how they were made."""

import json
from pathlib import Path

import numpy as np

from .._files import replacing
from .._version import __version__, library_versions
from ..estimators import signal_model_of
from ..status import Status, count_statuses
from ._estimators import describe_run
from ._names import MapFiles
from ._nifti import like, load_nifti, read_volume, stem_of
from ._sidecar import read_sidecar
from ._units import factor_to_memory, unit_in_files

_OF_PARAMETERS = "std", "bias", "lower", "upper"  # maps with the unit of their parameter
_BIDS_VERSION = "1.10.0"
_GENERATED_BY = [{"Name": "sklearn_qmri", "Version": __version__}]
_SHOWN = (1, 99)  # percentiles of a map between which viewers show it at first
_DESCRIPTION_BYTES = 79  # of the text in a NIfTI header, which ends with a zero
# Codes of NIfTI for the meaning of values: an estimate of a parameter, and labels.
_ESTIMATE, _LABEL = "estimate", "label"


def write_maps(
    maps, out_dir, estimator, *, prefix, description, sigma=None, fixed=None, mask=None,
    sources=(), about=None, overwrite=False,
):  # fmt: skip
    """Write maps of `predict_image` and their JSON sidecars.

    Names follow BIDS derivatives: ``<prefix>_model-<model>_desc-<description>_T1map.nii.gz`` where
    BIDS has a suffix for the parameter, and else, after its draft for diffusion (BEP016),
    ``<prefix>_model-<model>_param-<name>_desc-<description>_dwimap.nii.gz``, without underscores
    within the parts (the suffix is ``map`` for signal models without b-values). Values are in the
    units of BIDS: times in s, diffusivities in mm^2/s, rates in 1/s, the myelin water fraction in
    per cent; `read_map` converts them back. Each sidecar holds the map's unit, the method, signal
    model, noise, sigma, alpha, weight of the bias and seed of the estimator, what it was trained
    on, versions, and the number of voxels with each status and with each parameter on a bound.

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
    mask : path-like, default=None
        File of the mask, or words about it, for the sidecars.
    sources : sequence of path-like, default=()
        Files that the maps were made from.
    about : dict, default=None
        Further fields of the sidecars, ready for JSON.
    overwrite : bool, default=False
        Replace existing maps of this prefix, signal model and description. Those that are not among
        the new maps are removed.

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
    'sub-01_model-ADC_param-D_desc-mle_dwimap.nii.gz'
    """
    files = MapFiles(Path(out_dir), prefix, signal_model_of(estimator), description)
    stems, present = {name: files.stem(name) for name in maps}, files.present()
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already.")
    story = describe_run(estimator, sigma, sources, fixed, mask) | (about or {})
    units = _units(files.signal_model)
    texts = _sidecars(maps, files.signal_model, units, story)
    files.folder.mkdir(parents=True, exist_ok=True)
    # A run counts as finished if its sidecars exist. So they are the first to go and the last to
    # come: a kill at any moment leaves maps that a cohort makes again.
    for path in present:
        _sidecar(path).unlink(missing_ok=True)
    paths = []
    for name, image in maps.items():
        unit, factor = units.get(name, ("", 1.0))
        text = f"{name}{f' ({unit})' if unit else ''}, {story['SignalModel']['Name']}"
        headed = _with_header(_scaled(image, factor), name, f"{text}, {story['Method']}")
        paths.append(_write_map(headed, f"{stems[name]}.nii.gz"))
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
    unit = story["Units"]
    factor = 1.0 if story.get("UnitsInMemory") == unit else factor_to_memory(unit)
    return values if factor == 1 else (values * factor).astype(values.dtype)


def finished_maps(files, names):
    """Maps of a finished run, and a sidecar. `names` are those of the parameters.

    The sidecars of the parameters are written last: if one is missing, the run is not finished.
    """
    sidecars = [Path(f"{files.stem(name)}.json") for name in names]
    if not all(path.exists() for path in sidecars):
        return [], None
    return files.present(), read_sidecar(sidecars[0])


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


def _sidecars(maps, signal_model, units, story):
    """Text of each map's sidecar."""
    levels = {"-1": "outside the mask"} | {str(code.value): code.name for code in Status}
    names = signal_model.parameter_names
    bits = {str(2**j): f"{name} is on a bound" for j, name in enumerate(names)}
    in_memory = {p.name: p.unit for p in signal_model.parameters}
    in_memory |= {f"{p}_{key}": in_memory[p] for p in names for key in _OF_PARAMETERS}
    of_one = {"status": {"Levels": levels}, "at_bound": {"Bits": bits}}
    common = {
        "GeneratedBy": _GENERATED_BY,
        "Libraries": library_versions(),
        **story,
        "Voxels": voxel_counts(maps),
        "AtBound": _bound_counts(maps, names),
        "Use": "research only",
    }
    return {
        name: json.dumps(
            {"Parameter": name, "Units": units.get(name, ("", 1.0))[0]}
            | ({"UnitsInMemory": in_memory[name]} if name in in_memory else {})
            | of_one.get(name, {})
            | common,
            indent=1,
        )
        for name in maps
    }


def _bound_counts(maps, names):
    """Number of voxels with each parameter on a bound; empty if there is no such map."""
    if "at_bound" not in maps:
        return {}
    bits = read_volume(maps["at_bound"])
    return {name: int(np.count_nonzero(bits & 2**j)) for j, name in enumerate(names)}


def _units(signal_model):
    """Unit in files of each map, and the factor from values in memory, by name."""
    units = {p.name: unit_in_files(p) for p in signal_model.parameters}
    units |= {f"{p}_{key}": units[p] for p in list(units) for key in _OF_PARAMETERS}
    return units | {"residual_rms": ("signal", 1.0)}


def _scaled(image, factor):
    """Map in the unit of files."""
    if factor == 1:
        return image
    values = read_volume(image)
    return like(image, (values * factor).astype(values.dtype))


def _with_header(image, name, text):
    """Map with what viewers show: a range of display, a description and the meaning of values."""
    values = read_volume(image)
    result = like(image, values)
    finite = values[np.isfinite(values)]
    labels = values.dtype.kind != "f"
    if len(finite):
        shown = (finite.min(), finite.max()) if labels else np.percentile(finite, _SHOWN)
        result.header["cal_min"], result.header["cal_max"] = shown
    result.header["descrip"] = text.encode("ascii", "replace")[:_DESCRIPTION_BYTES]
    result.header.set_intent(_LABEL if labels else _ESTIMATE, name=name[:15])
    return result


def _sidecar(path):
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _write_map(image, path):
    with replacing(path) as scratch:
        image.to_filename(scratch)
    return Path(path)


def _write_text(path, text):
    with replacing(path) as scratch:
        scratch.write_text(text + "\n")
