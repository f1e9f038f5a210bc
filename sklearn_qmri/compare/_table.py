"""Figures of every tissue, method and parameter."""

import numpy as np

from ..metrics import (
    failure_rate,
    mean_bias,
    noise_correlation,
    noise_std,
    rms_bias,
    root_mean_squared_error,
    shrinkage_slope,
)

_FIGURES = (
    "bias", "rms_bias", "std", "rmse", "slope", "failed", "noise_correlation", "correlated_with",
)  # fmt: skip


def make_table(signal_model, groups, n_repeats, y, predicted, bound):
    """Records of every tissue, method and parameter.

    Parameters
    ----------
    signal_model : SignalModel
    groups : dict of {str: ndarray of shape (n, n_parameters)}
        Tissues by name.
    n_repeats : int
    y : ndarray of shape (n_rows, n_parameters)
        Tissues in the order of the groups, each `n_repeats` times.
    predicted : dict of {str: ndarray of shape (n_rows, n_parameters)}
    bound : ndarray of shape (n_tissues, n_parameters)
        Smallest standard deviations of unbiased estimates.

    Returns
    -------
    list of dict
    """
    # Number of the group of each tissue, (n_tissues,).
    rows = np.repeat(np.arange(len(groups)), [len(g) for g in groups.values()])
    parts = {name: rows == k for k, name in enumerate(groups)}
    if len(parts) > 1:
        parts = {"all": np.full(len(rows), True), **parts}
    records = []
    for tissue, part in parts.items():
        kept = np.repeat(part, n_repeats)
        for method, values in predicted.items():
            measured = _measure(signal_model.parameter_names, y[kept], values[kept])
            for p, figures in zip(signal_model.parameters, measured, strict=True):
                record = {"tissue": tissue, "method": method, "parameter": p.name, "unit": p.unit}
                records.append(record | figures)
        # Root mean square over tissues, to compare with `std` of the methods.
        for p, std in zip(signal_model.parameters, np.mean(bound[part] ** 2, axis=0), strict=True):
            record = {"tissue": tissue, "method": "Cramer-Rao bound", "parameter": p.name}
            figures = dict.fromkeys(_FIGURES) | {"std": _number(np.sqrt(std))}
            records.append(record | {"unit": p.unit} | figures)
    return records


def _measure(names, y, predicted):
    """Measures of each parameter, one dict per parameter."""
    columns = {
        "bias": mean_bias(y, predicted),
        "rms_bias": rms_bias(y, predicted),
        "std": noise_std(y, predicted),
        "rmse": root_mean_squared_error(y, predicted),
        "slope": shrinkage_slope(y, predicted),
        "failed": np.full(y.shape[1], failure_rate(y, predicted)),
    }
    # A parameter's correlation with itself is no news. NaN: estimates that do not vary.
    correlation = noise_correlation(y, predicted)
    np.fill_diagonal(correlation, np.nan)
    size = np.nan_to_num(np.abs(correlation), nan=-1.0)
    columns["noise_correlation"] = correlation[np.arange(len(names)), size.argmax(axis=1)]
    records = [{k: _number(v[j]) for k, v in columns.items()} for j in range(y.shape[1])]
    for record, other in zip(records, size.argmax(axis=1), strict=True):
        some = record["noise_correlation"] is not None
        record["correlated_with"] = names[other] if some else None
    return records


def _number(value):
    """Number as a float, or None if it is NaN or infinite, which JSON does not allow."""
    return float(value) if np.isfinite(value) else None
