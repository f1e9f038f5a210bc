"""JSON sidecars, which lie beside images."""

import json


def read_sidecar(path, missing=None):
    """Fields of a JSON sidecar.

    Parameters
    ----------
    path : Path
    missing : dict, default=None
        Fields where there is no such file. None: it is an error.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If there is no such file, unless `missing` is given.
    ValueError
        If it is not a JSON object.
    """
    if missing is not None and not path.is_file():
        return missing
    try:
        fields = json.loads(path.read_text())
    # Brackets that nest too deeply exhaust the recursion limit of the JSON parser.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON sidecar: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is not a JSON sidecar: it holds no object.")
    return fields
