"""Command: maps of a real scan."""

import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.table import Table

from .._validation import Status
from ..datasets import fetch_pelvis_ivim, make_phantom, make_signals
from ..image import apply_mask, axial_slice, read_volume, unmask, write_nifti
from ..inspection import ParameterMapDisplay
from ..label_net import HybridLabelNetRegressor
from ..mle import MLEEstimator
from ..signal_models import IVIM
from ._console import console, refuse_to_overwrite

# More perfusion than tissue would swap the roles of the compartments where there is only one
# (urine); the bound is the one of arXiv 2205.05587.
_BOUNDS = {"f": (0.0, 0.5)}
# The demo's training tissues: wider than the model's prior, because living tissue is.
_PRIOR = {"f": (0.0, 0.5), "D": (0.02, 3.5), "D_star": (5.0, 200.0)}
_TISSUES = 50_000
_B_VALUES = (0, 10, 20, 30, 50, 80, 100, 200, 400, 800)


class _Scan(NamedTuple):
    data: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    b_values: np.ndarray
    title: str
    quarter_turns: int = 0


class _Maps(NamedTuple):
    method: str
    seconds: float
    parameters: np.ndarray
    status: np.ndarray


def demo(
    out: Annotated[Path, typer.Option(help="Folder for maps and figure.")] = Path(
        "sklearn-qmri-demo"
    ),
    alpha: Annotated[
        float, typer.Option(help="Weight of the maximum-likelihood label, 0 to 1.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of simulation and training.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier output.")] = False,
):
    """Fit IVIM maps of a real pelvis scan, by maximum likelihood and by a hybrid-label network.

    Example: sklearn-qmri demo --alpha 0.25 --out maps --overwrite
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"--alpha expects a number from 0 to 1, got {alpha:g}.")
    scan = _load_scan(seed)
    model = IVIM(scan.b_values)
    figure = out / "maps.png"
    methods = ("mle", "hybrid")
    paths = {
        (m, name): out / f"{name}_{m}.nii.gz" for m in methods for name in model.parameter_names
    }
    refuse_to_overwrite([*paths.values(), figure], overwrite)

    X = apply_mask(scan.data, scan.mask)
    mle, sigma = _fit_mle(model, X)
    console.print(
        f"Noise level learnt from {len(X):,} voxels: sigma = {sigma:.4g} (units of the scan)"
    )
    hybrid = _fit_hybrid(model, X, sigma, mle, alpha, seed)

    for method, maps in zip(methods, (mle, hybrid), strict=True):
        for name, values in zip(model.parameter_names, maps.parameters.T, strict=True):
            write_nifti(
                paths[method, name], unmask(values.astype(np.float32), scan.mask), scan.affine
            )
    slices = {m.method: _display_slice(m.parameters, scan) for m in (mle, hybrid)}
    display = ParameterMapDisplay(slices, model.parameters).plot(title=scan.title)
    display.figure_.savefig(figure, dpi=120)
    _print_table(model, (mle, hybrid))
    console.print(f"Maps and figure are in {out}/")


def _load_scan(seed):
    try:
        pelvis = fetch_pelvis_ivim()
    except OSError as error:
        console.print(f"The real scan is out of reach, so this is a simulated phantom. {error}")
        phantom = make_phantom(IVIM(_B_VALUES), shape=(128, 128, 3), snr=20, random_state=seed)
        b_values = np.array(_B_VALUES, dtype=float)
        return _Scan(phantom.data, phantom.mask, np.eye(4), b_values, "Simulated phantom, IVIM")
    console.print(f"Pelvis scan from {pelvis.source}")
    return _Scan(
        read_volume(pelvis.dwi),
        read_volume(pelvis.mask) != 0,
        pelvis.dwi.affine,
        pelvis.b_values,
        "In-vivo pelvis, IVIM, one axial slice",
        quarter_turns=1,  # the header of this scan lays the body on its side
    )


def _display_slice(parameters, scan):
    """Middle slice, cut to the body."""
    volume = axial_slice(unmask(parameters, scan.mask), scan.affine)
    volume = np.rot90(volume, scan.quarter_turns)
    inside = np.isfinite(volume).any(axis=-1)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return volume[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit_mle(model, X):
    start = time.perf_counter()
    estimator = MLEEstimator(model, bounds=_BOUNDS, verbose=1).fit(X)
    found = estimator.estimate(X)
    seconds = time.perf_counter() - start
    return _Maps("maximum likelihood", seconds, found.parameters, found.status), estimator.sigma_


def _fit_hybrid(model, X, sigma, mle, alpha, seed):
    """Train on simulations over the range of SNR that the scan has, and predict the scan."""
    start = time.perf_counter()
    snr = np.nanpercentile(mle.parameters[:, 0] / sigma, [2.5, 97.5]).clip(min=2.0)
    console.print(f"Training on {_TISSUES:,} simulated tissues at SNR {snr[0]:.1f} to {snr[1]:.1f}")
    X_train, y_train, sigma_train = make_signals(
        model, _TISSUES, snr=tuple(snr), prior=_PRIOR, random_state=seed, return_sigma=True
    )
    net = HybridLabelNetRegressor(
        model,
        alpha=alpha,
        label_estimator=MLEEstimator(model, bounds=_BOUNDS, verbose=1),
        normalize="rms",
        sigma_input=True,
        random_state=seed,
        verbose=1,
    )
    found = net.fit(X_train, y_train, sigma=sigma_train).estimate(X, sigma=sigma)
    seconds = time.perf_counter() - start
    return _Maps(f"hybrid network, alpha {alpha:g}", seconds, found.parameters, found.status)


def _print_table(model, results):
    table = Table(title="Medians (quartiles) in the mask")
    table.add_column("method")
    for heading in ("seconds", "voxels"):
        table.add_column(heading, justify="right")
    for p in model.parameters:
        table.add_column(f"{p.name} ({p.unit})" if p.unit else p.name, justify="right")
    for heading in ("failed", "at bound", "out of domain"):
        table.add_column(heading, justify="right")
    for maps in results:
        quartiles = np.nanpercentile(maps.parameters, [50, 25, 75], axis=0).T
        count = {status: int(np.count_nonzero(maps.status == status)) for status in Status}
        failed = count[Status.BAD_INPUT] + count[Status.NOT_CONVERGED]
        table.add_row(
            maps.method,
            f"{maps.seconds:.1f}",
            f"{len(maps.status):,}",
            *("{:.3g} ({:.3g}-{:.3g})".format(*q) for q in quartiles),
            *(f"{n:,}" for n in (failed, count[Status.AT_BOUND], count[Status.OUT_OF_DOMAIN])),
        )
    console.print(table)
