"""Command: maps of a real scan."""

import json
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import nibabel
import numpy as np
import typer
from sklearn.utils import Bunch

from .._files import replacing
from ..datasets import fetch_pelvis_ivim, make_phantom
from ..estimators import core
from ..image import Scan, axial_slice, fit_to_scan, open_scan, sample_voxels, unmask, write_nifti
from ..image._estimators import describe_run
from ..image.report import Run, page_names, write_pages
from ..inspection import ParameterMapDisplay
from ..signal_models import IVIM
from ._console import command_line, console, notes, refuse_to_overwrite
from ._estimators import parse_bias_weight
from ._options import BiasWeight, Device, Jobs, Json, Overwrite, Report, Seed
from ._summary import summarise, summary_table

_B_VALUES = (0, 10, 20, 30, 50, 80, 100, 200, 400, 800)


class _Shown(NamedTuple):
    """A scan, and the settings of its figure."""

    scan: Scan
    b_values: np.ndarray
    title: str
    quarter_turns: int = 0

    @property
    def affine(self):
        return self.scan.images[0].affine


class _Maps(NamedTuple):
    """Estimates of all voxels by a method, and how long they took."""

    method: str
    seconds: float
    estimator: object
    sigma: float
    estimates: Bunch


def demo(
    out: Annotated[Path, typer.Option(help="Folder for maps and figure.")] = Path(
        "sklearn-qmri-demo"
    ),
    bias_weight: BiasWeight = None,
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    report: Report = True,
    as_json: Json = False,
):
    """Fit IVIM maps of a real pelvis scan, by maximum likelihood and by a pretrained network.

    Example: sklearn-qmri demo --bias-weight 30 --out maps --overwrite
    """
    shown = _load_scan(seed)
    model = IVIM(shown.b_values)
    weight = parse_bias_weight(bias_weight, model)
    figure = out / "maps.png"
    methods = ("mle", "pretrained")
    paths = {
        (m, name): out / f"{name}_{m}.nii.gz" for m in methods for name in model.parameter_names
    }
    pages = [out / name for name in page_names(methods)] if report else []
    refuse_to_overwrite([*paths.values(), figure, *pages], overwrite)

    X = shown.scan.sample(shown.scan.n_voxels, np.random.RandomState(seed))
    # The same voxels as in the command `fit`, whose table is therefore the same.
    some = sample_voxels(shown.scan, random_state=seed)
    settings = {"n_jobs": n_jobs, "device": device, "random_state": seed}
    mle, sigma = _fit("mle", "maximum likelihood", model, some, X, **settings)
    # The noise level that maximum likelihood has learnt is the same for both methods.
    settings |= {"sigma": sigma, "bias_weight": weight}
    title = f"pretrained, w = {bias_weight or format(weight, 'g')}"
    pretrained, _ = _fit("pretrained", title, model, some, X, **settings)

    for method, maps in zip(methods, (mle, pretrained), strict=True):
        for name, values in zip(model.parameter_names, maps.estimates.parameters.T, strict=True):
            volume = unmask(values.astype(np.float32), shown.scan.inside)
            write_nifti(paths[method, name], volume, shown.affine)
    _draw(shown, model, (mle, pretrained), figure)
    if report:
        runs = zip(methods, (mle, pretrained), strict=True)
        write_pages([_run(maps, name, shown, model) for name, maps in runs], out)
    _print((mle, pretrained), model, as_json)
    notes.print(f"Maps and figure are in {out}/")
    if report:
        notes.print(f"Look at them in {pages[-1]}")


def _print(results, model, as_json):
    """Print the summary of each method."""
    summaries = {
        maps.method: {
            "seconds": maps.seconds,
            **summarise(model, maps.estimates.parameters, maps.estimates.status),
        }
        for maps in results
    }
    if as_json:
        print(json.dumps(summaries, indent=1))
    else:
        console.print(summary_table(summaries))


def _draw(shown, model, results, path):
    slices = {m.method: _display_slice(m.estimates.parameters, shown) for m in results}
    display = ParameterMapDisplay(slices, model.parameters).plot(title=shown.title)
    with replacing(path) as scratch:
        display.figure_.savefig(scratch, dpi=120, format="png")


def _load_scan(seed):
    try:
        pelvis = fetch_pelvis_ivim()
    except OSError as error:
        notes.print(f"The real scan is out of reach, so this is a simulated phantom. {error}")
        phantom = make_phantom(IVIM(_B_VALUES), shape=(128, 128, 3), snr=20, random_state=seed)
        scan = open_scan(nibabel.Nifti1Image(phantom.data, np.eye(4)), phantom.mask)
        return _Shown(scan, np.array(_B_VALUES, dtype=float), "Simulated phantom, IVIM")
    except nibabel.filebasedimages.ImageFileError as error:
        raise ValueError(f"The pelvis scan is damaged: {error}") from error
    notes.print(f"Pelvis scan from {pelvis.source}")
    return _Shown(
        open_scan(pelvis.dwi, pelvis.mask),
        pelvis.b_values,
        "In-vivo pelvis, IVIM, one axial slice",
        quarter_turns=1,  # the header of this scan lays the body on its side
    )


def _display_slice(parameters, shown):
    """Middle slice, cropped to the mask."""
    volume = axial_slice(unmask(parameters, shown.scan.inside), shown.affine)
    # Voxels outside of the mask are NaN, so that finite ones mark the rows and columns to keep.
    volume = np.rot90(volume, shown.quarter_turns)
    inside = np.isfinite(volume).any(axis=-1)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return volume[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fit(name, title, model, some, X, **settings):
    """Estimates of all voxels X by a method that is fitted to some of them, and the noise level."""
    # The time covers the fit and the estimates, as a user waits for both.
    start = time.perf_counter()
    fitted = fit_to_scan(name, model, some, **settings, verbose=1, tell=notes.print)
    if name == "mle":  # the pretrained network is too fast for a bar
        fitted.estimator.set_params(verbose=1)
    maps = fitted.estimator.estimate(X, sigma=fitted.sigma)
    seconds = time.perf_counter() - start
    sigma = fitted.estimator.sigma_ if fitted.sigma is None else fitted.sigma
    return _Maps(title, seconds, fitted.estimator, sigma, maps), sigma


def _run(maps, name, shown, model):
    """Run of the report, from estimates in memory."""
    estimates, inside = maps.estimates, shown.scan.inside
    columns = dict(zip(model.parameter_names, estimates.parameters.T, strict=True))
    columns |= {"residual_rms": estimates.residual_rms}
    volumes = {key: unmask(values, inside) for key, values in columns.items()}
    volumes["status"] = unmask(estimates.status, inside, fill=-1)
    bits = estimates.at_bound @ 2 ** np.arange(len(model.parameters))
    volumes["at_bound"] = unmask(bits, inside, fill=0)
    sources = [image.get_filename() or "phantom" for image in shown.scan.images]
    story = describe_run(maps.estimator, maps.sigma, sources) | {"Command": command_line()}
    noise = core(maps.estimator).noise_
    return Run(name, story, model, noise, volumes, shown.scan.images[0], inside, shown.scan)
