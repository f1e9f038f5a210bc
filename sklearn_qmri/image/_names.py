"""Names of maps after BIDS derivatives."""

import glob
import re
from pathlib import Path
from typing import NamedTuple

from ..signal_models import SignalModel
from ._nifti import stem_of

# Parameters that have a suffix of their own in BIDS.
_SUFFIXES = {
    "T1": "T1map",
    "T2": "T2map",
    "T2_star": "T2starmap",
    "R1": "R1map",
    "R2": "R2map",
    "R2_star": "R2starmap",
    "MWF": "MWFmap",
}
_OWN = ("model", "param", "desc")  # entities of maps
_DIFFUSION = "dwi"  # suffix of diffusion scans, and start of that of diffusion maps


class MapFiles(NamedTuple):
    """Files of the maps of one scan by one signal model and method.

    A parameter that BIDS has a suffix for gets that, ``sub-01_model-SPGR_desc-mle_T1map``. Other
    maps are named by ``param``, after the draft of BIDS for diffusion (BEP016),
    ``sub-01_model-IVIM_param-Dstar_desc-mle_dwimap``, with the suffix ``map`` where the signal
    model has no b-values.

    Parameters
    ----------
    folder : Path
    prefix : str
        Start of the names, see `derivative_prefix`.
    signal_model : SignalModel
    description : str
        Letters and digits.
    """

    folder: Path
    prefix: str
    signal_model: SignalModel
    description: str

    def stem(self, name):
        """Path of a map without its ending."""
        diffusion = "b_values" in self.signal_model.arguments()
        if suffix := _SUFFIXES.get(name) or (not diffusion and name == "S0" and "S0map"):
            return self.folder / self._name(self.prefix, "", suffix)
        parameter = f"_param-{name.replace('_', '')}"
        return self.folder / self._name(self.prefix, parameter, f"{diffusion * _DIFFUSION}map")

    def names(self):
        """Names of the parameters, whose maps every run has."""
        return self.signal_model.parameter_names

    def network(self):
        """Model file of the network that the maps were made with."""
        return self.folder / f"{self._name(self.prefix, '', 'network')}.skops"

    def present(self):
        """Existing maps of any parameter."""
        start = glob.escape(self.prefix)
        names = [self._name(start, parameter, "*map.nii.gz") for parameter in ("", "_param-*")]
        return sorted(path for name in names for path in self.folder.glob(name))

    def _name(self, prefix, parameter, suffix):
        if not self.description.isalnum():
            raise ValueError(f"description expects letters and digits, got {self.description!r}.")
        model = _label(self.signal_model)
        return f"{prefix}_model-{model}{parameter}_desc-{self.description}_{suffix}"


def _label(signal_model):
    """Class of a signal model with its settings, such as a convention, that are not the default."""
    defaults, label = signal_model.arguments(), type(signal_model).__name__
    for name, value in signal_model.get_params().items():
        if isinstance(value, (str, bool)) and value != defaults.get(name):
            text = str(value) if isinstance(value, str) else f"{name if value else f'no {name}'}"
            label += "".join(filter(str.isalnum, text.title()))
    return label


def derivative_prefix(image):
    """Start of the names of a scan's maps: the name of its file without ending and BIDS suffix.

    Parameters
    ----------
    image : path-like, or list of path-like
        File of the scan. For several files, the BIDS entities that all of them have count.

    Returns
    -------
    str
        Entities such as ``sub-01_ses-2``. A name that does not follow BIDS is kept.

    Examples
    --------
    >>> from sklearn_qmri.image import derivative_prefix
    >>> derivative_prefix("sub-01_ses-2_dwi.nii.gz")
    'sub-01_ses-2'
    >>> derivative_prefix(["sub-01_echo-1_MESE.nii", "sub-01_echo-2_MESE.nii"])
    'sub-01'
    >>> derivative_prefix("dwi_corrected.nii.gz")
    'dwi_corrected'
    """
    return _entities_and_suffix(image)[0]


def derivative_description(method, image):
    """Description of maps: the method, the suffix of the scan unless ``dwi``, and its description.

    So scans of one subject with different suffixes have maps with different names.

    Parameters
    ----------
    method : str
        Name of the method; only its letters and digits count.
    image : path-like, or list of path-like
        Same as in `derivative_prefix`.

    Returns
    -------
    str

    Examples
    --------
    >>> from sklearn_qmri.image._names import derivative_description
    >>> derivative_description("mle", "sub-01_dwi.nii.gz")
    'mle'
    >>> derivative_description("mle", ["sub-01_echo-1_MESE.nii", "sub-01_echo-2_MESE.nii"])
    'mleMESE'
    """
    return "".join(filter(str.isalnum, method + _entities_and_suffix(image)[1]))


def _entities_and_suffix(image):
    """BIDS entities that all files have, and what else tells them apart; or the whole name.

    The latter is the suffix, unless that is of diffusion, and the description.
    """
    paths = image if isinstance(image, (list, tuple)) else [image]
    stems = [stem_of(Path(path)) for path in paths]
    parts = [stem.split("_") for stem in stems]
    *entities, suffix = parts[0]
    named = all(re.fullmatch("[a-z]+-[A-Za-z0-9+]+", part) for part in entities)
    if not (parts[0][0].startswith("sub-") and named and suffix.isalnum()):
        return stems[0], ""
    shared = [part for part in entities if all(part in others for others in parts)]
    # The maps have these entities themselves, and BIDS allows each once: values join the suffix.
    own = [part for part in shared if part.split("-")[0] in _OWN]
    prefix = "_".join(part for part in shared if part not in own)
    suffix = "" if suffix == _DIFFUSION else suffix
    return prefix, suffix + "".join(part.split("-")[1] for part in own)
