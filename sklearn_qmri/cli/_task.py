"""A scan and the files of its maps, after all checks of a command's input and output."""

from typing import NamedTuple

import numpy as np

from ..image import Scan, compute_mask, mean_signal, open_scan
from ..image._names import MapFiles, derivative_description, derivative_prefix
from ._console import notes

_MASKS = {None: "all voxels with signal", "auto": "threshold"}


class Task(NamedTuple):
    """A scan with its mask, and the files that its maps are made from and written to.

    Attributes
    ----------
    scan : Scan
    sources : list of Path
    mask : str
        File of the mask, or how it was made.
    maps : MapFiles
    """

    scan: Scan
    sources: list
    mask: str
    maps: MapFiles

    @property
    def unfinished(self):
        """Hidden folder that keeps finished parts until the maps are written."""
        network = self.maps.network()  # whose name has the model and the method
        return network.with_name(f".{network.stem.removesuffix('_network')}.unfinished")


def begin(scan, sources, mask, out, method, signal_model, resume, overwrite, given):
    """Task of a command, after all checks of its input and output.

    Parameters
    ----------
    scan : Scan
    sources : list of Path
    mask : str or None
        Value of the option.
    out : Path
    method : str
    signal_model : SignalModel
    resume, overwrite : bool
    given : Given
        Noise level and known parameters.

    Returns
    -------
    Task

    Raises
    ------
    FileExistsError
        If there are maps that must not be replaced.
    """
    # Before the mask, which may take a read of the whole scan: a wrong protocol is found at once.
    open_scan(scan, n_expected=signal_model.n_measurements)
    names = derivative_prefix(sources), derivative_description(method, sources)
    files = MapFiles(out, names[0], signal_model, names[1])
    scan = open_scan(scan, scan_mask(scan, mask))
    task = Task(scan, sources, _MASKS.get(mask, mask), files)
    # With --resume, maps may be there because the command was killed while it wrote them.
    present = files.present() + [path for path in [files.network()] if path.exists()]
    if present and not (overwrite or (resume and task.unfinished.exists())):
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    return task._replace(scan=given.add_to(scan))


def scan_mask(scan, mask):
    """Mask of a scan: the file that the option names, or a mask made from the scan."""
    if mask is None:
        # Voxels without any signal are outside, such as those that a scanner has set to 0.
        inside = mean_signal(scan) > 0
        notes.print(
            f"No mask: all {np.count_nonzero(inside):,} voxels with any signal count, also air in "
            "medians and in the noise level. Give --mask FILE, or --mask auto for a threshold."
        )
        return inside
    if mask != "auto":
        return mask
    inside = compute_mask(scan)
    notes.print(f"Mask by threshold: {np.count_nonzero(inside):,} of {inside.size:,} voxels")
    return inside
