"""Kinds of volumes that no signal model describes, such as phases, found by names and sidecars."""

from pathlib import Path

from ._nifti import stem_of
from ._sidecar import read_inherited

# Kinds by their mark in a file name: an entity or the suffix of BIDS.
_NAMES = {
    "part-phase": "phase",
    "part-imag": "imaginary part",
    "part-real": "real part",
    "UNIT1": "UNI image of MP2RAGE",
}
_ENDINGS = {"ph": "phase", "imaginary": "imaginary part", "real": "real part"}  # of dcm2niix
# And by values of ImageType in a sidecar, as DICOM and vendors have them behind the first two.
_TYPES = {
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "I": "imaginary part",
    "IMAGINARY": "imaginary part",
    "R": "real part",
    "REAL": "real part",
    "UNI": "UNI image of MP2RAGE",
}
_SIGNED = "real part"  # the only kind that a model of signed signals describes
_ANGLES = ("rad", "radian", "radians", "deg", "degree", "degrees")


def check_kinds(scan, signal_model):
    """Raise ValueError if an image of a scan is not of the kind that a signal model describes.

    Parameters
    ----------
    scan : Scan
        Images that are in memory only are not checked: nothing tells their kind.
    signal_model : SignalModel
        A model of signed signals takes real parts too, others take magnitudes only.

    Raises
    ------
    ValueError
        Names the file and its kind.
    """
    for name in filter(None, (image.get_filename() for image in scan.images)):
        kind = _kind_of(Path(name))
        if kind is not None and (kind != _SIGNED or signal_model.magnitude):
            expected = "magnitudes" if signal_model.magnitude else "magnitudes or real parts"
            raise ValueError(
                f"{name} is a {kind}, but {type(signal_model).__name__} describes {expected}."
            )


def _kind_of(path):
    """Kind of an image by its name, or else by its sidecar; None for magnitudes and unknown."""
    parts = stem_of(path).split("_")
    for mark, kind in _NAMES.items():
        if mark in parts:
            return kind
    if len(parts) > 1 and parts[-1] in _ENDINGS:
        return _ENDINGS[parts[-1]]
    fields = read_inherited(path)
    if str(fields.get("Units", "")).lower() in _ANGLES:
        return "phase"
    types = fields.get("ImageType", [])
    types = types.split("\\") if isinstance(types, str) else types
    types = [str(each).upper() for each in types[2:]] if isinstance(types, list) else []
    return next((_TYPES[each] for each in types if each in _TYPES), None)
