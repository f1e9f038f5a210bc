"""Choice of an estimator on the command line, and the options that each takes."""

from enum import StrEnum

import numpy as np

from ..estimators import (
    ESTIMATORS,
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    core,
    entry_of,
)
from ..estimators._bias_constrained_training import check_bias_weight
from ..estimators._labels import check_alpha
from ..image._train import TRAINED
from ._protocol import parse_weights

# Estimators without a name are not offered on the command line.
_OFFERED = {entry.name: entry for entry in ESTIMATORS if entry.name}

Method = StrEnum("Method", {name.replace("-", "_"): name for name in _OFFERED})
Network = StrEnum("Network", {name.replace("-", "_"): name for name in TRAINED})


def method_of(estimator):
    """Name of an estimator in the table, or the name of its class in lower case."""
    inner = core(estimator)
    entry = entry_of(inner)
    return entry.name if entry and entry.name else type(inner).__name__.lower()


def refuse_unused(method, options, among=tuple(_OFFERED), option=None):
    """Raise ValueError for an option that a method does not use.

    Parameters
    ----------
    method : str
        Name in the table.
    options : dict of {str: object}
        Values of options by their name in the table.
    among : sequence of str, default=all
        Names of the methods that the command offers.
    option : str, default=None
        What the user typed, for the error. None: the option of the same name.
    """
    for name, value in options.items():
        # 0 counts as given: alpha may be 0.
        given = value is not None and value is not False and value != []
        if given and name not in _OFFERED[method].takes:
            able = [other for other in among if name in _OFFERED[other].takes]
            told = option or f"--{name.replace('_', '-')}"
            raise ValueError(f"{told} is for --estimator {' or '.join(able)}.")


def parse_alpha(text, signal_model):
    """Alpha from an option: a number, or a list with one per parameter."""
    alpha = parse_weights(text, "--alpha", HybridLabelNetRegressor().alpha, signal_model)
    check_alpha(alpha, len(signal_model.parameters))
    return alpha


def parse_bias_weight(text, signal_model, net=None):
    """Weight of the squared bias from an option: a number, or a list with one per parameter.

    Parameters
    ----------
    text : str or None
    signal_model : SignalModel
    net : fitted BiasConstrainedNetRegressor, default=None
        Its weight is the default. None: an estimator's own default.

    Returns
    -------
    float or list of float

    Raises
    ------
    ValueError
        If the text is no such weight, or it is out of the range of the training.
    """
    unfitted = BiasConstrainedNetRegressor()
    default, largest = unfitted.bias_weight, unfitted.max_bias_weight
    if net is not None:
        default, largest = np.asarray(net.bias_weight).tolist(), net.max_bias_weight_
    weight = parse_weights(text, "--bias-weight", default, signal_model)
    check_bias_weight(weight, len(signal_model.parameters), largest)
    return weight
