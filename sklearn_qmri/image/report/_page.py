"""Page of one run."""

import shlex
from pathlib import Path

import numpy as np

from ...status import Status
from .._open import fitting
from . import _tables
from ._evidence import gather
from ._finding import DOUBTFUL, NOTE, WRONG, Finding
from ._methods import methods_text
from ._of_maps import of_maps
from ._of_noise import of_noise
from ._of_protocol import of_mask, of_numbers, of_protocol
from ._of_volumes import of_volumes
from ._overview import summary_of
from ._pictures import LOWEST, Layer, flags_of, pictures
from ._render import in_page, optional, render

_RANKS = {WRONG: "wrong", DOUBTFUL: "doubtful", NOTE: "note"}
_KINDS = {"std": "standard deviation", "bias": "bias", "lower": "lower end", "upper": "upper end"}
# Marks that the page can show: text and colour by name, and the status that they stand for, if any.
_MARKS = {
    "bound": ("on a bound", (255, 140, 0), None),
    "domain": ("out of domain", (230, 60, 200), Status.OUT_OF_DOMAIN),
    "converged": ("not converged", (255, 60, 60), Status.NOT_CONVERGED),
    "input": ("no possible measurement", (80, 170, 255), Status.BAD_INPUT),
    "atoms": ("few similar tissues", (120, 230, 120), Status.TOO_FEW_ATOMS),
}


def page_of(run, labels=None):
    """Page of a run.

    Parameters
    ----------
    run : Run
    labels : path-like, nibabel image or array-like, default=None

    Returns
    -------
    str
    """
    # A wrong image of regions is found before the long part.
    regions = None if labels is None else fitting(labels, run.image, "labels")
    evidence = None if run.scan is None else _gather(run)
    found = findings(run, evidence)
    text, references = methods_text(run)
    command = run.story.get("Command")
    shown = pictures(_layers(run), _flags(run), run.affine, run.inside)
    heads, measurements = _tables.of_measurements(evidence) if evidence else ((), ())
    return render(
        "page.html", run=run, findings=found, ranks=_RANKS,
        estimates=_tables.of_estimates(run, evidence), statuses=_tables.of_statuses(run),
        regions=[] if labels is None else _tables.of_regions(run, regions),
        noise=_tables.of_noise(run, evidence), heads=heads, measurements=measurements,
        prior=_tables.of_prior(run), text=text, references=references,
        command=command and shlex.join(command),
        data=_data(run, shown), kinds=_kinds(run),
        summary=in_page(summary_of(run, found)),
    )  # fmt: skip


def _gather(run):
    return gather(run.scan, run.signal_model, run.noise, run.maps, run.sigma)


def findings(run, evidence):
    """Findings about a run, the most serious first."""
    if evidence is None:
        names = ", ".join(run.missing)
        where = f"not where it was when the maps were made: {names}, looked for from {Path.cwd()}"
        return [
            Finding(
                NOTE, "No scan", f"The scan is {where if names else 'in memory only'}.",
                "Put back what is missing, or pass the scan, for findings about its signals.",
            )
        ]  # fmt: skip
    prior = (run.story.get("Training") or {}).get("Prior")
    found = [
        *of_protocol(evidence), *of_numbers(evidence),
        *of_mask(evidence, run.n_voxels), *of_volumes(evidence),
        *of_noise(evidence, bool(run.story.get("SigmaLearnt"))),
        *of_maps(evidence, prior),
    ]  # fmt: skip
    return sorted(found, key=lambda finding: -finding.rank)


def _layers(run):
    """Maps to show: anatomy, parameters and their errors, residuals."""
    layers = {}
    if run.scan is not None:
        weighted = run.scan.everywhere()
        shape = run.inside.shape
        parts = [weighted.read(slice(z, z + 1))[0][:, 0] for z in range(shape[2])]
        anatomy = np.stack([part.reshape(shape[:2]) for part in parts], axis=2)
        layers["anatomy"] = Layer("First measurement", "", anatomy.astype(np.float64))
    for p in run.signal_model.parameters:
        layers[p.name] = Layer(p.name, p.unit, run.maps[p.name])
        for kind, words in _KINDS.items():
            if f"{p.name}_{kind}" in run.maps:
                layer = Layer(f"{p.name}, {words}", p.unit, run.maps[f"{p.name}_{kind}"])
                layers[f"{p.name}_{kind}"] = layer
    if "residual_rms" in run.maps:
        layers["residual_rms"] = Layer("Residual", "signal", run.maps["residual_rms"])
    sigma = run.sigma
    if run.scan is not None and np.ndim(run.scan.sigma) == 3:
        sigma = run.scan.sigma
    amplitude = next((p.name for p in run.signal_model.parameters if p.amplitude), None)
    if amplitude and sigma is not None and sigma.size in (1, run.inside.size):
        values = run.maps[amplitude] / (sigma.ravel()[0] if sigma.size == 1 else sigma)
        layers["snr"] = Layer("Signal-to-noise ratio", "", values)
    return layers


def _kinds(run):
    return {
        kind: words
        for kind, words in _KINDS.items()
        if any(f"{name}_{kind}" in run.maps for name in run.signal_model.parameter_names)
    }


def _flags(run):
    parameters = np.stack([run.maps[name] for name in run.signal_model.parameter_names])
    bits = run.maps.get("at_bound", np.zeros(run.inside.shape, dtype=int)).astype(int)
    return flags_of(run.status, bits, parameters)


def _marks(run):
    """Marks that some voxel has; bounds are those of the parameter that a panel shows."""
    found = {code for code in Status if np.any(run.status == code)}
    found |= {None} if np.any(run.maps.get("at_bound", 0)) else set()
    return [
        {"name": name, "text": text, "color": color, "status": code}
        for name, (text, color, code) in _MARKS.items()
        if code in found
    ]


def _data(run, shown):
    """Text of the JSON that the page's script reads."""
    matplotlib = optional("matplotlib")
    colors = matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3]
    parameters = list(run.signal_model.parameter_names)
    panels = "anatomy", *parameters, "residual_rms", "snr"
    data = shown | {
        "panels": [name for name in panels if name in shown["layers"]],
        "parameters": parameters, "colors": colors.ravel().tolist(), "lowest": LOWEST,
        "marks": _marks(run),
    }  # fmt: skip
    return in_page(data)
