"""Options that say what was measured and what tissue is like."""

import inspect
import os

import numpy as np

from .. import signal_models
from ..image import compute_mask, mean_signal, read_acquisition, read_b_values
from ..image._acquisition import MEASURED
from ..signal_models import LinearGaussian, SignalModel
from ..tissues import check_bounds, prior_ranges
from ._console import notes

_SAME = 0.01  # relative difference of acquisitions that count as the same
_SAME_B = 1.0  # s/mm^2, of b-values near 0


def known_models():
    """Signal models that can be named on the command line, by the name of their class."""
    return {
        key: value
        for key, value in vars(signal_models).items()
        if inspect.isclass(value)
        and issubclass(value, SignalModel)
        and value not in (SignalModel, LinearGaussian)
    }


def make_model(name, b_values, settings, known=None):
    """Signal model by the name of its class, with its acquisition.

    Parameters
    ----------
    name : str
    b_values : str or None
        Numbers, or a file of them.
    settings : list of str
        ``argument=value``; numbers become an array.
    known : dict, default=None
        Acquisition, of which the model takes what it has an argument for.
    """
    models = known_models()
    if name not in models:
        raise ValueError(f"--model expects one of {sorted(models)}, got {name!r}.")
    signature = inspect.signature(models[name])
    arguments = {key: value for key, value in (known or {}).items() if key in signature.parameters}
    if b_values is not None:
        arguments["b_values"] = _numbers(b_values, "--b-values")
    for key, value in (_split(text, "--with") for text in settings):
        arguments[key] = _setting(key, value)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{name}{signature}: {error}. Give --bval, --with argument=..., or files beside the "
            "scan that tell."
        ) from error
    return models[name](**arguments)


def known_acquisition(image, b_values):
    """What is known of how a scan was measured: from the option, else the files beside it."""
    known = read_acquisition(image)
    if b_values is not None:
        known["b_values"] = _numbers(b_values, "--b-values")
    found = [name for name in known if name != "b_values" or b_values is None]
    if found:
        notes.print(f"From the files beside the scan: {', '.join(found)}")
    return known


def refuse_other_protocol(signal_model, known, model_file):
    """ValueError where a scan was not measured as a model file was trained for."""
    trained = {
        name: value
        for name, value in signal_model.get_params().items()
        if name in MEASURED and value is not None
    }
    compared = [name for name in trained if name in known]
    for name in compared:
        ours, theirs = (np.asarray(v[name], dtype=np.float64) for v in (trained, known))
        slack = _SAME_B if name == "b_values" else 0.0
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=_SAME, atol=slack):
            raise ValueError(
                f"{model_file} was trained for {name} {ours.tolist()}, the scan has "
                f"{theirs.tolist()}: train for these."
            )
    if missing := sorted(set(trained) - set(compared)):
        notes.print(f"Nothing tells the scan's {', '.join(missing)}: taken to be the network's.")


def scan_mask(image, mask):
    """Mask of a scan as the option names it: a file, or made of the scan."""
    if mask is None:
        return mean_signal(image) > 0
    if mask != "auto":
        return mask
    inside = compute_mask(image)
    notes.print(f"Mask by threshold: {np.count_nonzero(inside):,} of {inside.size:,} voxels")
    return inside


def parse_prior(texts, model):
    """Ranges by parameter, of texts like ``f=0.1:0.5``; None of none."""
    prior = _ranges(texts, "--prior")
    prior_ranges(model, prior)  # for its error, before there is any output
    return prior or None


def parse_bounds(texts, model):
    """Bounds by parameter, of texts like ``f=0:0.5``; None of none."""
    bounds = _ranges(texts, "--bounds")
    check_bounds(bounds, model)  # for its error, before there is any output
    return bounds or None


def parse_range(text, option):
    """Two numbers of a text like ``low:high``, or one number twice."""
    low, _, high = text.partition(":")
    pair = tuple(_floats([low, high or low], option, "a number or low:high"))
    if pair[0] > pair[1]:
        raise ValueError(f"{option} expects low:high, got {text!r}.")
    return pair


def parse_tissues(texts, model):
    """Tissues by name, of texts like ``tumour:f=0.1,D=0.9,D_star=20``.

    Amplitudes that are not given are in the middle of their prior.
    """
    tissues = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        values = dict(_split(part, "--tissue") for part in rest.split(",") if colon)
        known = {p.name: p.loss_scale for p in model.parameters if p.amplitude} | values
        if set(known) != set(model.parameter_names):
            raise ValueError(
                f"--tissue {text!r} gives {sorted(values)}, expected NAME: and values of "
                f"{list(model.parameter_names)}."
            )
        tissues[name] = _floats([known[p] for p in model.parameter_names], "--tissue", "numbers")
    return tissues or None


def _setting(name, text):
    """Value of an argument: what is called by a plural is an array, the rest a single value."""
    if name.endswith("s"):
        return _numbers(text, "--with")
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _numbers(text, option):
    try:
        return np.array([float(part) for part in text.replace(",", " ").split()])
    except ValueError:
        if not os.path.isfile(text):
            raise ValueError(f"{option} expects numbers or a file of them, got {text!r}.") from None
    return read_b_values(text)


def _ranges(texts, option):
    """Pairs of numbers by name."""
    pairs = (_split(text, option) for text in texts or [])
    return {name: tuple(_floats(value.split(":"), option, "low:high")) for name, value in pairs}


def _floats(texts, option, expected):
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"{option} expects {expected}, got {' '.join(texts)!r}.") from error


def _split(text, option):
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{option} expects name=value, got {text!r}.")
    return name.strip(), value.strip()
