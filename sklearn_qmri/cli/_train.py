"""Command: a network for a protocol; and the networks that `fit` trains for a scan."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .._network import Training
from ..datasets import make_signals
from ..estimators import HybridLabelNetRegressor, MLEEstimator
from ..persistence import save_estimator
from ._console import notes, refuse_to_overwrite
from ._options import (
    Alpha,
    Bounds,
    BValues,
    Device,
    Jobs,
    Model,
    Overwrite,
    Prior,
    Samples,
    Seed,
    Settings,
)
from ._protocol import make_model, parse_bounds, parse_prior, parse_range


def train(
    b_values: BValues = None,
    model: Model = "IVIM",
    settings: Settings = None,
    snr: Annotated[str, typer.Option(help="Signal-to-noise ratio, or low:high.")] = "10:60",
    alpha: Alpha = 0.5,
    prior: Prior = None,
    bounds: Bounds = None,
    samples: Samples = 50_000,
    out: Annotated[Path, typer.Option(help="Model file.")] = Path("model.skops"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Train a hybrid-label network for a protocol and write it to a model file.

    It is told the noise level of what it predicts, and does not mind the scanner's scale.

    Example: sklearn-qmri train --bval dwi.bval --snr 10:60 --alpha 0.5 --out ivim.skops
    """
    signal_model = make_model(model, b_values, settings or [])
    ranges = parse_prior(prior, signal_model)
    limits = parse_bounds(bounds, signal_model)
    labels = MLEEstimator(signal_model, bounds=limits, n_jobs=n_jobs, device=device)
    levels = parse_range(snr, "--snr")
    refuse_to_overwrite([out], overwrite)
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(f"{out.parent} cannot be written to.")
    net = train_hybrid(labels, levels, alpha=alpha, prior=ranges, samples=samples, seed=seed)
    save_estimator(net, out, overwrite=True)
    notes.print(f"Model file: {out}")


def train_hybrid(labels, snr, *, alpha, prior, samples, seed):
    """Hybrid-label network for scans of a protocol, at any scale and noise level in a range.

    Signal model, noise and device are those of `labels`, the estimator of the labels.
    """
    notes.print(f"Training on {samples:,} simulated tissues at SNR {snr[0]:.1f} to {snr[1]:.1f}")
    X, y, sigma = make_signals(
        labels.signal_model, samples, noise=labels.noise, snr=snr, prior=prior,
        random_state=seed, return_sigma=True,
    )  # fmt: skip
    net = HybridLabelNetRegressor(
        labels.signal_model, noise=labels.noise, alpha=alpha, label_estimator=labels,
        normalize="rms", sigma_input=True, training=Training(device=labels.device),
        random_state=seed, verbose=1,
    )  # fmt: skip
    return net.fit(X, y, sigma=sigma).set_params(verbose=0)
