"""Report of a cohort: a line for each scan."""

import csv

import numpy as np
from sklearn.utils import Bunch

from .._files import replacing
from .._warnings import warn
from ..status import Status
from ._estimators import signal_model_of
from ._protocols import acquisition_of, plain


def report_line(scan, outcome, maps, voxels, estimator):
    """Line of the report of a scan that has maps."""
    acquisition = acquisition_of(signal_model_of(estimator))
    protocol = {name: plain(value) for name, value in acquisition.items()}
    return Bunch(
        image=scan.image, outcome=outcome, maps=maps, voxels=voxels, protocol=protocol, reason=""
    )


def failure(scan, error):
    reason = f"{type(error).__name__}: {error}"
    return Bunch(image=scan.image, outcome="failed", maps=[], voxels={}, protocol={}, reason=reason)


def warn_of_failures(report, path):
    failed = [row for row in report if row.outcome == "failed"]
    if failed:
        warn(
            f"{len(failed)} of {len(report)} scans failed, the first with {failed[0].reason} "
            f"All failures are listed in {path}."
        )


def write_report(report, path):
    statuses = [code.name for code in Status]
    # Names of files need not be UTF-8: bytes that cannot be encoded are written as escapes.
    with (
        replacing(path) as scratch,
        scratch.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["image", "outcome", *(s.lower() for s in statuses), "protocol", "reason"])
        for row in report:
            images = row.image if isinstance(row.image, list) else [row.image]
            counts = (row.voxels.get(status, "") for status in statuses)
            # A tab or a line break in a message would break the table.
            reason = " ".join(row.reason.split())
            protocol = "; ".join(
                f"{name} {' '.join(f'{v:g}' for v in np.ravel(values))}"
                for name, values in row.protocol.items()
            )
            writer.writerow([" ".join(map(str, images)), row.outcome, *counts, protocol, reason])
