"""Command: training of a network for a protocol."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ..image import train_for_snr
from ..persistence import save_estimator
from ._console import notes, refuse_to_overwrite
from ._estimators import Network, parse_alpha, parse_bias_weight, refuse_unused
from ._options import (
    Alpha,
    BiasWeight,
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
    estimator: Annotated[Network, typer.Option(help="Network to train.")] = Network.hybrid,
    alpha: Alpha = None,
    bias_weight: BiasWeight = None,
    prior: Prior = None,
    bounds: Bounds = None,
    samples: Samples = 50_000,
    out: Annotated[Path, typer.Option(help="Model file.")] = Path("model.skops"),
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
):
    """Train a network for a protocol and write it to a model file.

    The network predicts scans of any scale, and needs the noise level of each. The weight of a
    bias-constrained network can be changed when it predicts.

    Example: sklearn-qmri train --bval dwi.bval --snr 10:60 --alpha 0.5 --out ivim.skops
    """
    options = {"alpha": alpha, "bias_weight": bias_weight, "bounds": bounds}
    refuse_unused(estimator, options, tuple(Network))
    signal_model = make_model(model, b_values, settings or [])
    ranges = parse_prior(prior, signal_model)
    limits = parse_bounds(bounds, signal_model)
    weights = parse_alpha(alpha, signal_model), parse_bias_weight(bias_weight, signal_model)
    snrs = parse_range(snr, "--snr")
    # A folder that cannot be written to must be found before the training, not after it.
    refuse_to_overwrite([out], overwrite)
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(f"{out.parent} cannot be written to.")
    notes.print(f"Training on {samples:,} simulated tissues at SNR {snrs[0]:g} to {snrs[1]:g}")
    net = train_for_snr(
        signal_model, snrs, name=estimator.value, bounds=limits, prior=ranges, alpha=weights[0],
        bias_weight=weights[1], n_tissues=samples, n_jobs=n_jobs, device=device,
        random_state=seed, verbose=1,
    )  # fmt: skip
    save_estimator(net, out, overwrite=True)
    notes.print(f"Model file: {out}")
