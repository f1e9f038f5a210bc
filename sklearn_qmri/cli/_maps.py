"""Commands: maps of a scan, from a fit or from a network that was trained before."""

from pathlib import Path
from typing import Annotated

import typer

from .._version import __version__, library_versions
from ..estimators import MLEEstimator, core, entry_of, signal_model_of, takes
from ..estimators._levels import check_coverage
from ..image import fit_to_scan, open_scan, sample_voxels
from ..image._kinds import check_kinds
from ..persistence import load_estimator
from ._choice import other_models, write_probabilities
from ._console import notes, unfinished
from ._estimators import Method, method_of, parse_alpha, parse_bias_weight, refuse_unused
from ._finish import Output, finish
from ._given import Given
from ._opening import open_for_fit
from ._options import (
    Alpha,
    Average,
    Averages,
    BiasWeight,
    Bounds,
    BValues,
    ChunkSize,
    Coverage,
    Device,
    Error,
    Errors,
    Fixed,
    Jobs,
    Json,
    Maps,
    Mask,
    Model,
    Models,
    Overwrite,
    Prior,
    Report,
    Resume,
    Samples,
    Scans,
    Seed,
    Settings,
    Sigma,
)
from ._protocol import (
    known_acquisition,
    number_or_map,
    parse_bounds,
    parse_fixed,
    parse_prior,
    refuse_other_protocol,
)
from ._summary import assumptions
from ._task import begin

_CHUNK = 65536  # voxels, same as the default of `predict_image`


def fit(
    scan: Scans,
    b_values: BValues = None,
    mask: Mask = None,
    model: Model = "IVIM",
    settings: Settings = None,
    average: Average = False,
    averages: Averages = None,
    estimator: Annotated[Method, typer.Option(help="How to estimate.")] = Method.mle,
    alpha: Alpha = None,
    bias_weight: BiasWeight = None,
    prior: Prior = None,
    bounds: Bounds = None,
    fixed: Fixed = None,
    samples: Samples = 50_000,
    sigma: Sigma = None,
    error: Error = None,
    interval: Coverage = None,
    models: Models = None,
    out: Maps = Path("maps"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    chunk_size: ChunkSize = _CHUNK,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report: Report = True,
    as_json: Json = False,
):
    """Fit a scan: parameter maps with their status, and sidecars that describe them.

    The protocol is taken from the options, or else from the files beside the scan: FSL's bval and
    the JSON sidecars of BIDS.

    Example: sklearn-qmri fit dwi.nii.gz --bval dwi.bval --mask mask.nii.gz --out maps
    """
    options = {"alpha": alpha, "bias_weight": bias_weight, "prior": prior, "bounds": bounds}
    _refuse(estimator, options | {"fixed": fixed, "sigma": sigma}, error, interval)
    opened, signal_model, noise = open_for_fit(
        scan, b_values, model, settings, average, averages, estimator
    )
    given = Given(number_or_map(sigma, "--sigma"), parse_fixed(fixed, signal_model))
    alphas, weights = parse_alpha(alpha, signal_model), parse_bias_weight(bias_weight, signal_model)
    ranges, limits = parse_prior(prior, signal_model), parse_bounds(bounds, signal_model)
    mle = MLEEstimator(signal_model, noise=noise, bounds=limits, device=device)
    task = begin(opened, scan, mask, out, estimator, signal_model, resume, overwrite, given)
    others = other_models(models, signal_model, task, overwrite)
    notes.print(assumptions(task, estimator, mle, ranges))
    mle.set_params(**given.typical(task.scan, signal_model))
    output = Output(error, interval, n_jobs, chunk_size, report, as_json)
    with unfinished(task.unfinished, resume) as parts:
        X = sample_voxels(task.scan, random_state=seed)
        fitted, noise_level, file = parts.fitted(
            _fit, estimator, mle, X, alphas, ranges, samples, seed, _versions(), weights
        )
        finish(task, fitted, noise_level, given, parts.of(file), output.keeping(fitted, file))
        write_probabilities(others, mle, X, task, seed)


def predict(
    model_file: Annotated[Path, typer.Argument(help="Model file, as `train` writes it.")],
    scan: Scans,
    b_values: BValues = None,
    mask: Mask = None,
    bias_weight: BiasWeight = None,
    sigma: Sigma = None,
    error: Error = None,
    out: Maps = Path("maps"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    chunk_size: ChunkSize = _CHUNK,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report: Report = True,
    as_json: Json = False,
):
    """Predict the maps of a scan with the network of a model file.

    A scan with another protocol than that of the training is refused, if options or the files
    beside the scan show it.

    Example: sklearn-qmri predict ivim.skops dwi.nii.gz --bval dwi.bval --mask mask.nii.gz
    """
    estimator = load_estimator(model_file)
    signal_model = signal_model_of(estimator)
    if sigma is not None and not takes(estimator, "sigma"):
        raise ValueError(f"--sigma expects a model whose estimates depend on it: {model_file}.")
    sigma = number_or_map(sigma, "--sigma")
    bias_weight = _weigh_bias(estimator, bias_weight, model_file)
    opened = open_scan(scan if len(scan) > 1 else scan[0])
    check_kinds(opened, signal_model)
    refuse_other_protocol(signal_model, known_acquisition(opened, b_values), model_file)
    given, level, method = Given(sigma, {}), None, method_of(estimator)
    task = begin(opened, scan, mask, out, method, signal_model, resume, overwrite, given)
    with unfinished(task.unfinished, resume) as parts:
        # An estimator that takes sigma needs that of this scan, not that of its training. If no
        # option has it, maximum likelihood learns it, under the noise model of the training.
        if sigma is None and takes(estimator, "sigma"):
            X = sample_voxels(task.scan, random_state=seed)
            mle = MLEEstimator(signal_model, noise=core(estimator).noise, device=device)
            fitted, *_ = parts.fitted(_fit, Method.mle, mle, X, None, None, None, seed, _versions())
            level = float(fitted.sigma_)
        parts = parts.of(model_file, bias_weight)
        output = Output(error, None, n_jobs, chunk_size, report, as_json, model_file)
        finish(task, estimator, level, given, parts, output)


def _refuse(method, options, error, interval):
    """Raise ValueError for an option that a method does not use, and for a bad interval."""
    refuse_unused(method, options | {"interval": interval})
    if interval is not None:
        check_coverage(interval, "--interval")
    # A bootstrap simulates noise.
    needed = {Errors.std: "std", Errors.bootstrap: "sigma"}
    if error is not None:
        refuse_unused(method, {needed[error]: error}, option=f"--error {error}")


def _versions():
    return (__version__, library_versions())


def _weigh_bias(estimator, text, model_file):
    """Set the weight of the squared bias of a bias-constrained network, and return it."""
    if text is None:
        return None
    net = core(estimator)
    entry = entry_of(net)
    if entry is None or "bias_weight" not in entry.takes:
        raise ValueError(
            f"--bias-weight expects a model file of a bias-constrained network, {model_file} has a "
            f"{type(net).__name__}."
        )
    weight = parse_bias_weight(text, signal_model_of(net), net)
    net.set_params(bias_weight=weight)
    return weight


def _fit(method, mle, X, alpha, prior, n_tissues, seed, versions, bias_weight=None):
    """Estimator for a scan, from some of its voxels, and the noise level to predict it with.

    `mle` has the signal model and the settings of its likelihood. The result is kept as a file:
    with ``--resume`` the maps are the bytes of an uninterrupted run.
    `versions` is not used, but makes the key of the result depend on the versions.
    """
    fitted = fit_to_scan(
        method, mle.signal_model, X, noise=mle.noise, sigma=mle.sigma, bounds=mle.bounds,
        fixed=mle.fixed, prior=prior, alpha=alpha, bias_weight=bias_weight, n_tissues=n_tissues,
        device=mle.device, random_state=seed, verbose=1, tell=notes.print,
    )  # fmt: skip
    return fitted.estimator, fitted.sigma
