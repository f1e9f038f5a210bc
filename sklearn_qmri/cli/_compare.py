"""Command: comparison of all methods for a protocol."""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .._files import replacing
from ..compare import compare_methods, estimate_snr
from ..image import open_scan, sample_voxels
from ..inspection import TradeOffDisplay
from ..metrics import least_variance, least_weighted, roi_error
from ._console import console, notes, refuse_to_overwrite
from ._options import (
    BValues,
    Device,
    Jobs,
    Json,
    Mask,
    Model,
    Overwrite,
    Prior,
    Samples,
    Seed,
    Settings,
)
from ._protocol import known_acquisition, make_model, parse_prior, parse_tissues
from ._task import scan_mask

_FIGURES = ("bias", "rms_bias", "std", "rmse", "slope")


Snr = Annotated[float | None, typer.Option(help="Signal-to-noise ratio.")]
SnrScan = Annotated[Path | None, typer.Option(help="NIfTI scan to estimate the SNR from.")]
Tissue = Annotated[
    list[str] | None, typer.Option(help="Tissue of interest, e.g. tumour:f=0.1,D=0.9,D_star=20.")
]
RoiVoxels = Annotated[
    int | None,
    typer.Option(help="Rule: least error of a mean over this many voxels (default: 10)."),
]
Weight = Annotated[float | None, typer.Option(help="Rule: least variance + weight * bias^2.")]
MaxBias = Annotated[
    float | None,
    typer.Option(help="Rule: least variance with RMS bias under this many loss scales."),
]


def compare(
    b_values: BValues = None,
    model: Model = "IVIM",
    settings: Settings = None,
    snr: Snr = None,
    scan: SnrScan = None,
    mask: Mask = None,
    prior: Prior = None,
    tissue: Tissue = None,
    roi_voxels: RoiVoxels = None,
    weight: Weight = None,
    max_bias: MaxBias = None,
    samples: Samples = 50_000,
    repeats: Annotated[int, typer.Option(help="Measurements of each tissue of interest.")] = 50,
    n_jobs: Jobs = 1,
    device: Device = "cpu",
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder for table and figure.")] = Path(
        "sklearn-qmri-compare"
    ),
    overwrite: Overwrite = False,
    as_json: Json = False,
):
    """Recommend a method for a protocol and its SNR, per parameter, with reasons and commands.

    Simulations measure maximum likelihood, the segmented fit, networks on true, maximum-likelihood
    and blended labels, a bias-constrained and a self-supervised network, the posterior mean and the
    Cramer-Rao bound.

    Example: sklearn-qmri compare --b-values "0 10 20 50 100 200 400 800" --snr 25 --roi-voxels 20
    """
    rule = _rule(roi_voxels, weight, max_bias)
    if (snr is None) == (scan is None):
        raise ValueError("Give either --snr or --scan.")
    known = {} if scan is None else known_acquisition(open_scan(scan), b_values)
    signal_model = make_model(model, None if scan else b_values, settings or [], known)
    ranges = parse_prior(prior, signal_model)
    tissues = parse_tissues(tissue or [], signal_model)
    paths = [out / f"comparison.{kind}" for kind in ("json", "csv", "png")]
    refuse_to_overwrite(paths, overwrite)
    # Options and output are checked by now, before the slow part.
    if scan is not None:
        snr = _snr_of_scan(signal_model, scan, mask, seed)
    result = compare_methods(
        signal_model, snr=snr, prior=ranges, tissues=tissues, rule=rule, n_samples=samples,
        n_repeats=repeats, n_jobs=n_jobs, device=device, random_state=seed, verbose=1,
    )  # fmt: skip
    text = _as_json(result, signal_model, snr, seed)
    _write(result, signal_model, text, *paths)
    if as_json:
        print(text)
        return
    _print(result, snr)
    notes.print(f"Table and figure are in {out}/")


def _rule(roi_voxels, weight, max_bias):
    """Rule from the three options, of which at most one may be set; None if none is."""
    rules = [
        make(value)
        for make, value in (
            (roi_error, roi_voxels), (least_weighted, weight), (least_variance, max_bias)
        )
        if value is not None
    ]  # fmt: skip
    if len(rules) > 1:
        raise ValueError(
            "--roi-voxels, --weight and --max-bias are different rules: give one of them."
        )
    for rule in rules:
        rule.check()
    return rules[0] if rules else None


def _snr_of_scan(signal_model, scan, mask, seed):
    inside = scan_mask(scan, mask)
    return estimate_snr(signal_model, sample_voxels(scan, inside, random_state=seed))


def _as_json(found, signal_model, snr, seed):
    settings = {"model": repr(signal_model), "snr": snr, "seed": seed}
    paths = {
        name: {key: values.tolist() for key, values in found[name].items()}
        for name in ("path", "frontier")
    }
    content = {**settings, "rule": found.overall["rule"], **found, **paths}
    content["parameters"] = [
        {"name": p["name"], "unit": p["unit"], "prior": p["prior"]} for p in found.parameters
    ]
    # NaN is no JSON: other programs could not read the file.
    return json.dumps(content, indent=1, allow_nan=False)


def _write(found, signal_model, text, json_path, csv_path, figure_path):
    with replacing(json_path) as path:
        path.write_text(text + "\n")
    with replacing(csv_path) as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, found.table[0])
        writer.writeheader()
        writer.writerows(found.table)
    figure = TradeOffDisplay.from_comparison(found, signal_model).figure_
    with replacing(figure_path) as path:
        figure.savefig(path, dpi=120, format="png")


def _print(found, snr):
    # Only the first of the tissues of interest is printed; the files have all of them.
    first = found.table[0]["tissue"]
    table = Table(title=f"SNR {snr:.3g}, tissues of interest: {first}")
    table.add_column("parameter")
    table.add_column("method", no_wrap=True)
    for figure in _FIGURES:
        table.add_column(figure.replace("_", " "), justify="right")
    for parameter in found.parameters:
        unit = f" ({parameter['unit']})" if parameter["unit"] else ""
        heading = parameter["name"] + unit
        for row in found.table:
            if row["tissue"] == first and row["parameter"] == parameter["name"]:
                figures = ("" if row[k] is None else f"{row[k]:.3g}" for k in _FIGURES)
                table.add_row(heading, row["method"], *figures)
                heading = ""  # only the first row of a parameter has its name
        table.add_section()
    console.print(table)
    for note in found.notes:
        console.print(f"Note: {note}")
    for row in (*found.recommendation, found.overall):
        console.print(f"{row['parameter']}: {row['reason']}")
        if row["command"] is not None:
            # Without wrapping, so that it can be pasted.
            console.print(f"    {row['command']}", soft_wrap=True)
