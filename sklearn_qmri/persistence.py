"""Model files: fitted estimators that load without running any code."""

import io
import json
import zipfile
import zlib
from pathlib import Path

from ._files import replacing
from ._version import __version__

__all__ = ["load_estimator", "save_estimator"]

_INSTALL = "Model files need skops: pip install 'sklearn-qmri[model-files]'."
_FORMAT = 1  # to be raised when fitted estimators change so that older files no longer work
_MEMBER = "sklearn_qmri.json"  # of the archive: who wrote it, and in which format
# Types that fitted estimators of this package are made of, besides what skops trusts by itself and
# what the public lists name.
_PRIVATE = (
    "sklearn_qmri._network._domain.Domain",
    "sklearn_qmri._network._fitted.FittedNetwork",
    "sklearn_qmri._network._inputs.NetworkInputs",
    "sklearn_qmri._network._settings.MLP",
    "sklearn_qmri._network._settings.Training",
    "sklearn_qmri.dictionary._interpolation.Interpolation",
    "sklearn_qmri.estimators._refine.Refinement",
)

# What damaged archives make the libraries raise.
_DAMAGE = (zipfile.BadZipFile, zlib.error, AttributeError, KeyError, TypeError, ValueError)


def _skops():
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return skops.io


def _trusted_types():
    from . import estimators, metrics, noise, signal_models

    public = (
        getattr(p, name) for p in (estimators, metrics, noise, signal_models) for name in p.__all__
    )
    classes = (value for value in public if isinstance(value, type))
    return {f"{value.__module__}.{value.__qualname__}" for value in classes} | set(_PRIVATE)


def save_estimator(estimator, path, *, overwrite=False):
    """Write an estimator to a file that `load_estimator` reads.

    Parameters
    ----------
    estimator : estimator
        Fitted or not, also a pipeline or search with one of this package inside.
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
    with replacing(path) as scratch:
        skops.dump(estimator, scratch)
        with zipfile.ZipFile(scratch, "a") as archive:
            archive.writestr(_MEMBER, json.dumps({"version": __version__, "format": _FORMAT}))


def load_estimator(path, *, trusted=()):
    """Read an estimator that `save_estimator` has written.

    No code in the file is run: it may only hold arrays, plain values, and types from a list, that
    of this package's estimators and signal models and what skops itself trusts of scikit-learn
    and NumPy. A type in the file that is not on it is refused before anything is built.

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
    _check_format(path, data)
    try:
        foreign = set(skops.get_untrusted_types(data=data)) - _trusted_types() - set(trusted)
    except _DAMAGE as error:
        raise ValueError(f"{path} is no model file, or damaged: {error!r}") from error
    if foreign:
        raise ValueError(
            f"{path} holds {sorted(foreign)}, which no estimator of this package is made of. If "
            "you know where the file is from, name them in trusted=[...]."
        )
    try:
        return skops.loads(data, trusted=sorted(_trusted_types() | set(trusted)))
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged, or of a version unlike this: {error!r}") from error


def _check_format(path, data):
    """ValueError unless save_estimator wrote the file, in the format that this version reads."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            about = json.loads(archive.read(_MEMBER)) if _MEMBER in archive.namelist() else None
    except _DAMAGE as error:
        raise ValueError(f"{path} is no model file, or damaged: {error!r}") from error
    if not isinstance(about, dict) or set(about) != {"version", "format"}:
        raise ValueError(f"{path} was not written by save_estimator of sklearn_qmri.")
    if about["format"] != _FORMAT:
        raise ValueError(
            f"{path} was written by sklearn_qmri {about['version']}, in format {about['format']}; "
            f"this is {__version__}, which reads format {_FORMAT}: train anew, or install that "
            "version."
        )
