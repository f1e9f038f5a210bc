"""Command: maps of a real scan."""

import json
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from .._network import Training
from ..datasets import fetch_pelvis_ivim, make_phantom, make_signals
from ..estimators import HybridLabelNetRegressor, MLEEstimator
from ..image import apply_mask, axial_slice, read_volume, unmask, write_nifti
from ..inspection import ParameterMapDisplay
from ..signal_models import IVIM
from ._console import console, notes, refuse_to_overwrite
from ._options import Alpha, Device, Jobs, Json, Overwrite, Seed
from ._summary import summarise, summary_table

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
    alpha: Alpha = 0.5,
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
):
    """Fit IVIM maps of a real pelvis scan, by maximum likelihood and by a hybrid-label network.

    Example: sklearn-qmri demo --alpha 0.25 --out maps --overwrite
    """
    scan = _load_scan(seed)
    model = IVIM(scan.b_values)
    figure = out / "maps.png"
    methods = ("mle", "hybrid")
    paths = {
        (m, name): out / f"{name}_{m}.nii.gz" for m in methods for name in model.parameter_names
    }
    refuse_to_overwrite([*paths.values(), figure], overwrite)

    X = apply_mask(scan.data, scan.mask)
    conventional = MLEEstimator(model, bounds=_BOUNDS, n_jobs=n_jobs, device=device, verbose=1)
    mle, sigma = _fit_mle(conventional, X)
    notes.print(
        f"Noise level learnt from {len(X):,} voxels: sigma = {sigma:.4g} (units of the scan)"
    )
    hybrid = _fit_hybrid(conventional, X, sigma, mle, alpha, seed)

    for method, maps in zip(methods, (mle, hybrid), strict=True):
        for name, values in zip(model.parameter_names, maps.parameters.T, strict=True):
            volume = unmask(values.astype(np.float32), scan.mask)
            write_nifti(paths[method, name], volume, scan.affine)
    _draw(scan, model, (mle, hybrid), figure)
    summaries = {
        m.method: {"seconds": m.seconds, **summarise(model, m.parameters, m.status)}
        for m in (mle, hybrid)
    }
    if as_json:
        print(json.dumps(summaries, indent=1))
    else:
        console.print(summary_table(summaries))
    notes.print(f"Maps and figure are in {out}/")


def _draw(scan, model, results, path):
    slices = {m.method: _display_slice(m.parameters, scan) for m in results}
    display = ParameterMapDisplay(slices, model.parameters).plot(title=scan.title)
    display.figure_.savefig(path, dpi=120)


def _load_scan(seed):
    try:
        pelvis = fetch_pelvis_ivim()
    except OSError as error:
        notes.print(f"The real scan is out of reach, so this is a simulated phantom. {error}")
        phantom = make_phantom(IVIM(_B_VALUES), shape=(128, 128, 3), snr=20, random_state=seed)
        b_values = np.array(_B_VALUES, dtype=float)
        return _Scan(phantom.data, phantom.mask, np.eye(4), b_values, "Simulated phantom, IVIM")
    notes.print(f"Pelvis scan from {pelvis.source}")
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


def _fit_mle(estimator, X):
    start = time.perf_counter()
    found = estimator.fit(X).estimate(X)
    seconds = time.perf_counter() - start
    return _Maps("maximum likelihood", seconds, found.parameters, found.status), estimator.sigma_


def _fit_hybrid(labels, X, sigma, mle, alpha, seed):
    """Train on simulations over the range of SNR that the scan has, and predict the scan."""
    start = time.perf_counter()
    model = labels.signal_model
    snr = np.nanpercentile(mle.parameters[:, 0] / sigma, [2.5, 97.5]).clip(min=2.0)
    notes.print(f"Training on {_TISSUES:,} simulated tissues at SNR {snr[0]:.1f} to {snr[1]:.1f}")
    X_train, y_train, sigma_train = make_signals(
        model, _TISSUES, snr=tuple(snr), prior=_PRIOR, random_state=seed, return_sigma=True
    )
    net = HybridLabelNetRegressor(
        model, alpha=alpha, label_estimator=labels, normalize="rms", sigma_input=True,
        training=Training(device=labels.device), random_state=seed, verbose=1,
    )  # fmt: skip
    found = net.fit(X_train, y_train, sigma=sigma_train).estimate(X, sigma=sigma)
    seconds = time.perf_counter() - start
    return _Maps(f"hybrid network, alpha {alpha:g}", seconds, found.parameters, found.status)
