"""Parsing of options that describe the protocol and the tissues."""

import os

import numpy as np

from .. import signal_models
from ..image import read_acquisition, read_b_values
from ..image._acquisition import is_same
from ..image._protocols import acquisition_of, different_arguments, plain
from ..noise import AveragedMagnitude
from ..signal_models import LinearGaussian, SignalModel
from ..tissues import check_bounds, prior_ranges
from ._console import notes

_BOOLEANS = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}


def known_models():
    """Signal models that can be chosen on the command line, by the name of their class."""
    # The base class and the model that is learnt from data have no acquisition to describe.
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
        Upper and lower case are the same.
    b_values : str or None
        Numbers, or the name of a file of numbers.
    settings : list of str
        Texts ``argument=value``. The value has the type of the argument's default; it is a number
        if there is no default.
    known : dict, default=None
        Acquisition. The model takes those of its entries that it has an argument for.

    Returns
    -------
    SignalModel

    Raises
    ------
    ValueError
        If there is no such model or argument, an argument is missing or has another type, or a
        setting contradicts `known`.
    """
    models = known_models()
    names = {known_name.lower(): known_name for known_name in models}
    if name.lower() not in names:
        raise ValueError(
            f"--model expects one of {sorted(models)}, got {name!r}; 'sklearn-qmri models' "
            "describes them."
        )
    name = names[name.lower()]
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
        # A file beside the scan is evidence of what was measured: a silent choice between it and
        # the option would give wrong maps in one of two cases.
        if key in known and not is_same(key, value, known[key]):
            raise ValueError(
                f"--with {key}={plain(value)} contradicts the files beside the scan, which say "
                f"{plain(known[key])} (in the order of the images): correct one of them."
            )
        arguments[key] = value
    if missing := [key for key, value in expected.items() if value is ... and key not in arguments]:
        raise ValueError(
            f"{name} needs {', '.join(missing)}: add {' '.join(map(_option_of, missing))}, or put "
            "files beside the scan that have them."
        )
    return models[name](**arguments)


def _option_of(argument):
    """Option that gives an argument of a signal model, with an example of its values."""
    if argument == "b_values":
        return '--bval "0 50 100 200 400 800"'
    return f'--with {argument}="10 20 40"' if argument.endswith("s") else f"--with {argument}=10"


def known_acquisition(scan, b_values):
    """Acquisition of a scan: b-values from the option, the rest from the files beside the scan.

    If the option is None, b-values too are read from a file.
    """
    b_values = None if b_values is None else parse_b_values(b_values)
    known = read_acquisition(scan, b_values=b_values)
    from_files = [name for name in known if name != "b_values" or b_values is None]
    if from_files:
        notes.print(f"From the files beside the scan: {', '.join(from_files)}")
    return known


def parse_b_values(text):
    """Array of b-values, from a text that lists them or names a file."""
    return _numbers(text, "--b-values")


def refuse_other_protocol(signal_model, known, model_file):
    """Raise ValueError if a scan has another protocol than that of a model file's training."""
    trained = acquisition_of(signal_model)
    for name in different_arguments(signal_model, known):
        raise ValueError(
            f"{model_file} was trained for {name} {plain(trained[name])}, the scan has "
            f"{plain(known[name])}: train a network for these."
        )
    if missing := sorted(set(trained) - set(known)):
        notes.print(f"Unknown for this scan, so assumed as in training: {', '.join(missing)}.")


def parse_prior(texts, model):
    """Ranges by parameter, from texts like ``f=0.1:0.5``; None if there are no texts.

    The text ``scan`` stays as it is.
    """
    if texts == ["scan"]:
        return "scan"
    prior = _ranges(texts, "--prior")
    prior_ranges(model, prior)  # raises its error before any output is made
    return prior or None


def parse_bounds(texts, model):
    """Bounds by parameter, from texts like ``f=0:0.5``; None if there are no texts."""
    bounds = _ranges(texts, "--bounds")
    check_bounds(bounds, model)  # raises its error before any output is made
    return bounds or None


def parse_fixed(texts, model):
    """Known parameters, numbers and paths of maps, from texts like ``B1=1.0``."""
    fixed = {}
    for name, value in (_split(text, "--fixed") for text in texts or []):
        if name not in model.parameter_names:
            raise ValueError(f"--fixed expects one of {model.parameter_names}, got {name!r}.")
        fixed[name] = number_or_map(value, "--fixed", "name=number or name=map.nii.gz")
    return fixed


def averaged_noise(text, noise, model, method):
    """Noise model of averages, from a text that lists their numbers or names a file.

    `noise` is that of repeats that are averaged here, whose numbers are known, or "auto".
    """
    if text is None:
        # Signed signals have no noise floor: "auto" is Gaussian then.
        return noise if model.magnitude else "auto"
    if method == "segmented":
        raise ValueError("--averages is not for --estimator segmented, which has no likelihood.")
    if noise != "auto":
        raise ValueError(
            "--averages counts averages of the scanner, --average makes them: use one."
        )
    if not model.magnitude:
        raise ValueError(f"--averages expects a signal model of magnitudes, got {model!r}.")
    numbers = _numbers(text, "--averages")
    if len(numbers) != model.n_measurements:
        raise ValueError(
            f"--averages expects {model.n_measurements} numbers, one per measurement, got "
            f"{len(numbers)}."
        )
    return AveragedMagnitude(numbers.tolist())


def number_or_map(text, option, expected="a number, or a map in NIfTI format"):
    """Number, or path of a map, from a text; None without a text."""
    if text is None or str(text).endswith((".nii", ".nii.gz")):
        return text
    return _floats([text], option, expected)[0]


def parse_weights(text, option, default, model):
    """Number, or a list of one per parameter, from a text like ``10`` or ``f=4,D_star=30``.

    Parameters that the text does not name have the default, a number or one per parameter. Without
    a text, the result is the default.
    """
    if text is None:
        return default
    if "=" not in text:
        return _floats([text], option, "a number or name=number,...")[0]
    names = model.parameter_names
    weights = dict(zip(names, np.broadcast_to(default, len(names)).tolist(), strict=True))
    for name, value in (_split(part, option) for part in text.split(",")):
        if name not in weights:
            raise ValueError(f"{option} expects names among {list(weights)}, got {name!r}.")
        (weights[name],) = _floats([value], option, "name=number,...")
    return list(weights.values())


def parse_range(text, option):
    """Pair of numbers from a text like ``low:high``, or one number twice."""
    low, _, high = text.partition(":")
    pair = tuple(_floats([low, high or low], option, "a number or low:high"))
    if pair[0] > pair[1]:
        raise ValueError(f"{option} expects low:high, got {text!r}.")
    return pair


def parse_tissues(texts, model):
    """Tissues by name, from texts like ``tumour:f=0.1,D=0.9,D_star=20``.

    An amplitude that is not given takes its loss scale, by default the middle of its prior.
    """
    tissues = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        values = dict(_split(part, "--tissue") for part in rest.split(",") if colon)
        tissue = {p.name: p.loss_scale for p in model.parameters if p.amplitude} | values
        if not name or set(tissue) != set(model.parameter_names):
            raise ValueError(
                f"--tissue {text!r} gives {sorted(values)}, expected NAME: and values of "
                f"{list(model.parameter_names)}."
            )
        tissues[name] = _floats([tissue[p] for p in model.parameter_names], "--tissue", "numbers")
    return tissues or None


def _setting(name, text, default):
    """Value of an argument, with the type of its default.

    An argument that is neither a switch nor a text is part of the acquisition: names in the plural
    are arrays, other names are numbers.
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


def _numbers(text, option):
    # Numbers first: a file whose name is a number would have to be given as ./800.
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
