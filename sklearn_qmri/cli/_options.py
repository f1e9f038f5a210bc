"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Scans = Annotated[
    list[Path],
    typer.Argument(help="NIfTI scan of 4 dimensions, or one file of 3 for each measurement."),
]
BValues = Annotated[
    str | None,
    typer.Option("--b-values", "--bval", help="b-values in s/mm^2: a list, or FSL's bval file."),
]
Model = Annotated[str, typer.Option(help="Signal model; `sklearn-qmri models` lists them.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--with", help="Other argument of the model, e.g. echo_times=10,30,60."),
]
Mask = Annotated[
    str | None,
    typer.Option(help="NIfTI mask, or 'auto' for a threshold; default: all voxels with signal."),
]
Average = Annotated[
    bool, typer.Option("--average", help="Average repeats, and count how many there are.")
]
Averages = Annotated[
    str | None,
    typer.Option(help="Number of averages of each measurement by the scanner: a list, or a file."),
]
Alpha = Annotated[
    str | None,
    typer.Option(help="Weight of the maximum-likelihood label: 0.2, or f=0.2,D=0.5; default: 0.5."),
]
BiasWeight = Annotated[
    str | None,
    typer.Option(
        help="Weight of the squared bias, the number of voxels to be averaged: 20, or f=4,D=20."
    ),
]
Prior = Annotated[
    list[str] | None,
    typer.Option(
        help="Range of tissues to train on, e.g. f=0.1:0.5; 'scan': learn their distribution from "
        "the scan."
    ),
]
Bounds = Annotated[
    list[str] | None, typer.Option(help="Bounds of maximum likelihood, e.g. f=0:0.5.")
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(help="Known parameter, which is not fitted: a number, or a map, B1=b1.nii.gz."),
]
Samples = Annotated[int, typer.Option(min=100, help="Simulated tissues to train on.")]
Sigma = Annotated[
    str | None, typer.Option(help="Noise level, or a map of it; default: learnt from the scan.")
]
Errors = StrEnum("Errors", ["std", "bootstrap"])
Error = Annotated[
    Errors | None,
    typer.Option(
        help="Also write maps of errors: standard deviations of the estimator ('std'), or standard "
        "deviation and bias from simulated repeats ('bootstrap'), for any estimator."
    ),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        "--interval",
        help="Also write lower and upper ends of intervals of this coverage, e.g. 0.9.",
    ),
]
Models = Annotated[
    str | None,
    typer.Option(
        "--models",
        help="Also write the probabilities of these signal models, by evidence: ADC,IVIM,Kurtosis.",
    ),
]
Maps = Annotated[Path, typer.Option(help="Folder for maps and sidecars.")]
Jobs = Annotated[int, typer.Option("--n-jobs", help="Number of processes.")]
Device = Annotated[str, typer.Option(help="Device on which torch computes, e.g. cuda.")]
Seed = Annotated[int, typer.Option(help="Seed of simulation and training.")]
ChunkSize = Annotated[
    int, typer.Option(min=1, help="Approximate number of voxels at once; one part for --resume.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue where the same command was killed or failed.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier output.")]
Report = Annotated[
    bool, typer.Option("--report/--no-report", help="Write report.html, a page about the maps.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")]
