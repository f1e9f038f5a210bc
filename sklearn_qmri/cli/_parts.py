"""Finished parts of a command, kept as plain arrays and model files: reading them runs no code."""

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

# What a file that a crash has left truncated or empty makes NumPy and json raise.
_DAMAGE = (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


class Parts(NamedTuple):
    """Finished parts in a folder, each named by a hash of all that it depends on.

    `predict_image` takes it as its `memory`.

    Parameters
    ----------
    folder : Path
        The user's own.
    estimator_key : str, default=""
        Hash of the file of the estimator whose estimates are kept.
    """

    folder: Path
    estimator_key: str = ""

    def cache(self, function):
        """Function of an estimator and further arguments whose results, arrays by name, are kept.

        It may be called in other processes.
        """
        return partial(_kept, self, function)

    def of(self, model_file):
        """The same folder, for estimates of the estimator in a model file."""
        return self._replace(estimator_key=hashlib.sha256(model_file.read_bytes()).hexdigest())

    def fitted(self, fit, *arguments):
        """Estimator and noise level that a function returns, from files where it was called before.

        They are read from the files in either case, so that going on finds them unchanged.

        Parameters
        ----------
        fit : callable
        *arguments
            All that its result depends on.

        Returns
        -------
        estimator : fitted estimator
        sigma : float or None
        model_file : Path
        """
        stem = self.folder / f"estimator-{joblib.hash((fit.__qualname__, arguments))}"
        model_file, level = stem.with_suffix(".skops"), stem.with_suffix(".json")
        try:
            return load_estimator(model_file), _read_level(level), model_file
        except (FileNotFoundError, *_DAMAGE):  # not done yet, or cut short
            estimator, sigma = fit(*arguments)
        save_estimator(estimator, model_file, overwrite=True)
        with replacing(level) as scratch:
            scratch.write_text(json.dumps({"sigma": sigma}))
        return load_estimator(model_file), sigma, model_file


def _read_level(path):
    sigma = json.loads(path.read_text())["sigma"]
    return None if sigma is None else float(sigma)


def _kept(parts, function, estimator, *arguments):
    """Arrays by name that a function returns, from a file where it was called before."""
    key = joblib.hash((function.__qualname__, parts.estimator_key, arguments))
    path = parts.folder / f"{function.__name__}-{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (FileNotFoundError, *_DAMAGE):  # not done yet, or cut short
        arrays = function(estimator, *arguments)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with replacing(path) as scratch:
        scratch.write_bytes(buffer.getbuffer())
    return arrays
