"""Table of a cohort: a line for each scan."""

import csv
from numbers import Real

import numpy as np
from sklearn.utils import Bunch

from .._files import replacing
from .._warnings import warn
from ..estimators import signal_model_of
from ..status import Status
from ._protocols import acquisition_of, plain


def report_line(scan, outcome, estimator, maps, voxels, sigma, medians):
    """Line of the report of a scan that has maps."""
    model = signal_model_of(estimator)
    protocol = {name: plain(value) for name, value in acquisition_of(model).items()}
    units = {p.name: unit for p in model.parameters if (unit := p.unit)}
    return Bunch(
        image=scan.image, outcome=outcome, maps=maps, voxels=voxels, sigma=sigma, medians=medians,
        units=units, model=type(model).__name__, protocol=protocol, reason="",
    )  # fmt: skip


def failure(scan, error):
    """Line of the report of a scan that has no maps."""
    reason = f"{type(error).__name__}: {error}"
    return Bunch(
        image=scan.image, outcome="failed", maps=[], voxels={}, sigma=None, medians={}, units={},
        model="", protocol={}, reason=reason,
    )  # fmt: skip


def warn_of_failures(report, path):
    failed = [row for row in report if row.outcome == "failed"]
    if failed:
        warn(
            f"{len(failed)} of {len(report)} scans failed, the first with {failed[0].reason} "
            f"All failures are listed in {path}."
        )


def write_table(report, path):
    """Write a table with a line for each scan, separated by tabs."""
    statuses = [code.name for code in Status]
    # Scans of different signal models have different parameters: each has a column.
    parameters = list(dict.fromkeys(_heading(row, name) for row in report for name in row.medians))
    heads = [*(s.lower() for s in statuses), "sigma", *parameters, "model", "protocol", "reason"]
    # Names of files need not be UTF-8: bytes that cannot be encoded are written as escapes.
    with (
        replacing(path) as scratch,
        scratch.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["image", "outcome", *heads])
        for row in report:
            images = row.image if isinstance(row.image, list) else [row.image]
            medians = {_heading(row, name): f"{v:.6g}" for name, v in row.medians.items()}
            # A tab or a line break in a message would break the table.
            reason = " ".join(row.reason.split())
            protocol = "; ".join(
                f"{name} {' '.join(f'{v:g}' for v in np.ravel(values))}"
                for name, values in row.protocol.items()
            )
            sigma = row.sigma
            if isinstance(sigma, (Real, list)):  # a list has one for each measurement
                sigma = " ".join(f"{level:.6g}" for level in np.ravel(sigma))
            writer.writerow([
                " ".join(map(str, images)), row.outcome,
                *(row.voxels.get(status, "") for status in statuses), sigma,
                *(medians.get(parameter, "") for parameter in parameters), row.model, protocol,
                reason,
            ])  # fmt: skip


def _heading(row, name):
    """Column of the median of a parameter, with its unit."""
    return f"{name} ({row.units[name]})" if name in row.units else name
