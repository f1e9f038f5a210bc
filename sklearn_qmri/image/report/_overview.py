"""Page about several runs, a row for each, outliers first."""

import json
import re
from urllib.parse import quote

import numpy as np

from ._finding import NOTE
from ._finite import median_of
from ._pictures import thumbnail
from ._render import render
from ._tables import number


def summary_of(run, found):
    """Row of a run in the page of a cohort."""
    return {
        "name": run.name,
        "thumbnails": {
            p.name: thumbnail(run.maps[p.name], run.affine, run.inside)
            for p in run.signal_model.parameters
        },
        "medians": {
            p.name: float(median_of(run.maps[p.name][run.inside]))
            for p in run.signal_model.parameters
        },
        "units": {p.name: p.unit for p in run.signal_model.parameters},
        "n_voxels": run.n_voxels,
        "findings": [finding.name for finding in found if finding.rank > NOTE],
        "rank": max((finding.rank for finding in found), default=0),
    }


def row_of(path, folder):
    """Row about a run, from its page; `folder` is where the overview lies.

    Raises
    ------
    ValueError
        If the file is not a page of this package.
    """
    found = re.search(r'<script type="application/json" id="summary">(.*?)</script>',
                      path.read_text(encoding="utf-8"))  # fmt: skip
    if not found:
        raise ValueError(f"{path} is no report: remove it.")
    return json.loads(found[1]) | {"page": quote(path.relative_to(folder).as_posix())}


def overview_of(summaries):
    """Page with a row for each run, outliers first.

    A run is farther out the more robust standard deviations a median of its maps is away from the
    median over runs of the same parameter, see `_distances`.
    """
    distances = _distances(summaries)
    rows = [
        row | {"distance": distance, "texts": _texts(row), "worst": worst}
        for row, (distance, worst) in zip(summaries, distances, strict=True)
    ]
    rows.sort(key=lambda row: (-row["distance"], -row["rank"], row["name"]))
    return render("cohort.html", rows=rows, number=number)


def _texts(row):
    return {
        name: f"{number(value)} {row['units'][name]}".strip()
        for name, value in row["medians"].items()
    }


def _distances(summaries):
    """Largest distance of each run from the median over runs, and the parameter that has it.

    Distances are over 1.48 times the median absolute deviation, which is the standard deviation of
    a normal distribution.
    """
    values = {}
    for row in summaries:
        for name, value in row["medians"].items():
            values.setdefault(name, []).append(value)
    result = []
    for row in summaries:
        worst, largest = "", 0.0
        for name, value in row["medians"].items():
            others = np.array(values[name])
            center = median_of(others)
            spread = 1.48 * median_of(np.abs(others - center))
            distance = abs(value - center) / spread if spread > 0 and len(others) > 3 else 0.0
            if distance > largest:
                worst, largest = name, float(distance)
        result.append((largest, worst))
    return result
