"""Maps as files, with sidecars that say how they came about."""

import json
from pathlib import Path

import numpy as np

from .._files import replacing
from .._validation import Status
from .._version import __version__
from ._nifti import read_volume


def write_maps(maps, out_dir, estimator, *, prefix, description, overwrite=False):
    """Write maps of `predict_image` and their JSON sidecars.

    Names follow BIDS derivatives, ``<prefix>_desc-<description>_<parameter>map.nii.gz``, without
    underscores within the parts. Each sidecar holds the map's unit and the method, signal model,
    noise, sigma, alpha and seed of the estimator, the package's version, and how many voxels
    failed, are on a bound or out of domain.

    Parameters
    ----------
    maps : dict of {str: nibabel image}
    out_dir : path-like
        Made if it is not there.
    estimator : fitted estimator
    prefix : str
        E.g. ``"sub-01_dwi"``.
    description : str
        Letters and digits, e.g. ``"mle"``.
    overwrite : bool, default=False

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
    """
    if not description.isalnum():
        raise ValueError(f"description expects letters and digits, got {description!r}.")
    out_dir = Path(out_dir)
    stems = {
        name: out_dir / f"{prefix}_desc-{description}_{name.replace('_', '')}map" for name in maps
    }
    paths = {name: Path(f"{stem}.nii.gz") for name, stem in stems.items()}
    present = [path for path in paths.values() if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already.")
    out_dir.mkdir(parents=True, exist_ok=True)
    common = _describe(estimator, maps)
    units = {p.name: p.unit for p in core(estimator).signal_model_.parameters}
    for name, image in maps.items():
        with replacing(paths[name]) as scratch:
            image.to_filename(scratch)
        sidecar = {"Parameter": name, "Units": units.get(name.removesuffix("_std"), "")} | common
        with replacing(f"{stems[name]}.json") as scratch:
            scratch.write_text(json.dumps(sidecar, indent=1) + "\n")
    return list(paths.values())


def _describe(estimator, maps):
    """What is common to all sidecars."""
    inner = core(estimator)
    alpha = getattr(inner, "alpha", None)
    seed = getattr(inner, "random_state", None)
    counts = {}
    if "status" in maps:
        status = read_volume(maps["status"])
        counts = {code.name: int(np.count_nonzero(status == code)) for code in Status}
    return {
        "GeneratedBy": [{"Name": "sklearn_qmri", "Version": __version__}],
        "Method": type(inner).__name__,
        "SignalModel": repr(inner.signal_model_),
        "Noise": repr(getattr(inner, "noise_", None)),
        "Sigma": getattr(inner, "sigma_", None),
        "Alpha": None if alpha is None else np.asarray(alpha, dtype=float).tolist(),
        "Seed": seed if isinstance(seed, (int, np.integer)) else None,
        "Voxels": counts,
        "Use": "research only",
    }


def core(estimator):
    """The estimator with a signal model, that is or is inside of the one given."""
    while not hasattr(estimator, "signal_model_"):
        inner = getattr(estimator, "estimator_", getattr(estimator, "best_estimator_", None))
        if inner is None and not hasattr(estimator, "steps"):
            raise ValueError(f"{estimator!r} has no signal model.")
        estimator = estimator[-1] if inner is None else inner
    return estimator
