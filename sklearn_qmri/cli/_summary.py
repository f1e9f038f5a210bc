"""Summary of maps: medians and quartiles of the parameters, and counts of each status."""

import numpy as np
from rich.table import Table

from ..estimators import entry_named
from ..noise import resolve_noise
from ..status import Status
from ..tissues import check_bounds, prior_ranges


def assumptions(task, method, mle, prior):
    """One line on what a fit assumes: mask, noise, bounds or prior.

    Parameters
    ----------
    task : Task
    method : str
        Name in the table of estimators.
    mle : MLEEstimator
        With the noise model, its level, and the bounds.
    prior : dict of {str: (float, float)}, "scan" or None
    """
    model, takes = mle.signal_model, entry_named(method).takes
    parts = [f"mask {task.mask}"]
    if "sigma" in takes:
        noise = type(resolve_noise(mle.noise, model)).__name__
        learnt = task.scan.sigma is None and mle.sigma is None
        level = "learnt from the scan" if learnt else "given"
        parts.append(f"{noise} noise with sigma {level}")
    if "bounds" in takes:
        bounds = check_bounds(mle.bounds, model).T
        parts.append(f"bounds {_ranges(model.parameters, bounds)}")
    if "prior" in takes:
        shown = prior_ranges(model, None if prior == "scan" else prior).T
        learnt = "prior learnt from the scan within" if prior == "scan" else "prior"
        # Amplitudes have the range of the scan.
        shapes = [(p, ends) for p, ends in zip(model.parameters, shown, strict=True)]
        shapes = [(p, ends) for p, ends in shapes if not p.amplitude]
        parts.append(f"{learnt} {_ranges(*zip(*shapes, strict=True))}")
    return f"Assumed: {'; '.join(parts)}"


def _ranges(parameters, ends):
    pairs = zip(parameters, ends, strict=True)
    return ", ".join(f"{p.name} {low:g} to {high:g} {p.unit}".strip() for p, (low, high) in pairs)


def summarise(signal_model, parameters, status):
    """Quartiles of each parameter and number of voxels of each status, ready for JSON.

    Parameters
    ----------
    signal_model : SignalModel
    parameters : ndarray of shape (n_voxels, n_parameters)
    status : ndarray of shape (n_voxels,) or None
        None: voxels with NaN count as failed.

    Returns
    -------
    dict
    """
    failed = np.isnan(parameters).any(axis=1)
    if status is None:
        status = np.where(failed, Status.BAD_INPUT, Status.OK)
    # Without any estimate the figures are null, which JSON can hold; NaN is no JSON.
    quartiles = [[None] * 3] * parameters.shape[1]
    if not failed.all():
        quartiles = np.percentile(parameters[~failed], [25, 50, 75], axis=0).T.tolist()
    rows = [
        {"name": p.name, "unit": p.unit, "median": median, "quartiles": [low, high]}
        for p, (low, median, high) in zip(signal_model.parameters, quartiles, strict=True)
    ]
    voxels = {code.name: int(np.count_nonzero(status == code)) for code in Status}
    return {"parameters": rows, "voxels": voxels}


def summary_table(summaries):
    """Table of summaries, one column per method.

    Parameters
    ----------
    summaries : dict of {str: dict}
        Results of `summarise` by method. Further entries, such as seconds, become rows.

    Returns
    -------
    rich.table.Table
    """
    table = Table(title="Medians (quartiles) in the mask")
    table.add_column("")
    for method in summaries:
        table.add_column(method, justify="right")
    columns = [_column(summary) for summary in summaries.values()]
    for heading in columns[0]:
        table.add_row(heading, *(column[heading] for column in columns))
    return table


def _column(summary):
    """Entries of a method's column, by the heading of their row."""
    column = {}
    for p in summary["parameters"]:
        heading = f"{p['name']} ({p['unit']})" if p["unit"] else p["name"]
        values = (p["median"], *p["quartiles"])
        column[heading] = "" if None in values else "{:.3g} ({:.3g}-{:.3g})".format(*values)
    voxels = summary["voxels"]
    # Statuses that call for the same action share a row.
    counts = {
        "voxels": sum(voxels.values()),
        "failed": voxels["BAD_INPUT"] + voxels["NOT_CONVERGED"],
        "at bound": voxels["AT_BOUND"],
        "out of domain": voxels["OUT_OF_DOMAIN"] + voxels["TOO_FEW_ATOMS"],
    }
    column |= {heading: f"{count:,}" for heading, count in counts.items()}
    more = (key for key in summary if key not in ("parameters", "voxels"))
    return column | {key: f"{summary[key]:.1f}" for key in more}
