"""JSON sidecars and other files that describe images, after the inheritance principle of BIDS."""

import json

from ._nifti import stem_of

_ROOT = "dataset_description.json"  # file that marks the top folder of a BIDS dataset


def read_sidecar(path):
    """Fields of a JSON sidecar.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a JSON object.
    """
    try:
        fields = json.loads(path.read_text())
    # Brackets that nest too deeply exhaust the recursion limit of the JSON parser.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON sidecar: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON sidecar: it holds no object.")
    return fields


def read_inherited(path):
    """Fields of all sidecars that apply to an image, of which the more specific ones win.

    Parameters
    ----------
    path : Path
        File of the image.

    Returns
    -------
    dict
        Empty if there is no sidecar.

    Raises
    ------
    ValueError
        If a sidecar is not a JSON object.
    """
    fields = {}
    for sidecar in applicable_files(path, ".json"):
        fields |= read_sidecar(sidecar)
    return fields


def applicable_files(path, ending):
    """Files with an ending that apply to an image, from the general to the specific.

    The file with the name of the image always does. For a name of BIDS (``sub-01_..._dwi``), so do
    files with the same suffix and no other entities than the image has, in its folder and in those
    above it within the dataset (the folder with ``dataset_description.json``).

    Parameters
    ----------
    path : Path
        File of the image.
    ending : str
        For example ``".json"``.

    Returns
    -------
    list of Path

    References
    ----------
    Brain Imaging Data Structure 1.10.0, common principles, "The inheritance principle".
    """
    own = path.with_name(stem_of(path) + ending)
    if not own.name.startswith("sub-"):
        return [own] if own.is_file() else []
    entities, suffix = _parts(own, ending)
    found = []
    for folder in _folders(path):
        inherited = [
            file
            for file in folder.glob(f"*{ending}")
            if file.is_file()
            and _parts(file, ending)[1] == suffix
            and _parts(file, ending)[0] <= entities
        ]
        found += sorted(inherited, key=lambda file: len(_parts(file, ending)[0]))
    return found


def _folders(path):
    """Folders of a dataset from its top to that of a file; outside of a dataset only the latter."""
    above = list(path.absolute().parents)
    for n, folder in enumerate(above, start=1):
        if (folder / _ROOT).is_file():
            return above[:n][::-1]
    return above[:1]


def _parts(file, ending):
    """BIDS entities and suffix of the name of a file."""
    *entities, suffix = file.name.removesuffix(ending).split("_")
    return frozenset(entities), suffix
