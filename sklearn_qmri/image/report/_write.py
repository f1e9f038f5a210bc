"""Pages about the maps of a folder: one for each run, and one about all of them."""

from pathlib import Path

from ._overview import overview_of, row_of
from ._page import page_of
from ._render import write_page
from ._run import find_runs, read_run

_NAME = "report.html"


def write_report(folder, *, scan=None, signal_model=None, labels=None, keep=False):
    """Write a page about the maps of a folder, to look at in a browser.

    The page has the maps with a slider for the slices, marks for what their status tells, figures,
    findings with their remedies, a text for a methods section, and the command that makes the maps
    again. It is one file that needs no network. A folder with the maps of several runs, or of a
    cohort, gets a page for each, and ``report.html`` has a row for each of them, outliers first.

    Parameters
    ----------
    folder : path-like
        Folder that `write_maps` has written to.
    scan : path-like, nibabel image, list of them, or Scan, default=None
        Scan that the maps were made from. None: the files that the sidecars name. Without it, the
        page has no findings about signals.
    signal_model : SignalModel, default=None
        Needed for a signal model of your own, which sidecars cannot hold.
    labels : path-like, nibabel image or array-like, default=None
        Image of regions, a positive integer for each, whose medians the page lists.
    keep : bool, default=False
        Keep pages that are newer than their maps, where the folder has several runs.

    Returns
    -------
    Path
        ``report.html`` in the folder.

    Raises
    ------
    FileNotFoundError
        If the folder has no maps.
    ValueError
        If a file is damaged, or the labels have another shape than the maps.
    ImportError
        If Jinja2, Pillow or matplotlib is missing.

    Examples
    --------
    >>> import nibabel, tempfile
    >>> import numpy as np
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.image import predict_image, write_maps, write_report
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 200, 500, 1000])
    >>> phantom = make_phantom(model, shape=(16, 16, 2), snr=30, random_state=0)
    >>> scan = nibabel.Nifti1Image(phantom.data, np.eye(4))
    >>> mle = MLEEstimator(model, sigma=phantom.sigma).fit(phantom.data[phantom.mask])
    >>> maps = predict_image(mle, scan, phantom.mask)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_maps(maps, folder, mle, prefix="sub-01", description="mle")
    ...     print(write_report(folder, scan=scan).name)
    report.html
    """
    folder = Path(folder)
    runs = find_runs(folder, signal_model)
    if len(runs) == 1:
        ((name, sidecars),) = runs.items()
        page = page_of(read_run(name, sidecars, scan, signal_model), labels)
        write_page(folder / _NAME, page)
        return folder / _NAME
    *pages, overview = (folder / name for name in page_names(runs))
    for path, (name, sidecars) in zip(pages, runs.items(), strict=True):
        if not (keep and _is_newer(path, sidecars)):
            page = page_of(read_run(name, sidecars, scan, signal_model), labels)
            write_page(path, page)
    write_page(overview, overview_of([row_of(path, folder) for path in pages]))
    return overview


def write_pages(runs, folder):
    """Write a page for each of several runs in memory, and one about all of them.

    Parameters
    ----------
    runs : list of Run
    folder : Path
    """
    *pages, overview = (folder / name for name in page_names([run.name for run in runs]))
    for path, run in zip(pages, runs, strict=True):
        write_page(path, page_of(run))
    write_page(overview, overview_of([row_of(path, folder) for path in pages]))


def page_names(runs):
    """File names of the pages of several runs, by their names, and of the page about all."""
    return [*(f"{name}_{_NAME}" for name in runs), _NAME]


def _is_newer(path, others):
    """Whether a file exists and is not older than others."""
    return path.exists() and path.stat().st_mtime >= max(o.stat().st_mtime for o in others)
