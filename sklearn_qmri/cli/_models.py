"""Command: the table of signal models."""

import inspect
import json

from rich.table import Table

from ._console import console
from ._options import Json
from ._protocol import known_models


def models(as_json: Json = False):
    """List the signal models: the arguments of their acquisition, and their parameters.

    Example: sklearn-qmri models --json
    """
    rows = [_row(name, model) for name, model in sorted(known_models().items())]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(title="Signal models (bounds of each parameter)")
    table.add_column("model", no_wrap=True)
    for heading in ("acquisition", "parameters"):
        table.add_column(heading)
    for row in rows:
        parameters = ", ".join(
            f"{p['name']} {p['bounds'][0]:g}-{'inf' if p['bounds'][1] is None else p['bounds'][1]}"
            + (f" {p['unit']}" if p["unit"] else "")
            for p in row["parameters"]
        )
        table.add_row(row["model"], ", ".join(row["arguments"]), parameters)
    console.print(table)


def _row(name, model):
    # Parameters are known to an instance only, since they may depend on settings. Any values do for
    # the acquisition, whose arguments have no default (...).
    arguments = model.arguments()
    needed = {key: [0.0] for key, default in arguments.items() if default is ...}
    bounds = {float("inf"): None}  # JSON has no infinity
    return {
        "model": name,
        "summary": inspect.getdoc(model).splitlines()[0],
        "arguments": list(arguments),
        "parameters": [
            {
                "name": p.name,
                "unit": p.unit,
                "bounds": [bounds.get(v, v) for v in p.bounds],
                "prior": list(p.prior),
            }
            for p in model(**needed).parameters
        ],
    }
