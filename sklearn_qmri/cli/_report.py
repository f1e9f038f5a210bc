"""Command: the page about the maps of a folder."""

from pathlib import Path
from typing import Annotated

import typer

from ..image import write_report
from ._console import console


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of maps, as `fit` writes them.")],
    scan: Annotated[
        list[Path] | None,
        typer.Option(help="Scan of the maps; default: where it was when they were made."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Image of regions, a positive integer for each.")
    ] = None,
):
    """Write report.html again: maps, figures, findings and text for a methods section.

    Example: sklearn-qmri report maps --labels regions.nii.gz
    """
    images = scan[0] if scan and len(scan) == 1 else scan
    page = write_report(folder, scan=images or None, labels=labels)
    console.print(f"Written: {page}")
