"""Commands: maps of a scan, by fitting it or by a network trained before."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..datasets import make_signals
from ..image import apply_mask, load_nifti, predict_image, read_volume, write_maps
from ..label_net import HybridLabelNetRegressor
from ..mle import MLEEstimator
from ..persistence import load_estimator, save_estimator
from ..posterior import PosteriorMeanEstimator
from ..segmented import SegmentedIVIMEstimator
from ..self_supervised import SelfSupervisedNetRegressor
from ._console import console
from ._protocol import make_model, parse_prior

_LEARNT_FROM = 50_000  # voxels that noise level and self-supervised networks are learnt from
_LEAST_SNR = 2.0

Model = Annotated[str, typer.Option(help="Signal model; `sklearn-qmri models` lists them.")]
BValues = Annotated[
    str | None,
    typer.Option("--b-values", "--bval", help="b-values in s/mm^2: a list, or FSL's bval file."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--with", help="Other argument of the model, e.g. echo_times=10,30,60."),
]
Mask = Annotated[Path | None, typer.Option(help="NIfTI mask; else all voxels with any signal.")]
Alpha = Annotated[float, typer.Option(min=0, max=1, help="Weight of the maximum-likelihood label.")]
Prior = Annotated[
    list[str] | None, typer.Option(help="Range of tissues to train on, e.g. f=0.1:0.5.")
]
Samples = Annotated[int, typer.Option(min=1, help="Simulated tissues to train on.")]
Sigma = Annotated[float | None, typer.Option(help="Noise level; else learnt from the scan.")]
Jobs = Annotated[int, typer.Option("--n-jobs", help="Number of processes.")]
Device = Annotated[str, typer.Option(help="Where torch computes, e.g. cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of simulation and training.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier output.")]


class Method(StrEnum):
    """Estimators of the command line."""

    mle = "mle"
    segmented = "segmented"
    hybrid = "hybrid"
    self_supervised = "self-supervised"
    posterior_mean = "posterior-mean"


def fit(
    scan: Annotated[Path, typer.Argument(help="NIfTI scan of 4 dimensions.")],
    b_values: BValues = None,
    mask: Mask = None,
    model: Model = "IVIM",
    settings: Settings = None,
    estimator: Annotated[Method, typer.Option(help="How to estimate.")] = Method.mle,
    alpha: Alpha = 0.5,
    prior: Prior = None,
    samples: Samples = 50_000,
    sigma: Sigma = None,
    out: Annotated[Path, typer.Option(help="Folder for maps and sidecars.")] = Path("maps"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Fit a scan: parameter maps with their status, and how they came about.

    Example: sklearn-qmri fit dwi.nii.gz --bval dwi.bval --mask mask.nii.gz --out maps
    """
    signal_model = make_model(model, b_values, settings or [])
    ranges = parse_prior(prior or [], signal_model)
    image = load_nifti(scan)
    inside = _inside(image, mask)
    X = _some(apply_mask(read_volume(image), inside), seed)
    mle = MLEEstimator(signal_model, sigma=sigma, device=device, verbose=1).fit(X)
    console.print(f"Noise level: sigma = {mle.sigma_:.4g} (units of the scan)")
    made = _make(estimator, signal_model, X, mle, alpha, ranges, samples, device, seed)
    level = mle.sigma_ if estimator is Method.hybrid else None
    name = estimator.value.replace("-", "")
    _write(made, image, inside, scan, out, name, n_jobs, overwrite, level)


def train(
    b_values: BValues = None,
    model: Model = "IVIM",
    settings: Settings = None,
    snr: Annotated[str, typer.Option(help="Signal-to-noise ratio, or low:high.")] = "10:60",
    alpha: Alpha = 0.5,
    prior: Prior = None,
    samples: Samples = 50_000,
    out: Annotated[Path, typer.Option(help="Model file.")] = Path("model.skops"),
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Train a hybrid-label network for a protocol and write it to a model file.

    It is told the noise level of what it predicts, and does not mind the scanner's scale.

    Example: sklearn-qmri train --bval dwi.bval --snr 10:60 --alpha 0.5 --out ivim.skops
    """
    signal_model = make_model(model, b_values, settings or [])
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; give --overwrite to replace it.")
    low, _, high = snr.partition(":")
    try:
        ratio = float(low), float(high or low)
    except ValueError as error:
        raise ValueError(f"--snr expects a number or low:high, got {snr!r}.") from error
    ranges = parse_prior(prior or [], signal_model)
    save_estimator(
        _train(signal_model, ratio, alpha, ranges, samples, device, seed), out, overwrite=overwrite
    )
    console.print(f"Model file: {out}")


def predict(
    model_file: Annotated[Path, typer.Argument(help="Model file, as `train` writes it.")],
    scan: Annotated[Path, typer.Argument(help="NIfTI scan of 4 dimensions.")],
    b_values: BValues = None,
    mask: Mask = None,
    sigma: Sigma = None,
    out: Annotated[Path, typer.Option(help="Folder for maps and sidecars.")] = Path("maps"),
    n_jobs: Jobs = 1,
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Predict the maps of a scan by a network of a model file.

    Example: sklearn-qmri predict ivim.skops dwi.nii.gz --bval dwi.bval --mask mask.nii.gz
    """
    made = load_estimator(model_file)
    signal_model = made.signal_model_
    if b_values is not None:
        _refuse_other_protocol(signal_model, make_model("ADC", b_values, []).b_values, model_file)
    image = load_nifti(scan)
    inside = _inside(image, mask)
    if sigma is None:
        X = _some(apply_mask(read_volume(image), inside), seed)
        sigma = MLEEstimator(signal_model, verbose=1).fit(X).sigma_
        console.print(f"Noise level: sigma = {sigma:.4g} (units of the scan)")
    _write(made, image, inside, scan, out, "hybrid", n_jobs, overwrite, sigma)


def _refuse_other_protocol(signal_model, b_values, model_file):
    trained = np.asarray(getattr(signal_model, "b_values", []), dtype=np.float64)
    if trained.shape != b_values.shape or not np.allclose(trained, b_values, atol=1.0):
        raise ValueError(
            f"{model_file} was trained for b-values {trained.tolist()}, the scan has "
            f"{b_values.tolist()}: train for these."
        )


def _inside(image, mask):
    if len(image.shape) != 4:
        raise ValueError(f"The scan expects 4 dimensions, got shape {image.shape}.")
    if mask is None:
        return read_volume(image).any(axis=-1)
    return read_volume(load_nifti(mask)) != 0


def _some(X, seed):
    rows = np.random.RandomState(seed).permutation(len(X))[:_LEARNT_FROM]
    return X[np.sort(rows)]


def _make(method, signal_model, X, mle, alpha, ranges, samples, device, seed):
    """Fitted estimator of a method, for a scan that X are some voxels of."""
    sigma = mle.sigma_
    if method is Method.mle:
        return mle
    if method is Method.segmented:
        return SegmentedIVIMEstimator(signal_model).fit(X)
    shared = {"random_state": seed, "verbose": 1}
    if method is Method.self_supervised:
        net = SelfSupervisedNetRegressor(
            signal_model, sigma=sigma, normalize="rms", device=device, **shared
        )
        return net.fit(X)
    amplitudes = {
        p.name: np.nanpercentile(column, [0.5, 99.5])
        for p, column in zip(signal_model.parameters, mle.predict(X).T, strict=True)
        if p.amplitude
    }
    if method is Method.posterior_mean:
        prior = {name: tuple(pair) for name, pair in amplitudes.items()} | (ranges or {})
        return PosteriorMeanEstimator(signal_model, sigma=sigma, prior=prior, **shared).fit(X)
    snr = np.clip(next(iter(amplitudes.values())) / sigma, _LEAST_SNR, None)
    console.print(f"Training on {samples:,} simulated tissues at SNR {snr[0]:.1f} to {snr[1]:.1f}")
    return _train(signal_model, tuple(snr), alpha, ranges, samples, device, seed)


def _train(signal_model, snr, alpha, prior, samples, device, seed):
    X, y, sigma = make_signals(
        signal_model, samples, snr=snr, prior=prior, random_state=seed, return_sigma=True
    )
    net = HybridLabelNetRegressor(
        signal_model, alpha=alpha, normalize="rms", sigma_input=True, device=device,
        random_state=seed, verbose=1,
    )  # fmt: skip
    return net.fit(X, y, sigma=sigma)


def _write(made, image, inside, scan, out, description, n_jobs, overwrite, sigma=None):
    maps = predict_image(made, image, inside, sigma=sigma, n_jobs=n_jobs, verbose=1)
    prefix = scan.name.removesuffix(".gz").removesuffix(".nii")
    paths = write_maps(maps, out, made, prefix=prefix, description=description, overwrite=overwrite)
    console.print(f"{len(paths)} maps and their sidecars are in {out}/")
