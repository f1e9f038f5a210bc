"""Properties of protocols, and whether they are in the range of those of a training."""

import numpy as np

_MARGIN = 1.05  # factor by which a property may be beyond the range


def describe_protocol(signal_model):
    """Properties of the protocol of a signal model, by name.

    Parameters
    ----------
    signal_model : SignalModel

    Returns
    -------
    dict of {str: float}
        Number of measurements; largest value, and smallest one above 0, of each acquisition.
    """
    properties = {"number of measurements": float(signal_model.n_measurements)}
    for name, value in signal_model.get_params().items():
        if value is None or isinstance(value, (str, bool)):
            continue
        values = np.asarray(value, dtype=np.float64).ravel()
        positive = values[values > 0]
        if len(positive):
            properties[f"largest of {name}"] = positive.max()
            properties[f"smallest of {name} above 0"] = positive.min()
    return properties


def merge_ranges(described):
    """Range [low, high] of each property over several protocols."""
    names = dict.fromkeys(name for properties in described for name in properties)
    columns = {name: [p[name] for p in described if name in p] for name in names}
    return {name: [float(min(values)), float(max(values))] for name, values in columns.items()}


def check_protocol(signal_model, ranges):
    """Refuse a protocol outside the ranges of a training.

    Raises
    ------
    ValueError
        For the first property that is outside, with its range.
    """
    for name, value in describe_protocol(signal_model).items():
        low, high = ranges.get(name, (np.nan, np.nan))
        if not low / _MARGIN <= value <= high * _MARGIN:
            raise ValueError(
                f"The {name} of {signal_model!r} is {value:g}, outside the range of the training, "
                f"{low:g} to {high:g}. Train a BiasConstrainedNetRegressor for this protocol."
            )
