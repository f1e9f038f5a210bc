"""Maps as files, with sidecars that say how they came about."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .._files import replacing
from .._validation import Status
from .._version import __version__
from ._nifti import read_volume

_BIDS_VERSION = "1.10.0"
_LIBRARIES = ("numpy", "scikit-learn", "torch")  # what results may depend on


def write_maps(
    maps, out_dir, estimator, *, prefix, description, sigma=None, sources=(), overwrite=False
):
    """Write maps of `predict_image` and their JSON sidecars.

    Names follow BIDS derivatives, ``<prefix>_desc-<description>_<parameter>map.nii.gz``, without
    underscores within the parts. Each sidecar holds the map's unit and the method, signal model,
    noise, sigma, alpha and seed of the estimator, versions, and how many voxels failed, are on a
    bound or out of domain.

    Parameters
    ----------
    maps : dict of {str: nibabel image}
        As `predict_image` returns them.
    out_dir : path-like
        Made if it is not there.
    estimator : fitted estimator
        What they were made with.
    prefix : str
        E.g. ``"sub-01"``, as `derivative_prefix` makes it.
    description : str
        Letters and digits, e.g. ``"mle"``.
    sigma : float, default=None
        Noise level that `predict_image` was given; None: the estimator's own.
    sources : sequence of path-like, default=()
        Files that the maps were made from.
    overwrite : bool, default=False
        Replace maps that are there.

    Returns
    -------
    list of Path
        Of the maps.

    Raises
    ------
    FileExistsError
        If one is there already, unless `overwrite`; nothing is written then.
    ValueError
        If the description is not of letters and digits.
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
    stems = map_stems(maps, out_dir, prefix, description)
    refuse_to_overwrite(stems, overwrite)
    Path(out_dir).mkdir(parents=True, exist_ok=True)
    common = _describe(estimator, maps, sigma, sources)
    units = {p.name: p.unit for p in core(estimator).signal_model_.parameters}
    for name, image in maps.items():
        with replacing(f"{stems[name]}.nii.gz") as scratch:
            image.to_filename(scratch)
        sidecar = {"Parameter": name, "Units": units.get(name.removesuffix("_std"), "")} | common
        _write_json(f"{stems[name]}.json", sidecar)
    return [Path(f"{stem}.nii.gz") for stem in stems.values()]


def derivative_prefix(image):
    """What maps of a scan are called by: the name of its file without ending and BIDS suffix.

    Parameters
    ----------
    image : path-like, or list of path-like
        Of several files, what of their BIDS entities is common.

    Returns
    -------
    str
        Entities such as ``sub-01_ses-2``, or a name that is not of BIDS as it is.

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
    stems = [Path(path).name.removesuffix(".gz").removesuffix(".nii") for path in paths]
    parts = [stem.split("_") for stem in stems]
    entities = [p for p in parts[0] if "-" in p and all(p in others for others in parts)]
    return "_".join(entities) if parts[0][0].startswith("sub-") and entities else stems[0]


def map_stems(names, out_dir, prefix, description):
    """Paths of maps by name, without their ending."""
    if not description.isalnum():
        raise ValueError(f"description expects letters and digits, got {description!r}.")
    start = Path(out_dir) / f"{prefix}_desc-{description}"
    return {name: Path(f"{start}_{name.replace('_', '')}map") for name in names}


def refuse_to_overwrite(stems, overwrite):
    """FileExistsError for the first map that is there already, unless that is allowed."""
    paths = [Path(f"{stem}.nii.gz") for stem in stems.values()]
    present = [path for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already.")


def write_dataset_description(out_dir):
    """What BIDS asks of a folder of derivatives, unless it is there."""
    path = Path(out_dir) / "dataset_description.json"
    if not path.exists():
        description = {
            "Name": "Quantitative maps",
            "BIDSVersion": _BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "sklearn_qmri", "Version": __version__}],
        }
        _write_json(path, description)


def count_statuses(maps):
    """Number of voxels of each status, by its name; empty where there is no map of it."""
    if "status" not in maps:
        return {}
    status = read_volume(maps["status"])
    return {code.name: int(np.count_nonzero(status == code)) for code in Status}


def core(estimator):
    """The estimator with a signal model, that is or is inside of the one given."""
    while not hasattr(estimator, "signal_model_"):
        inner = getattr(estimator, "estimator_", getattr(estimator, "best_estimator_", None))
        if inner is None and not hasattr(estimator, "steps"):
            raise ValueError(f"{estimator!r} has no signal model.")
        estimator = estimator[-1] if inner is None else inner
    return estimator


def _describe(estimator, maps, sigma, sources):
    """What is common to all sidecars."""
    inner = core(estimator)
    model = inner.signal_model_
    alpha = getattr(inner, "alpha", None)
    seed = getattr(inner, "random_state", None)
    return {
        "GeneratedBy": [{"Name": "sklearn_qmri", "Version": __version__}],
        "Libraries": {name: version(name) for name in _LIBRARIES},
        "Sources": [str(source) for source in sources],
        "Method": type(inner).__name__,
        "Estimator": " ".join(repr(estimator).split()),
        "SignalModel": {"Name": type(model).__name__} | _plain(model.get_params()),
        "Noise": repr(getattr(inner, "noise_", None)),
        "Sigma": getattr(inner, "sigma_", None) if sigma is None else float(sigma),
        "Alpha": None if alpha is None else np.asarray(alpha, dtype=float).tolist(),
        "Seed": seed if isinstance(seed, (int, np.integer)) else None,
        "Voxels": count_statuses(maps),
        "Use": "research only",
    }


def _plain(values):
    """Arrays as lists, for JSON."""
    return {name: np.asarray(value).tolist() for name, value in values.items()}


def _write_json(path, content):
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1) + "\n")
