"""Files with trained networks: arrays and plain text, from which no code is run."""

import hashlib
import json
import zipfile
from importlib import resources

import numpy as np

from .._files import replacing
from .._network import BiasWeights, ProtocolFreeNetwork
from ..dictionary import Atoms
from ._pretraining import name_of

_FORMAT = 3  # to be raised when older files can no longer be read
_FOLDER = "weights"


def write_weights(network, path):
    """Write a network from `pretrain` to a file.

    Parameters
    ----------
    network : ProtocolFreeNetwork
        Trained network.
    path : path-like
        Path of the file, which by convention ends in ``.npz``. It is replaced if it exists.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn_qmri import PretrainedNetRegressor, read_weights, write_weights
    >>> from sklearn_qmri.signal_models import IVIM
    >>> net = PretrainedNetRegressor(IVIM([0, 10, 50, 100, 400, 800]), sigma=0.02)
    >>> network = net.fit([[1.0, 0.9, 0.8, 0.7, 0.5, 0.3]]).network_
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_weights(network, pathlib.Path(folder) / "ivim.npz")
    ...     read_weights(pathlib.Path(folder) / "ivim.npz").about["parameters"]
    ['S0', 'f', 'D', 'D_star']
    """
    arrays = {f"coef_{i}": coef for i, coef in enumerate(network.coefs)}
    arrays |= {f"intercept_{i}": intercept for i, intercept in enumerate(network.intercepts)}
    arrays |= {"tissues": network.atoms.tissues, "ranges": network.atoms.ranges}
    text = {
        "format": _FORMAT,
        "log": network.atoms.log.tolist(),
        "amplitude": int(network.atoms.amplitude),
        "n_cells": network.atoms.n_cells,
        "span": list(network.span),
        "activation": network.activation,
        "about": network.about,
        "digest": _digest(arrays),
    }
    arrays["text"] = np.array(json.dumps(text))
    with replacing(path) as scratch, scratch.open("wb") as file:
        np.savez(file, **arrays)


def read_weights(path):
    """Read a network that `write_weights` has written.

    No code in the file is run.

    Parameters
    ----------
    path : path-like
        Path of the file.

    Returns
    -------
    ProtocolFreeNetwork
        Value for the `weights` of `PretrainedNetRegressor`.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If it is no such file, is damaged, or has a format that this version cannot read.

    Examples
    --------
    See `write_weights`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        text = json.loads(str(arrays.pop("text")))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no file with the weights of a network: {error}") from error
    if text["format"] != _FORMAT:
        raise ValueError(f"{path} has the format {text['format']}, expected {_FORMAT}.")
    if text["digest"] != _digest(arrays):
        raise ValueError(f"{path} is damaged: its arrays are not those that were written.")
    atoms = Atoms(
        arrays["tissues"].astype(np.float64), arrays["ranges"], np.array(text["log"]),
        text["amplitude"], text["n_cells"],
    )  # fmt: skip
    n_layers = sum(name.startswith("coef_") for name in arrays)
    coefs, intercepts = (
        [arrays[f"{kind}_{i}"] for i in range(n_layers)] for kind in ("coef", "intercept")
    )
    span = BiasWeights(*text["span"])
    return ProtocolFreeNetwork(atoms, coefs, intercepts, span, text["activation"], text["about"])


def packaged_weights(signal_model):
    """Network for a signal model that comes with the package.

    Raises
    ------
    ValueError
        If there is none, with the names of those that there are.
    """
    folder = resources.files("sklearn_qmri") / _FOLDER
    name = name_of(signal_model)
    names = sorted(
        file.name[: -len(".npz")] for file in folder.iterdir() if file.name[-4:] == ".npz"
    )
    if name not in names:
        raise ValueError(
            f"No network comes with the package for {name}, only for {', '.join(names)}. Make one "
            "by `pretrain`, and pass it as weights."
        )
    with resources.as_file(folder / f"{name}.npz") as path:
        return read_weights(path)


def _digest(arrays):
    """Checksum of arrays, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()
