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
from ._network import (
    MLP,
    BiasWeights,
    Domain,
    FittedNetwork,
    NetworkInputs,
    ProtocolFreeNetwork,
    Training,
)
from ._version import __version__
from ._warnings import warn
from .dictionary import Atoms, WeightedPrior
from .estimators._refine import Refinement
from .estimators._sampling import AtomSampler, MixedSampler, RangeSampler, RefinedSampler

__all__ = ["load_estimator", "save_estimator"]

_INSTALL = "Model files need skops: pip install 'sklearn-qmri[model-files]'."
# Version of the format, to be raised when fitted estimators change so that older files do not load.
_FORMAT = 2
# Member of the archive with the version of this package and the format.
_MEMBER = "sklearn_qmri.json"
# Member of the archive in which skops stores everything except the arrays.
_SCHEMA = "schema.json"
# Classes of objects inside fitted estimators of this package, in addition to the public ones.
_STATE = (
    AtomSampler, Atoms, BiasWeights, Domain, FittedNetwork, MLP, MixedSampler, NetworkInputs,
    ProtocolFreeNetwork, RangeSampler, RefinedSampler, Refinement, Training, WeightedPrior,
)  # fmt: skip
# Archives are written without compression. One that claims to contain much more than its own size
# is malicious or damaged. Up to _LARGE bytes this is harmless; beyond, _INFLATION is the limit.
_LARGE, _INFLATION = 2**28, 10

# Errors that the libraries raise for damaged archives.
_DAMAGE = (
    AttributeError, EOFError, ImportError, LookupError, MemoryError, OverflowError, RuntimeError,
    TypeError, ValueError, lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _skops():
    """Import skops.io, or raise an ImportError with the command that installs it."""
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return skops.io


def _trusted_types():
    """Names of classes whose objects a file may contain; functions are never trusted."""
    packages = (estimators, metrics, noise, signal_models)
    public = (getattr(package, name) for package in packages for name in package.__all__)
    classes = {value for value in public if isinstance(value, type)} | set(_STATE)
    return {f"{value.__module__}.{value.__qualname__}" for value in classes}


def save_estimator(estimator, path, *, overwrite=False):
    """Write an estimator to a file that `load_estimator` reads.

    Parameters
    ----------
    estimator : estimator
        Estimator, fitted or not, or a pipeline or search that contains one of this package. Cache
        folders (parameters called ``memory``) are not written, and a warning reports them.
    path : path-like
        Path of the file, which by convention ends in ``.skops``.
    overwrite : bool, default=False
        Whether to replace an existing file. It is unchanged until the new file is complete.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
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
        raise FileExistsError(f"{path} exists already; pass overwrite=True to replace it.")
    data = _with_about(skops.dumps(_without_caches(estimator)))
    # Everything is in memory before a single write, so that a full disk only raises an OSError.
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def _without_caches(estimator):
    """The estimator, or a copy without cache folders if it has any.

    A folder of joblib.Memory holds pickles, which run code when they are read. A file must
    therefore not choose such a folder. On another machine the folder would be meaningless anyway.
    """
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    caches = [name for name, value in params.items() if _is_cache(name) and value is not None]
    if not caches:
        return estimator
    warn(f"Model files contain no cache folders: this one is written without {', '.join(caches)}.")
    return copy.deepcopy(estimator).set_params(**dict.fromkeys(caches))


def _is_cache(name):
    """Whether a parameter, also one of a nested estimator, is a cache folder."""
    return name.rpartition("__")[2] == "memory"


def _with_about(data):
    """The archive with one more member, which contains the version and the format."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(_MEMBER, json.dumps({"version": __version__, "format": _FORMAT}))
    return buffer.getvalue()


def load_estimator(path, *, trusted=()):
    """Read an estimator that `save_estimator` has written.

    No code in the file is run. The file may only contain arrays, plain values, and objects of
    trusted classes: those of this package, and those of scikit-learn and NumPy that skops itself
    trusts. A file that contains any other object or names a cache folder is refused before any
    object is created.

    Parameters
    ----------
    path : path-like
        Path of the file.
    trusted : sequence of str, default=()
        Further trusted types, as ``"package.module.Class"``: a signal model of your own, or
        ``"sklearn.tree._tree.Tree"`` for a forest that you trust. Their modules are imported.

    Returns
    -------
    estimator
        The saved estimator, fitted or not.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If the file is not a model file of this package, is damaged, contains other types, or was
        written in a format that this version cannot read.
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
    # Only names of types are collected here. Objects are created by skops.loads below.
    try:
        foreign = set(skops.get_untrusted_types(data=data)) - trusted
    except _DAMAGE as error:
        raise ValueError(_damaged(path, error, version)) from error
    if foreign:
        raise ValueError(
            f"{path} holds {sorted(foreign)}, which are not types of this package. If you trust "
            "the source of the file, name them in trusted=[...]."
        )
    try:
        return skops.loads(data, trusted=sorted(trusted))
    except _DAMAGE as error:
        raise ValueError(_damaged(path, error, version)) from error


def _damaged(path, error, version=None):
    """Message for a damaged file, with its version if that is another one."""
    text = f"{path} is not a model file, or is damaged: {error!r}"
    if version not in (None, __version__):
        text += f". It was written by sklearn_qmri {version}; this is {__version__}"
    return text


def _check_archive(path, data):
    """Version of sklearn_qmri that wrote a file; ValueError unless this one can read it.

    An archive is refused if it claims to contain much more than its own size, was not written by
    `save_estimator`, has another format, or names a cache folder.
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
            f"this is {__version__}, which reads format {_FORMAT}: train again, or install that "
            "version."
        )
    if caches:
        raise ValueError(f"{path} names a cache folder ({', '.join(caches)}), which it must not.")
    return about["version"]


def _cache_folders(schema):
    """Names in a schema of skops that stand for a cache folder with a value other than None."""
    nodes = list(_nodes(schema))
    # skops replaces a node by an earlier node with the same id, whatever its content is. A node
    # that seems to be None may therefore stand for a folder.
    not_none = {node.get("__id__") for _, node in nodes if node.get("content") != "null"}
    for name, node in nodes:
        none = node.get("content") == "null" and node.get("__loader__") == "JsonNode"
        if _is_cache(name) and (not none or node.get("__id__") in not_none):
            yield name


def _nodes(state, name=""):
    """All JSON objects in a schema, each with its name."""
    if isinstance(state, dict):
        yield name, state
        for key, value in state.items():
            yield from _nodes(value, key)
    elif isinstance(state, list):
        for value in state:
            yield from _nodes(value, name)
