"""Scan of a command with its signal model and noise model, which averages determine."""

from ..image import average_repeats, open_scan
from ..image._kinds import check_kinds
from ..noise import AveragedMagnitude
from ._console import notes
from ._protocol import averaged_noise, known_acquisition, make_model


def open_for_fit(scan, b_values, model, settings, average, averages, method):
    """Scan of files, its signal model and noise model, from the options of `fit`."""
    scanned, noise = open_scan(scan if len(scan) > 1 else scan[0]), "auto"
    opened, known = scanned, known_acquisition(scanned, b_values)
    if average:
        opened, known, noise = _average(opened, known)
    signal_model = make_model(model, None, settings or [], known)
    check_kinds(scanned, signal_model)
    return opened, signal_model, averaged_noise(averages, noise, signal_model, method)


def _average(scan, known):
    """Scan of the means of repeats, its acquisition, and its noise model."""
    if "b_values" not in known or len(scan.images) > 1:
        raise ValueError("--average expects one scan of 4 dimensions and its b-values.")
    n_volumes = len(known["b_values"])
    means, shells, counts = average_repeats(scan.images[0], known["b_values"])
    if max(counts) == 1:
        raise ValueError("--average expects repeats, but no b-value occurs twice.")
    notes.print(
        f"Averaged {n_volumes} volumes into {len(shells)}, {min(counts)} to {max(counts)} in each: "
        "sigma is that of one of them, whose noise floor the averages keep."
    )
    return open_scan(means), {"b_values": shells}, AveragedMagnitude(counts)
