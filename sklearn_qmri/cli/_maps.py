"""Commands: maps of a scan, by fitting it or by a network trained before."""

import json
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from sklearn.base import clone

from .._network import Training
from .._version import __version__
from ..estimators import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
)
from ..image import (
    average_repeats,
    derivative_prefix,
    predict_image,
    read_volume,
    sample_voxels,
    write_maps,
)
from ..image._derivatives import present_maps
from ..image._estimators import core, signal_model_of
from ..image._scan import open_scan
from ..persistence import load_estimator
from ._console import console, notes, unfinished
from ._options import (
    Bounds,
    BValues,
    ChunkSize,
    Device,
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
    parse_prior,
    refuse_other_protocol,
    scan_mask,
)
from ._summary import summarise, summary_table
from ._train import train_hybrid

_LEAST_SNR = 2.0
_CHUNK = 65536


class Method(StrEnum):
    """Estimators of the command line."""

    mle = "mle"
    segmented = "segmented"
    hybrid = "hybrid"
    self_supervised = "self-supervised"
    posterior_mean = "posterior-mean"


_METHODS = {
    MLEEstimator: Method.mle,
    SegmentedIVIMEstimator: Method.segmented,
    HybridLabelNetRegressor: Method.hybrid,
    SelfSupervisedNetRegressor: Method.self_supervised,
    PosteriorMeanEstimator: Method.posterior_mean,
}


class _Task(NamedTuple):
    """A scan, its voxels of interest, and where its maps go."""

    scan: list
    image: object
    inside: np.ndarray
    out: Path
    description: str

    @property
    def prefix(self):
        return derivative_prefix(self.scan)

    @property
    def folder(self):
        """Where finished parts are kept until all is done."""
        return self.out / f".{self.prefix}_desc-{self.description}.unfinished"


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
        float | None, typer.Option(min=0, max=1, help="As of train (hybrid; default: 0.5).")
    ] = None,
    prior: Prior = None,
    bounds: Bounds = None,
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
    _refuse_unused(estimator, alpha=alpha, prior=prior)
    image, noise = scan if len(scan) > 1 else scan[0], "auto"
    known = known_acquisition(image, b_values)
    if average:
        image, known, noise = _average(image, known)
    signal_model = make_model(model, None, settings or [], known)
    ranges = parse_prior(prior, signal_model)
    limits = parse_bounds(bounds, signal_model)
    mle = MLEEstimator(signal_model, noise=noise, sigma=sigma, bounds=limits, device=device)
    task = _begin(scan, image, mask, out, estimator, signal_model, resume, overwrite)
    with unfinished(task.folder, resume) as memory:
        X = sample_voxels(image, task.inside, random_state=seed)
        work = memory.cache(_fit).call_and_shelve(
            estimator, mle, X, 0.5 if alpha is None else alpha, ranges, samples, seed, __version__
        )  # fmt: skip
        made, level = work.get()  # as read from the file, so that going on finds it unchanged
        _finish(task, made, level, std, n_jobs, chunk_size, memory, as_json)


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
    image = scan if len(scan) > 1 else scan[0]
    refuse_other_protocol(signal_model, known_acquisition(image, b_values), model_file)
    method = _METHODS.get(type(core(made)), type(core(made)).__name__.lower())
    task = _begin(scan, image, mask, out, method, signal_model, resume, overwrite)
    with unfinished(task.folder, resume) as memory:
        if not _takes_sigma(made):
            sigma = None
        elif sigma is None:
            X = sample_voxels(image, task.inside, random_state=seed)
            mle = MLEEstimator(signal_model, noise=core(made).noise, device=device)
            sigma = memory.cache(_learn_sigma)(mle, X, __version__)
        _finish(task, made, sigma, std, n_jobs, chunk_size, memory, as_json)


_TAKES = {"alpha": (Method.hybrid,), "prior": (Method.hybrid, Method.posterior_mean)}


def _refuse_unused(method, **options):
    """ValueError for an option that a method has no use for."""
    for name, value in options.items():
        if value not in (None, []) and method not in _TAKES[name]:
            raise ValueError(f"--{name} is for --estimator {' or '.join(_TAKES[name])}.")


def _average(image, known):
    if "b_values" not in known or isinstance(image, list):
        raise ValueError("--average expects one scan of 4 dimensions and its b-values.")
    n_volumes = len(known["b_values"])
    image, shells, counts = average_repeats(image, known["b_values"])
    if max(counts) == 1:
        raise ValueError("--average expects repeats, but no b-value is there twice.")
    notes.print(
        f"Averaged {n_volumes} volumes into {len(shells)}, {min(counts)} to {max(counts)} in each: "
        "noise counts as Gaussian; what it has added to small signals stays."
    )
    return image, {"b_values": shells}, "gaussian"


def _begin(scan, image, mask, out, method, signal_model, resume, overwrite):
    """Task of a command, once nothing speaks against it."""
    open_scan(image, n_expected=signal_model.n_measurements)
    inside = open_scan(image, scan_mask(image, mask)).inside
    task = _Task(scan, image, inside, out, method.replace("-", ""))
    present = present_maps(out, task.prefix, task.description)
    if present and not (overwrite or (resume and task.folder.exists())):
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    return task


def _fit(method, mle, X, alpha, ranges, samples, seed, version):
    """Fitted estimator for a scan that X are some voxels of, and the noise level to give it."""
    model = mle.signal_model
    if method is Method.segmented:
        return SegmentedIVIMEstimator(model, bounds=mle.bounds).fit(X), None
    sigma = _learn_sigma(mle, X, version)
    if method is Method.mle:
        return mle, None
    given = {"noise": mle.noise, "sigma": sigma, "random_state": seed, "verbose": 1}
    if method is Method.self_supervised:
        net = SelfSupervisedNetRegressor(
            model, normalize="rms", training=Training(device=mle.device), **given
        )
        return net.fit(X).set_params(verbose=0), None
    amplitudes = _amplitudes(model, mle.predict(X))
    if method is Method.posterior_mean:
        given |= {"prior": amplitudes | (ranges or {})}
        return PosteriorMeanEstimator(model, **given).fit(X), None
    snr = np.clip(next(iter(amplitudes.values())), _LEAST_SNR * sigma, None) / sigma
    labels = clone(mle).set_params(sigma=None)  # the network hands on that of each tissue
    net = train_hybrid(labels, tuple(snr), alpha=alpha, prior=ranges, samples=samples, seed=seed)
    return net, sigma


def _learn_sigma(mle, X, version):
    """Noise level by maximum likelihood; the version is part of the key of a cache only."""
    sigma = float(mle.set_params(verbose=1).fit(X).set_params(verbose=0).sigma_)
    notes.print(f"Noise level: sigma = {sigma:.4g} (units of the scan)")
    return sigma


def _takes_sigma(estimator):
    method = getattr(estimator, "estimate", estimator.predict)
    return "sigma" in signature(method).parameters


def _amplitudes(signal_model, parameters):
    """Range of each amplitude but for outliers."""
    return {
        p.name: tuple(np.nanpercentile(column, [0.5, 99.5]))
        for p, column in zip(signal_model.parameters, parameters.T, strict=True)
        if p.amplitude
    }


def _finish(task, made, sigma, std, n_jobs, chunk_size, memory, as_json):
    """Estimate, write and tell."""
    maps = predict_image(
        made, task.image, task.inside, sigma=sigma, return_std=std, chunk_size=chunk_size,
        n_jobs=n_jobs, memory=memory, verbose=1,
    )  # fmt: skip
    paths = write_maps(
        maps, task.out, made, prefix=task.prefix, description=task.description, sigma=sigma,
        sources=task.scan, overwrite=True,
    )  # fmt: skip
    model = signal_model_of(made)
    rows = {name: read_volume(image)[task.inside] for name, image in maps.items()}
    parameters = np.stack([rows[name] for name in model.parameter_names], axis=1)
    summary = summarise(model, parameters, rows.get("status"))
    if as_json:
        print(json.dumps({"maps": [str(path) for path in paths], **summary}, indent=1))
        return
    console.print(summary_table({task.description: summary}))
    console.print(f"{len(paths)} maps and their sidecars are in {task.out}/")
