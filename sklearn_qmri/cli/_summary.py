"""What came out, in figures: medians of parameters, and what became of the voxels."""

import numpy as np
from rich.table import Table

from .._validation import Status


def summarise(signal_model, parameters, status):
    """Quartiles of each parameter and number of voxels of each status, ready for JSON.

    Parameters
    ----------
    signal_model : SignalModel
    parameters : ndarray of shape (n_voxels, n_parameters)
    status : ndarray of shape (n_voxels,)

    Returns
    -------
    dict
    """
    quartiles = np.nanpercentile(parameters, [25, 50, 75], axis=0).T
    rows = [
        {"name": p.name, "unit": p.unit, "median": median, "quartiles": [low, high]}
        for p, (low, median, high) in zip(signal_model.parameters, quartiles.tolist(), strict=True)
    ]
    voxels = {code.name: int(np.count_nonzero(status == code)) for code in Status}
    return {"parameters": rows, "voxels": voxels}


def summary_table(summaries):
    """Table of what `summarise` gives, by method; further entries are columns of their own."""
    first = next(iter(summaries.values()))
    more = [key for key in first if key not in ("parameters", "voxels")]
    table = Table(title="Medians (quartiles) in the mask")
    table.add_column("method")
    for key in (*more, "voxels"):
        table.add_column(key, justify="right")
    for p in first["parameters"]:
        table.add_column(f"{p['name']} ({p['unit']})" if p["unit"] else p["name"], justify="right")
    for heading in ("failed", "at bound", "out of domain"):
        table.add_column(heading, justify="right")
    for method, summary in summaries.items():
        voxels = summary["voxels"]
        failed = voxels["BAD_INPUT"] + voxels["NOT_CONVERGED"] + voxels["TOO_FEW_ATOMS"]
        table.add_row(
            method,
            *(f"{summary[key]:.4g}" for key in more),
            f"{sum(voxels.values()):,}",
            *(
                "{:.3g} ({:.3g}-{:.3g})".format(p["median"], *p["quartiles"])
                for p in summary["parameters"]
            ),
            *(f"{n:,}" for n in (failed, voxels["AT_BOUND"], voxels["OUT_OF_DOMAIN"])),
        )
    return table
