"""Options that say what was measured and what tissue is like."""

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
_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def known_models():
    """Signal models that can be named on the command line, by the name of their class."""
    return {
        key: value
        for key, value in vars(signal_models).items()
        if isinstance(value, type)
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
        ``argument=value``, of the type of the argument's default; numbers without one.
    known : dict, default=None
        Acquisition, of which the model takes what it has an argument for.

    Returns
    -------
    SignalModel

    Raises
    ------
    ValueError
        If there is no such model or argument, one is missing or of another type, or a setting
        contradicts what is known.
    """
    models = known_models()
    if name not in models:
        raise ValueError(f"--model expects one of {sorted(models)}, got {name!r}.")
    expected, known = models[name].arguments(), known or {}
    arguments = {key: value for key, value in known.items() if key in expected}
    if b_values is not None:
        if "b_values" not in expected:
            raise ValueError(f"{name} has no b-values, it expects {list(expected)}: drop --bval.")
        arguments["b_values"] = parse_b_values(b_values)
    for key, text in (_split(text, "--with") for text in settings):
        if key not in expected:
            raise ValueError(
                f"--with expects an argument of {name}, {list(expected)}: got {key!r}."
            )
        value = _setting(key, text, expected[key])
        if key in known and not _same(value, known[key]):
            raise ValueError(
                f"--with {key}={_plain(value)} contradicts the files beside the scan, which say "
                f"{_plain(known[key])} (in the order of the images): correct one of them."
            )
        arguments[key] = value
    if missing := [key for key, value in expected.items() if value is ... and key not in arguments]:
        raise ValueError(
            f"{name} needs {', '.join(missing)}: give --bval, --with argument=..., or files beside "
            "the scan that tell."
        )
    return models[name](**arguments)


def known_acquisition(scan, b_values):
    """Acquisition of a scan: b-values of the option, the rest from the files beside it.

    An option takes the place of a file, which is then not read.
    """
    b_values = None if b_values is None else parse_b_values(b_values)
    known = read_acquisition(scan, b_values=b_values)
    found = [name for name in known if name != "b_values" or b_values is None]
    if found:
        notes.print(f"From the files beside the scan: {', '.join(found)}")
    return known


def parse_b_values(text):
    """Array of b-values, listed in a text or in the file that it names."""
    return _numbers(text, "--b-values")


def refuse_other_protocol(signal_model, known, model_file):
    """ValueError where a scan was not measured as a model file was trained for."""
    trained = {
        name: value
        for name, value in signal_model.get_params().items()
        if name in MEASURED and value is not None
    }
    compared = [name for name in trained if name in known]
    for name in compared:
        if not _same(trained[name], known[name], _SAME_B if name == "b_values" else 0.0):
            raise ValueError(
                f"{model_file} was trained for {name} {_plain(trained[name])}, the scan has "
                f"{_plain(known[name])}: train for these."
            )
    if missing := sorted(set(trained) - set(compared)):
        notes.print(f"Nothing tells the scan's {', '.join(missing)}: taken to be the network's.")


def scan_mask(scan, mask):
    """Mask of a scan as the option names it: a file, or made of the scan."""
    if mask is None:
        return mean_signal(scan) > 0
    if mask != "auto":
        return mask
    inside = compute_mask(scan)
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


def parse_fixed(texts, model):
    """Known parameters, of texts like ``B1=1.0``; None of none."""
    fixed = {}
    for name, value in (_split(text, "--fixed") for text in texts or []):
        if name not in model.parameter_names:
            raise ValueError(f"--fixed expects one of {model.parameter_names}, got {name!r}.")
        (fixed[name],) = _floats([value], "--fixed", "name=number")
    return fixed or None


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
        if not name or set(known) != set(model.parameter_names):
            raise ValueError(
                f"--tissue {text!r} gives {sorted(values)}, expected NAME: and values of "
                f"{list(model.parameter_names)}."
            )
        tissues[name] = _floats([known[p] for p in model.parameter_names], "--tissue", "numbers")
    return tissues or None


def _setting(name, text, default):
    """Value of an argument, of the type of its default.

    Without one, the argument is part of the acquisition: one called by a plural is an array, the
    rest are numbers.
    """
    if isinstance(default, bool):
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"--with {name} expects yes or no, got {text!r}.")
        return _BOOLEANS[text.lower()]
    if isinstance(default, str):
        return text
    if name.endswith("s"):
        return _numbers(text, f"--with {name}")
    return _floats([text], f"--with {name}", "a number")[0]


def _same(one, other, slack=0.0):
    """Whether two acquisitions differ by no more than they do between scans of one protocol."""
    one, other = (np.asarray(value, dtype=np.float64) for value in (one, other))
    return one.shape == other.shape and np.allclose(one, other, rtol=_SAME, atol=slack)


def _plain(value):
    return np.asarray(value, dtype=np.float64).tolist()


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
        given = " ".join(map(str, texts))
        raise ValueError(f"{option} expects {expected}, got {given!r}.") from error


def _split(text, option):
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{option} expects name=value, got {text!r}.")
    return name.strip(), value.strip()
