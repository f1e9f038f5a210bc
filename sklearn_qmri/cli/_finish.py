"""End of `fit` and `predict`: maps are estimated, written, reported on and summarised."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._files import replacing
from ..estimators import core, signal_model_of, takes
from ..image import predict_image, read_volume, write_maps, write_report
from ..image._air import compare_with_air
from ._console import command_line, console, notes
from ._options import Errors
from ._summary import summarise, summary_table


class Output(NamedTuple):
    """Options of the estimation and of the report, and the model file of a network.

    A network that was trained for the scan is `kept` beside the maps, another stays where it is.
    """

    error: Errors | None
    interval: float | None
    n_jobs: int
    chunk_size: int
    report: bool
    as_json: bool
    network: Path | None = None
    kept: Path | None = None

    def keeping(self, estimator, model_file):
        """The same options, with the model file of a network that was trained for the scan.

        Another training would not give the same network. One that needs no training is not kept.
        """
        is_trained = hasattr(core(estimator), "network_") and not takes(estimator, "protocol")
        return self._replace(kept=model_file if is_trained else None)


def finish(task, made, sigma, given, parts, output):
    """Estimate the maps, write them and print a summary.

    `sigma` is the noise level to predict with where the scan has none.
    """
    maps = predict_image(
        made, task.scan, sigma=sigma if given.sigma is None else None,
        return_std=output.error == Errors.std,
        error=output.error if output.error == Errors.bootstrap else None,
        interval=output.interval,
        chunk_size=output.chunk_size, n_jobs=output.n_jobs, memory=parts, verbose=1,
    )  # fmt: skip
    files, about = task.maps, {"Command": command_line()}
    level = getattr(core(made), "sigma_", None) if sigma is None else sigma
    if given.sigma is None and level is not None:
        about["SigmaLearnt"] = True
        about |= compare_with_air(task.scan, signal_model_of(made), level)
    if output.network:
        about["Network"] = str(output.network)
    if output.kept:
        about["Network"] = files.network().name
        with replacing(files.network()) as scratch:
            shutil.copyfile(output.kept, scratch)
    # `begin` has refused maps that must not be replaced.
    paths = write_maps(
        maps, files.folder, made, prefix=files.prefix, description=files.description,
        sigma=sigma if given.sigma is None else given.sigma, fixed=given.fixed, mask=task.mask,
        sources=task.sources, about=about, overwrite=True,
    )  # fmt: skip
    page = _report(files.folder) if output.report else None
    model = signal_model_of(made)
    rows = {name: read_volume(image)[task.scan.inside] for name, image in maps.items()}
    parameters = np.stack([rows[name] for name in model.parameter_names], axis=1)
    summary = summarise(model, parameters, rows.get("status"))
    if output.as_json:
        written = {"maps": [str(path) for path in paths], "report": page and str(page)}
        print(json.dumps(written | summary, indent=1))
        return
    console.print(summary_table({files.description: summary}))
    console.print(f"{len(paths)} maps and their sidecars are in {files.folder}/")
    if page:
        console.print(f"Look at them in {page}")


def _report(folder):
    """Page about the maps of a folder, or None with a note: the maps are written already."""
    try:
        return write_report(folder, keep=True)
    except (ValueError, OSError) as error:
        notes.print(f"No report: {error}")
        return None
