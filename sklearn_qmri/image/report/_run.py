"""A run: the maps of one scan by one estimator, and all that is known of how they were made."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ... import noise as noise_models
from ... import signal_models
from ...noise import NoiseModel, resolve_noise
from ...signal_models import SignalModel
from .._derivatives import read_map
from .._nifti import load_nifti
from .._open import check_geometry, open_scan
from .._scan import Scan
from .._sidecar import read_sidecar


class Run(NamedTuple):
    """Maps of one scan by one estimator.

    Attributes
    ----------
    name : str
        Start of the names of its files.
    story : dict
        Fields of the sidecars, see `describe_run`.
    signal_model : SignalModel
    noise : NoiseModel
    maps : dict of {str: ndarray of shape (n_x, n_y, n_z)}
        In the units of the package, by the names of `predict_image`.
    image : nibabel image
        An image with the geometry of the maps.
    inside : bool ndarray of shape (n_x, n_y, n_z)
    scan : Scan or None
        None if its files are not where they were.
    missing : list of str, default=()
        Files that are not where they were.
    """

    name: str
    story: dict
    signal_model: SignalModel
    noise: NoiseModel
    maps: dict
    image: object
    inside: np.ndarray
    scan: Scan | None
    missing: list = ()

    @property
    def affine(self):
        """Matrix from voxels to millimetres."""
        return self.image.affine

    @property
    def n_voxels(self):
        """Number of voxels inside."""
        return int(np.count_nonzero(self.inside))

    @property
    def status(self):
        """Status of each voxel, -1 outside the mask."""
        return self.maps.get("status", np.where(self.inside, 0, -1))

    @property
    def sigma(self):
        """Noise level of the story where it is numbers, or None."""
        sigma = self.story.get("Sigma")
        return None if sigma is None or isinstance(sigma, str) else np.asarray(sigma, float)


def find_runs(folder, signal_model=None):
    """Sidecars of the runs whose maps are in a folder, by the names of the runs.

    If there are none, the folders in it count, as a cohort has them. Names begin with these.

    Raises
    ------
    FileNotFoundError
        If the folder has no maps.
    """
    for pattern in ("*.json", "**/*.json"):
        found = {}
        for path in sorted(Path(folder).glob(pattern)):
            if (name := _name_of(path)) and path.with_suffix(".nii.gz").exists() and _is_own(path):
                name = (path.parent.relative_to(folder) / name).as_posix()
                found.setdefault(name, []).append(path)
        # Maps that are being written are no run.
        runs = {name: paths for name, paths in found.items() if _is_whole(paths, signal_model)}
        if runs:
            return runs
    raise FileNotFoundError(f"{folder} has no maps with sidecars.")


def _name_of(sidecar):
    """Start of the names of the files of a run: all entities but the parameter."""
    pattern = r"(.+_model-.+?)(_param-[A-Za-z0-9]+)?(_desc-[A-Za-z0-9]+)_\w+"
    found = re.fullmatch(pattern, sidecar.stem)
    return found and found[1] + found[3]


def _is_own(path):
    """Whether a JSON file is a sidecar of a map that this package has written."""
    try:
        story = read_sidecar(path)
    except ValueError:  # no JSON object: a file of another program
        return False
    made_by = story.get("GeneratedBy")
    return (
        isinstance(made_by, list)
        and any(isinstance(by, dict) and by.get("Name") == "sklearn_qmri" for by in made_by)
        and isinstance(story.get("SignalModel"), dict)
        and isinstance(story.get("Parameter"), str)
    )


def _is_whole(paths, signal_model):
    """Whether sidecars are those of all parameters of a signal model."""
    stories = [read_sidecar(path) for path in paths]
    model = signal_model or _value(signal_models, stories[0]["SignalModel"], "signal model")
    return set(model.parameter_names) <= {story["Parameter"] for story in stories}


def read_run(name, paths, scan=None, signal_model=None):
    """Run of some sidecars.

    Parameters
    ----------
    name : str
    paths : list of Path
        Sidecars.
    scan : path-like, nibabel image, list of them, or Scan, default=None
        Scan of the maps. None: the files that the sidecars name.
    signal_model : SignalModel, default=None
        None: that of the sidecars, which must be one of this package.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If a file is damaged, or a sidecar has a signal model that is not of this package.
    """
    stories = {path: read_sidecar(path) for path in paths}
    images = {story["Parameter"]: path.with_suffix(".nii.gz") for path, story in stories.items()}
    story = next(iter(stories.values()))
    model = signal_model or _value(signal_models, story["SignalModel"], "signal model")
    noise = resolve_noise("auto", model)  # of an estimator that assumes none
    if story.get("NoiseModel"):
        noise = _value(noise_models, story["NoiseModel"], "noise model")
    maps = {key: read_map(path) for key, path in images.items()}
    first = model.parameter_names[0]
    inside = maps["status"] >= 0 if "status" in maps else np.isfinite(maps[first])
    image = load_nifti(images[first])
    found, missing = _scan(scan, story, inside, model.n_measurements)
    if found is not None:
        check_geometry(found.images[0], image, "the scan", model.n_measurements)
    return Run(name, story, model, noise, maps, image, inside, found, missing)


def _value(module, described, kind):
    """Signal model or noise model that a sidecar describes."""
    arguments = dict(described or {})
    known = getattr(module, str(arguments.pop("Name", "")), None)
    if not isinstance(known, type):
        raise ValueError(
            f"The sidecars have the {kind} {described!r}, which is not of this package: pass it."
        )
    return known(**arguments)


def _scan(scan, story, inside, n_measurements):
    """The scan of a story, or None if a file is not there, and the files that are not."""
    fixed = story.get("Fixed") or {}
    sigma = story["Sigma"] if isinstance(story.get("Sigma"), str) else None
    if isinstance(scan, Scan):  # its own maps come first
        sigma = sigma if scan.sigma is None else None
        fixed = fixed if scan.fixed is None else {}
    others = [value for value in (sigma, *fixed.values()) if isinstance(value, str)]
    sources = list(story.get("Sources") or ()) if scan is None else []
    missing = [name for name in (*sources, *others) if not Path(name).exists()]
    if missing or not (sources or scan is not None):
        return None, missing
    files = sources if scan is None else scan
    files = files[0] if isinstance(files, list) and len(files) == 1 else files
    opened = open_scan(files, inside, sigma, fixed=fixed or None, n_expected=n_measurements)
    return opened, []
