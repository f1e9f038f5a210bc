"""Commands that fit a scan by a recommended method."""

import shlex

import numpy as np

from .. import signal_models
from ..estimators import entry_named
from ..noise import resolve_noise


def make_command(signal_model, noise, prior, known, method, settings):
    """Command line that fits a scan by a method.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    prior : dict or other
        Same as in `make_signals`.
    known : dict of {str: (float, float)}
        Narrow bounds of known parameters.
    method : str
        Name in the table of estimators.
    settings : dict of {str: dict of {str: float}}
        Value for each parameter, by argument, such as ``{"alpha": {"f": 0.2}}``.

    Returns
    -------
    str or None
        None if the command line cannot express the signal model, its noise or the prior.
    """
    takes = entry_named(method).takes
    model = _describe(signal_model)
    if model is None or noise != resolve_noise("auto", signal_model):
        return None
    options = [*model, "--estimator", method]
    for argument, values in settings.items():
        listed = ",".join(f"{name}={value:.3g}" for name, value in values.items())
        options += [f"--{argument.replace('_', '-')}", listed]
    if "prior" in takes and prior is not None:
        if not isinstance(prior, dict):
            return None
        options += _ranges("--prior", prior)
    if "fixed" in takes:
        for name, ends in known.items():
            options += ["--fixed", f"{name}={_text(np.mean(ends))}"]
    elif "bounds" in takes:
        options += _ranges("--bounds", known)
    return f"sklearn-qmri fit SCAN {shlex.join(options)}"


def _describe(signal_model):
    """Options of a signal model; None if they cannot describe it."""
    name = type(signal_model).__name__
    if vars(signal_models).get(name) is not type(signal_model):
        return None  # a model of the user's own
    options = ["--model", name]
    values = signal_model.get_params()
    for argument, default in signal_model.arguments().items():
        value = values[argument]
        if np.array_equal(value, default):
            continue
        text = _text(value)
        if text is None:
            return None
        given = ["--b-values", text] if argument == "b_values" else ["--with", f"{argument}={text}"]
        options += given
    return options


def _text(value):
    """Text of an argument: a switch, a word, a number or several; None if it is none of these."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    numbers = np.asarray(value)
    if numbers.ndim > 1 or numbers.dtype.kind not in "iuf":
        return None
    return ",".join(np.format_float_positional(n, trim="-") for n in np.atleast_1d(numbers))


def _ranges(option, ranges):
    """Options of ranges by name."""
    texts = (f"{name}={_text(low)}:{_text(high)}" for name, (low, high) in ranges.items())
    return [part for text in texts for part in (option, text)]
