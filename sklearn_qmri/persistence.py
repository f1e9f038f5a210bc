"""Model files: fitted estimators that load without running any code."""

import copy
import io
import json
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from . import estimators, metrics, noise, signal_models
from ._files import replacing
from ._network import MLP, Domain, FittedNetwork, NetworkInputs, Training
from ._version import __version__
from ._warnings import warn
from .dictionary import Interpolation
from .estimators._refine import Refinement

__all__ = ["load_estimator", "save_estimator"]

_INSTALL = "Model files need skops: pip install 'sklearn-qmri[model-files]'."
_FORMAT = 1  # to be raised when fitted estimators change so that older files no longer work
_MEMBER = "sklearn_qmri.json"  # of the archive: who wrote it, and in which format
_SCHEMA = "schema.json"  # skops' own: all but the arrays
# Classes beside the public ones that fitted estimators of this package are made of.
_STATE = (Domain, FittedNetwork, Interpolation, MLP, NetworkInputs, Refinement, Training)
# Archives are written without compression: one that claims far more than its size is a bomb.
_LARGE, _INFLATION = 2**28, 10

# Errors that the libraries raise for damaged archives.
_DAMAGE = (
    AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, RuntimeError,
    TypeError, ValueError, lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _skops():
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return skops.io


def _trusted_types():
    """Names of classes, never of functions, of which a file may build objects."""
    packages = (estimators, metrics, noise, signal_models)
    public = (getattr(package, name) for package in packages for name in package.__all__)
    classes = {value for value in public if isinstance(value, type)} | set(_STATE)
    return {f"{value.__module__}.{value.__qualname__}" for value in classes}


def save_estimator(estimator, path, *, overwrite=False):
    """Write an estimator to a file that `load_estimator` reads.

    Parameters
    ----------
    estimator : estimator
        Fitted or not, also a pipeline or search with one of this package inside. Cache folders
        (parameters called ``memory``) are not written, which a warning says.
    path : path-like
        By convention ending in ``.skops``.
    overwrite : bool, default=False
        Whether an existing file is replaced; it stays as it is until the new one is complete.

    Raises
    ------
    FileExistsError
        If there is a file already, unless `overwrite`.
    ImportError
        If skops is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.persistence import load_estimator, save_estimator
    >>> from sklearn_qmri.signal_models import ADC
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "adc.skops"
    ...     save_estimator(MLEEstimator(ADC([0, 500, 1000])), path)
    ...     load_estimator(path)
    MLEEstimator(signal_model=ADC(b_values=[0, 500, 1000]))
    """
    skops = _skops()
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already; give overwrite=True to replace it.")
    data = _with_about(skops.dumps(_without_caches(estimator)))
    with replacing(path) as scratch:  # written at once: a full disk is an OSError, and no more
        scratch.write_bytes(data)


def _without_caches(estimator):
    """The estimator, or a copy without cache folders if it has any.

    A folder of joblib.Memory holds pickles, which run code when they are read: a file must not
    choose one, and it means nothing on another machine.
    """
    given = estimator.get_params() if hasattr(estimator, "get_params") else {}
    caches = [name for name, value in given.items() if _is_cache(name) and value is not None]
    if not caches:
        return estimator
    warn(f"A model file holds no cache folder: it is written without {', '.join(caches)}.")
    return copy.deepcopy(estimator).set_params(**dict.fromkeys(caches))


def _is_cache(name):
    """Whether a parameter, of a nested estimator even, names a cache folder."""
    return name.rpartition("__")[2] == "memory"


def _with_about(data):
    """The archive with a member that tells its version and format."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(_MEMBER, json.dumps({"version": __version__, "format": _FORMAT}))
    return buffer.getvalue()


def load_estimator(path, *, trusted=()):
    """Read an estimator that `save_estimator` has written.

    No code in the file is run: it may only hold arrays, plain values, and objects of classes from a
    list: those of this package, and those of scikit-learn and NumPy that skops itself trusts. A
    file with any other, or one that names a cache folder, is refused before anything is built.

    Parameters
    ----------
    path : path-like
        The file.
    trusted : sequence of str, default=()
        More types, as ``"package.module.Class"``: a signal model of your own, or
        ``"sklearn.tree._tree.Tree"`` of a forest that you trust. Their modules are imported.

    Returns
    -------
    estimator
        As it was saved, fitted or not.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is no model file of this package, is damaged, holds other types, or was written by a
        version that this one cannot read.
    ImportError
        If skops is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.persistence import load_estimator, save_estimator
    >>> from sklearn_qmri.signal_models import ADC
    >>> mle = MLEEstimator(ADC([0, 500, 1000]), sigma=0.02)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "adc.skops"
    ...     save_estimator(mle.fit([[1.0, 0.6, 0.4]]), path)
    ...     loaded = load_estimator(path)
    >>> loaded.predict([[1.0, 0.6, 0.4]]).round(2)
    array([[0.99, 0.95]])
    """
    skops = _skops()
    path = Path(path)
    data = path.read_bytes()
    version = _check_archive(path, data)
    trusted = _trusted_types() | set(trusted)
    try:
        foreign = set(skops.get_untrusted_types(data=data)) - trusted
    except _DAMAGE as error:
        raise ValueError(_damaged(path, error, version)) from error
    if foreign:
        raise ValueError(
            f"{path} holds {sorted(foreign)}, which no estimator of this package is made of. If "
            "you know where the file is from, name them in trusted=[...]."
        )
    try:
        return skops.loads(data, trusted=sorted(trusted))
    except _DAMAGE as error:
        raise ValueError(_damaged(path, error, version)) from error


def _damaged(path, error, version=None):
    text = f"{path} is no model file, or damaged: {error!r}"
    if version not in (None, __version__):
        text += f". It was written by sklearn_qmri {version}; this is {__version__}"
    return text


def _check_archive(path, data):
    """Version of sklearn_qmri that wrote a file; ValueError unless this one can read it.

    Refused are archives that claim to hold far more than their size, those of `save_estimator` in
    another format, those that it has not written, and those that name a cache folder.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
            if claimed > max(_LARGE, _INFLATION * len(data)):
                raise ValueError(f"{len(data):,} bytes claim to hold {claimed:,}")
            about = json.loads(archive.read(_MEMBER)) if _MEMBER in archive.namelist() else None
            schema = json.loads(archive.read(_SCHEMA)) if about is not None else None
            caches = sorted(set(_cache_folders(schema)))
    except _DAMAGE as error:
        raise ValueError(_damaged(path, error)) from error
    if not isinstance(about, dict) or set(about) != {"version", "format"}:
        raise ValueError(f"{path} was not written by save_estimator of sklearn_qmri.")
    if about["format"] != _FORMAT:
        raise ValueError(
            f"{path} was written by sklearn_qmri {about['version']}, in format {about['format']}; "
            f"this is {__version__}, which reads format {_FORMAT}: train anew, or install that "
            "version."
        )
    if caches:
        raise ValueError(f"{path} names a cache folder ({', '.join(caches)}), which no file may.")
    return about["version"]


def _cache_folders(schema):
    """Names in a schema of skops under which anything but None is given as a cache folder."""
    nodes = list(_nodes(schema))
    # skops takes a node for an earlier one of the same id, whatever its content says.
    not_none = {node.get("__id__") for _, node in nodes if node.get("content") != "null"}
    for name, node in nodes:
        none = node.get("content") == "null" and node.get("__loader__") == "JsonNode"
        if _is_cache(name) and (not none or node.get("__id__") in not_none):
            yield name


def _nodes(state, name=""):
    """All parts of a schema that are objects in JSON, with the name that each goes by."""
    if isinstance(state, dict):
        yield name, state
        for key, value in state.items():
            yield from _nodes(value, key)
    elif isinstance(state, list):
        for value in state:
            yield from _nodes(value, name)
