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
from .._open import open_scan
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
    affine : ndarray of shape (4, 4)
    inside : bool ndarray of shape (n_x, n_y, n_z)
    scan : Scan or None
        None if its files are not where they were.
    """

    name: str
    story: dict
    signal_model: SignalModel
    noise: NoiseModel
    maps: dict
    affine: np.ndarray
    inside: np.ndarray
    scan: Scan | None

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
            if (name := _name_of(path)) and path.with_suffix(".nii.gz").exists():
                name = (path.parent.relative_to(folder) / name).as_posix()
                found.setdefault(name, []).append(path)
        # Probabilities of models, and maps that are being written, are no run.
        runs = {name: paths for name, paths in found.items() if _is_whole(paths, signal_model)}
        if runs:
            return runs
    raise FileNotFoundError(f"{folder} has no maps with sidecars.")


def _name_of(sidecar):
    """Start of the names of the files of a run: all entities but the parameter."""
    pattern = r"(.+_model-.+?)(_param-[A-Za-z0-9]+)?(_desc-[A-Za-z0-9]+)_\w+"
    found = re.fullmatch(pattern, sidecar.stem)
    return found and found[1] + found[3]


def _is_whole(paths, signal_model):
    """Whether sidecars are those of all parameters of a signal model."""
    stories = [read_sidecar(path) for path in paths]
    names = {story.get("Parameter") for story in stories}
    if "SignalModel" not in stories[0]:
        return False
    model = signal_model or _value(signal_models, stories[0]["SignalModel"], "signal model")
    return set(model.parameter_names) <= names


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
    affine = load_nifti(images[first]).affine
    return Run(name, story, model, noise, maps, affine, inside, _scan(scan, story, inside))


def _value(module, described, kind):
    """Signal model or noise model that a sidecar describes."""
    arguments = dict(described or {})
    known = getattr(module, str(arguments.pop("Name", "")), None)
    if not isinstance(known, type):
        raise ValueError(
            f"The sidecars have the {kind} {described!r}, which is not of this package: pass it."
        )
    return known(**arguments)


def _scan(scan, story, inside):
    """The scan of a story, or None if a file is not there."""
    files = scan if scan is not None else [*map(Path, story.get("Sources") or ())]
    fixed = story.get("Fixed") or {}
    sigma = story["Sigma"] if isinstance(story.get("Sigma"), str) else None
    needed = [Path(value) for value in (sigma, *fixed.values()) if isinstance(value, str)]
    needed += files if scan is None else []
    if not files or not all(path.exists() for path in needed):
        return None
    files = files[0] if isinstance(files, list) and len(files) == 1 else files
    return open_scan(files, inside, sigma, fixed=fixed or None)
