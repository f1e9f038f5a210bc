"""Finished parts of a command, kept as arrays and model files: reading them runs no code."""

import hashlib
import io
import json
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np

from .._files import replacing
from ..persistence import load_estimator, save_estimator

# Errors that NumPy, json and `load_estimator` raise for a file that a crash has left truncated or
# empty. Such a part is made again.
_DAMAGE = (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


class Parts(NamedTuple):
    """Finished parts in a folder, each named by a hash of everything that it depends on.

    `predict_image` accepts an instance as its `memory`.

    Parameters
    ----------
    folder : Path
        Private folder of the user.
    estimator_key : str, default=""
        Hash of the model file, and of later settings, of the estimator whose estimates are kept.
    """

    folder: Path
    estimator_key: str = ""

    def cache(self, function):
        """Same function, but its results are kept in files, and read from them at the next call.

        The function takes an estimator and further arguments, and returns arrays by name.
        """
        # A partial of a function of this module, not a closure, can be sent to other processes.
        return partial(_kept, self, function)

    def of(self, model_file, *settings):
        """Same folder, for estimates of the estimator in a model file, with settings of its own."""
        content = hashlib.sha256(model_file.read_bytes()).hexdigest()
        return self._replace(estimator_key=joblib.hash((content, settings)))

    def fitted(self, fit, *arguments):
        """Estimator and noise level that a function returns, or those of an earlier call.

        Parameters
        ----------
        fit : callable
        *arguments
            Everything that the result of `fit` depends on.

        Returns
        -------
        estimator : fitted estimator
        sigma : float or None
        model_file : Path
        """
        stem = self.folder / f"estimator-{joblib.hash((fit.__qualname__, arguments))}"
        model_file, sigma_file = stem.with_suffix(".skops"), stem.with_suffix(".json")
        try:
            return load_estimator(model_file), _read_level(sigma_file), model_file
        except (FileNotFoundError, *_DAMAGE):  # not done yet, or truncated
            estimator, sigma = fit(*arguments)
        save_estimator(estimator, model_file, overwrite=True)
        with replacing(sigma_file) as scratch:
            scratch.write_text(json.dumps({"sigma": sigma}))
        # The estimator of the file, not that of `fit`: a resumed run uses the same one.
        return load_estimator(model_file), sigma, model_file


def _read_level(path):
    sigma = json.loads(path.read_text())["sigma"]
    return None if sigma is None else float(sigma)


def _kept(parts, function, estimator, *arguments):
    """Arrays by name that a function returns, or those of an earlier call."""
    # The estimator itself is not hashed: the hash of its model file stands for it.
    key = joblib.hash((function.__qualname__, parts.estimator_key, arguments))
    path = parts.folder / f"{function.__name__}-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (FileNotFoundError, *_DAMAGE):  # not done yet, or truncated
        arrays = function(estimator, *arguments)
    # The archive is made in memory and written at once: a full disk is a plain OSError.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with replacing(path) as scratch:
        scratch.write_bytes(buffer.getbuffer())
    return arrays
