"""Commands: maps of a scan, by fitting it or by a network trained before."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from .._version import __version__, library_versions
from ..estimators import ESTIMATORS, MLEEstimator, entry_of
from ..image import (
    Scan,
    average_repeats,
    derivative_prefix,
    fit_to_scan,
    open_scan,
    predict_image,
    read_volume,
    sample_voxels,
    write_maps,
)
from ..image._derivatives import present_maps
from ..image._estimators import core, signal_model_of, takes
from ..persistence import load_estimator
from ._console import console, notes, unfinished
from ._options import (
    Bounds,
    BValues,
    ChunkSize,
    Device,
    Fixed,
    Jobs,
    Json,
    Maps,
    Mask,
    Model,
    Overwrite,
    Prior,
    Resume,
    Samples,
    Scans,
    Seed,
    Settings,
    Sigma,
    Std,
)
from ._protocol import (
    known_acquisition,
    make_model,
    parse_bounds,
    parse_fixed,
    parse_prior,
    refuse_other_protocol,
    scan_mask,
)
from ._summary import summarise, summary_table

_CHUNK = 65536
_OFFERED = {entry.name: entry for entry in ESTIMATORS if entry.name}

Method = StrEnum("Method", {name.replace("-", "_"): name for name in _OFFERED})


class _Task(NamedTuple):
    """A scan with its voxels of interest, the files it is from, and where its maps go."""

    scan: Scan
    files: list
    out: Path
    description: str

    @property
    def prefix(self):
        return derivative_prefix(self.files)

    @property
    def folder(self):
        """Folder of finished parts until all is done."""
        return self.out / f".{self.prefix}_desc-{self.description}.unfinished"


class _Output(NamedTuple):
    """Options of how maps are made and shown."""

    std: bool
    n_jobs: int
    chunk_size: int
    as_json: bool


def fit(
    scan: Scans,
    b_values: BValues = None,
    mask: Mask = None,
    model: Model = "IVIM",
    settings: Settings = None,
    average: Annotated[
        bool,
        typer.Option("--average", help="Average repeats; noise is then Gaussian."),
    ] = False,
    estimator: Annotated[Method, typer.Option(help="How to estimate.")] = Method.mle,
    alpha: Annotated[
        float | None, typer.Option(min=0, max=1, help="Same as of train (hybrid; default: 0.5).")
    ] = None,
    prior: Prior = None,
    bounds: Bounds = None,
    fixed: Fixed = None,
    samples: Samples = 50_000,
    sigma: Sigma = None,
    std: Std = False,
    out: Maps = Path("maps"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    chunk_size: ChunkSize = _CHUNK,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
):
    """Fit a scan: parameter maps with their status, and how they came about.

    What was measured is read from the options, or else from the files beside the scan: FSL's bval
    and the JSON sidecars of BIDS.

    Example: sklearn-qmri fit dwi.nii.gz --bval dwi.bval --mask mask.nii.gz --out maps
    """
    _refuse_unused(estimator, alpha=alpha, prior=prior, bounds=bounds, fixed=fixed, std=std)
    opened, noise = open_scan(scan if len(scan) > 1 else scan[0]), "auto"
    known = known_acquisition(opened, b_values)
    if average:
        opened, known, noise = _average(opened, known)
    signal_model = make_model(model, None, settings or [], known)
    ranges = parse_prior(prior, signal_model)
    mle = MLEEstimator(
        signal_model, noise=noise, sigma=sigma, bounds=parse_bounds(bounds, signal_model),
        fixed=parse_fixed(fixed, signal_model), device=device,
    )  # fmt: skip
    task = _begin(opened, scan, mask, out, estimator, signal_model, resume, overwrite)
    with unfinished(task.folder, resume) as parts:
        X = sample_voxels(task.scan, random_state=seed)
        made, level, model_file = parts.fitted(
            _fit, estimator, mle, X, 0.5 if alpha is None else alpha, ranges, samples, seed,
            _versions(),
        )  # fmt: skip
        parts = parts.of(model_file)
        _finish(task, made, level, parts, _Output(std, n_jobs, chunk_size, as_json))


def predict(
    model_file: Annotated[Path, typer.Argument(help="Model file, as `train` writes it.")],
    scan: Scans,
    b_values: BValues = None,
    mask: Mask = None,
    sigma: Sigma = None,
    std: Std = False,
    out: Maps = Path("maps"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    chunk_size: ChunkSize = _CHUNK,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
):
    """Predict the maps of a scan by a network of a model file.

    A scan that was measured otherwise than the network was trained for is refused, as far as
    options or the files beside the scan tell.

    Example: sklearn-qmri predict ivim.skops dwi.nii.gz --bval dwi.bval --mask mask.nii.gz
    """
    made = load_estimator(model_file)
    signal_model = signal_model_of(made)
    opened = open_scan(scan if len(scan) > 1 else scan[0])
    refuse_other_protocol(signal_model, known_acquisition(opened, b_values), model_file)
    task = _begin(opened, scan, mask, out, _method_of(made), signal_model, resume, overwrite)
    with unfinished(task.folder, resume) as parts:
        if not takes(made, "sigma"):
            sigma = None
        elif sigma is None:
            X = sample_voxels(task.scan, random_state=seed)
            mle = MLEEstimator(signal_model, noise=core(made).noise, device=device)
            fitted, *_ = parts.fitted(_fit, Method.mle, mle, X, None, None, None, seed, _versions())
            sigma = float(fitted.sigma_)
        parts = parts.of(model_file)
        _finish(task, made, sigma, parts, _Output(std, n_jobs, chunk_size, as_json))


def _versions():
    return (__version__, library_versions())


def _method_of(estimator):
    """Name of an estimator in the table, or else of its class."""
    inner = core(estimator)
    entry = entry_of(inner)
    return entry.name if entry and entry.name else type(inner).__name__.lower()


def _refuse_unused(method, **options):
    """ValueError for an option that a method has no use for."""
    for name, value in options.items():
        given = value is not None and value is not False and value != []
        if given and name not in _OFFERED[method].takes:
            able = [other for other, entry in _OFFERED.items() if name in entry.takes]
            raise ValueError(f"--{name} is for --estimator {' or '.join(able)}.")


def _average(scan, known):
    """Scan of the means of repeats, its acquisition, and the noise of a mean."""
    if "b_values" not in known or len(scan.images) > 1:
        raise ValueError("--average expects one scan of 4 dimensions and its b-values.")
    n_volumes = len(known["b_values"])
    means, shells, counts = average_repeats(scan.images[0], known["b_values"])
    if max(counts) == 1:
        raise ValueError("--average expects repeats, but no b-value is there twice.")
    notes.print(
        f"Averaged {n_volumes} volumes into {len(shells)}, {min(counts)} to {max(counts)} in each: "
        "noise counts as Gaussian; what it has added to small signals stays."
    )
    return open_scan(means), {"b_values": shells}, "gaussian"


def _begin(scan, files, mask, out, method, signal_model, resume, overwrite):
    """Task of a command, once nothing speaks against it."""
    open_scan(scan, n_expected=signal_model.n_measurements)
    scan = open_scan(scan, scan_mask(scan, mask))
    task = _Task(scan, files, out, method.replace("-", ""))
    present = present_maps(out, task.prefix, task.description)
    if present and not (overwrite or (resume and task.folder.exists())):
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    return task


def _fit(method, mle, X, alpha, prior, n_tissues, seed, versions):
    """Estimator for a scan that X are some voxels of, and the noise level to give it.

    `mle` has the signal model and the settings of its likelihood. The result may be kept; the
    versions only are part of its key.
    """
    fitted = fit_to_scan(
        method, mle.signal_model, X, noise=mle.noise, sigma=mle.sigma, bounds=mle.bounds,
        fixed=mle.fixed, prior=prior, alpha=alpha, n_tissues=n_tissues,
        device=mle.device, random_state=seed, verbose=1, tell=notes.print,
    )  # fmt: skip
    return fitted.estimator, fitted.sigma


def _finish(task, made, sigma, parts, output):
    """Estimate, write and report."""
    maps = predict_image(
        made, task.scan, sigma=sigma, return_std=output.std, chunk_size=output.chunk_size,
        n_jobs=output.n_jobs, memory=parts, verbose=1,
    )  # fmt: skip
    paths = write_maps(
        maps, task.out, made, prefix=task.prefix, description=task.description, sigma=sigma,
        sources=task.files, overwrite=True,
    )  # fmt: skip
    model = signal_model_of(made)
    rows = {name: read_volume(image)[task.scan.inside] for name, image in maps.items()}
    parameters = np.stack([rows[name] for name in model.parameter_names], axis=1)
    summary = summarise(model, parameters, rows.get("status"))
    if output.as_json:
        print(json.dumps({"maps": [str(path) for path in paths], **summary}, indent=1))
        return
    console.print(summary_table({task.description: summary}))
    console.print(f"{len(paths)} maps and their sidecars are in {task.out}/")
