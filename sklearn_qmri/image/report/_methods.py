"""Text for the methods section of a paper, and the references that it cites."""

import inspect
import re
from pathlib import Path

import numpy as np

from ..._version import __version__
from .._protocols import acquisition_of
from .._sidecar import read_inherited

_UNITS = {
    "b_values": "s/mm^2", "echo_times": "ms", "inversion_times": "ms", "repetition_times": "ms",
    "repetition_time": "ms", "flip_angles": "degrees", "delay_times": "ms",
}  # fmt: skip
_METHODS = {
    "MLEEstimator": "by maximum likelihood within bounds",
    "SegmentedIVIMEstimator": "by a segmented least-squares fit",
    "HybridLabelNetRegressor": "by a network trained on a blend of maximum-likelihood and true "
    "labels of simulated tissues (Epstein et al.)",
    "BiasConstrainedNetRegressor": "by a network trained on simulated tissues to minimise the "
    "variance plus a multiple of the squared bias (Diskin et al.)",
    "PretrainedNetRegressor": "by a pretrained network that minimises the variance plus a multiple "
    "of the squared bias (Diskin et al.) for any protocol",
    "SelfSupervisedNetRegressor": "by a network trained on the likelihood of the scan itself "
    "(Barbieri et al.)",
    "PosteriorMeanEstimator": "as posterior means",
}
_CITED = {
    "Epstein": "Epstein SC et al. Choice of training label matters: how to best use deep learning "
    "for quantitative MRI parameter estimation. MELBA 2024:002; arXiv:2205.05587.",
    "Diskin": "Diskin T, Eldar YC, Wiesel A. Learning to estimate without bias. IEEE Trans Signal "
    "Process 2023;71:2162.",
    "Barbieri": "Barbieri S et al. Deep learning how to fit an intravoxel incoherent motion model "
    "to diffusion-weighted MRI. Magn Reson Med 2020;83:312.",
    "Gudbjartsson": "Gudbjartsson H, Patz S. The Rician distribution of noisy MRI data. Magn Reson "
    "Med 1995;34:910.",
}


def methods_text(run):
    """Paragraph about how the maps were made, and the references that it cites.

    Parameters
    ----------
    run : Run

    Returns
    -------
    text : str
    references : list of str
    """
    story, model = run.story, run.signal_model
    names = _joined([p.name for p in model.parameters])
    method = story["Method"]
    how = _METHODS.get(method, f"by {method}")
    sentences = [
        f"Maps of {names} were estimated with sklearn_qmri {__version__} {how}, with the signal "
        f"model {type(model).__name__}{_formula(model)}.",
        _about_scanner(story),
        _about_protocol(model),
        _about_noise(run),
        _about_prior(story),
        f"The mask had {run.n_voxels:,} voxels.",
    ]
    if story.get("BiasWeight") is not None:
        sentences.insert(1, f"The squared bias had the weight {story['BiasWeight']}.")
    if story.get("Alpha") is not None:
        sentences.insert(1, f"The labels of maximum likelihood had the weight {story['Alpha']}.")
    if fixed := story.get("Fixed"):
        known = _joined([f"{name} ({value})" for name, value in fixed.items()])
        sentences.append(f"Known parameters were {known}.")
    text = " ".join(filter(None, sentences))
    cited = [entry for key, entry in _CITED.items() if key in text]
    return text, [*_references_of(type(model)), *cited]


def _about_scanner(story):
    """Scanner and field strength from the sidecars of the scan, after BIDS; empty if unknown."""
    paths = [Path(source) for source in story.get("Sources") or ()]
    fields = read_inherited(paths[0]) if paths and paths[0].exists() else {}
    field, words = fields.get("MagneticFieldStrength"), []
    if isinstance(field, (int, float)):
        words.append(f"at {field:g} T")
    names = [fields.get(key) for key in ("Manufacturer", "ManufacturersModelName")]
    if any(names):
        words.append(f"on a scanner {' '.join(str(name) for name in names if name)}")
    return f"Data were acquired {' '.join(words)}." if words else ""


def _about_protocol(model):
    parts = []
    for name, values in acquisition_of(model).items():
        shown = ", ".join(f"{value:g}" for value in np.ravel(values))
        parts.append(f"{name.replace('_', ' ')} {shown} {_UNITS.get(name, '')}".rstrip())
    return f"The acquisition had {_joined(parts)}." if parts else ""


def _about_noise(run):
    kind, sigma = run.story.get("Noise", ""), run.sigma
    if sigma is None:
        level = "a map of sigma" if run.story.get("Sigma") else "no noise level"
    else:
        level = f"sigma = {', '.join(f'{value:.4g}' for value in np.ravel(sigma)[:8])}"
        level += " learnt from the scan" if run.story.get("SigmaLearnt") else ""
    cited = " (Gudbjartsson and Patz)" if "Rician" in kind else ""
    return f"The noise model was {kind}{cited} with {level}."


def _about_prior(story):
    prior = (story.get("Training") or {}).get("Prior")
    if not prior:
        return ""
    ranges = _joined([f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in prior.items()])
    learnt = "LearntPrior" in story["Training"]
    return (
        f"The prior was learnt from the scan, within {ranges}."
        if learnt
        else f"Tissues of the prior had {ranges}."
    )


def _formula(model):
    """Formula of a signal model, the literal block of its docstring."""
    found = re.search(r"::\n\n((?: {4}.*\n)+)", inspect.getdoc(type(model)) or "")
    return f", {' '.join(found[1].split())}" if found else ""


def _references_of(cls):
    """Entries of the section of references in a docstring."""
    found = re.search(r"References\n-+\n(.*?)(\n\n\S+\n-+\n|\Z)", inspect.getdoc(cls) or "", re.S)
    if not found:
        return []
    return [" ".join(entry.split()) for entry in re.split(r"\n\s*\n", found[1]) if entry.strip()]


def _joined(parts):
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
