"""Probabilities of signal models as maps."""

import numpy as np
from tqdm import tqdm

from .._warnings import quiet
from ..estimators import signal_model_of
from ..inspection import model_probabilities
from ._nifti import like
from ._open import open_scan
from ._predict import marked


def predict_model_probabilities(
    estimators, image, mask=None, *, sigma=None, criterion="evidence", chunk_size=65536, verbose=0
):
    """Maps of the probability of each signal model.

    Parameters
    ----------
    estimators : sequence of fitted estimators, or dict of {str: fitted estimator}
        Same as in `model_probabilities`. The keys of a dict name the maps; in a sequence, the class
        of the signal model does.
    image : path-like, nibabel image, list of them, or Scan
        Same as in `predict_image`.
    mask : path-like, nibabel image or array-like, default=None
        Same as in `predict_image`.
    sigma : float, path-like, nibabel image or array-like, default=None
        Noise level or a map of it, same as in `predict_image`.
    criterion : {"evidence", "aic", "bic"}, default="evidence"
        Same as in `model_probabilities`.
    chunk_size : int, default=65536
        Approximate number of voxels at once.
    verbose : int, default=0
        Positive: a progress bar.

    Returns
    -------
    dict of {str: nibabel image}
        Probabilities by name, float32, and ``"best"``, int8: the position of the most probable
        model in the order given, from 1 on. Voxels without an estimate by one of the models have
        NaN and 0, as those outside the mask.

    Raises
    ------
    OSError, ValueError
        Same as `predict_image` and `model_probabilities`, or if two maps have one name.

    Examples
    --------
    >>> import nibabel, numpy
    >>> from sklearn_qmri import PosteriorMeanEstimator
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.image import predict_model_probabilities
    >>> from sklearn_qmri.signal_models import ADC, IVIM
    >>> b = [0, 10, 20, 50, 100, 200, 400, 800]
    >>> phantom = make_phantom(IVIM(b), shape=(16, 16, 1), snr=30, random_state=0)
    >>> scan = nibabel.Nifti1Image(phantom.data, numpy.eye(4))
    >>> X = phantom.data[phantom.mask]
    >>> posteriors = [
    ...     PosteriorMeanEstimator(model(b), sigma=1 / 30, random_state=0).fit(X)
    ...     for model in (ADC, IVIM)
    ... ]
    >>> sorted(predict_model_probabilities(posteriors, scan, phantom.mask))
    ['ADC', 'IVIM', 'best']
    """
    if not isinstance(estimators, dict):
        estimators = list(estimators)
        names = [type(signal_model_of(estimator)).__name__ for estimator in estimators]
        if len(set(names)) < len(names):
            raise ValueError(f"Several estimators are of one signal model, {names}: pass a dict.")
        estimators = dict(zip(names, estimators, strict=True))
    if "best" in estimators:
        raise ValueError("Estimators expect names other than 'best', that of another map.")
    first = next(iter(estimators.values()), None)
    scan = open_scan(image, mask, sigma, n_expected=getattr(first, "n_features_in_", None))
    maps = {name: np.full(scan.inside.shape, np.nan, np.float32) for name in estimators}
    best = np.zeros(scan.inside.shape, dtype=np.int8)
    with tqdm(total=scan.n_voxels, desc="models", unit=" voxels", disable=not verbose) as bar:
        for slab in scan.slabs(chunk_size):
            here = scan.inside[:, :, slab]
            X, level = marked(*scan.read(slab))
            with quiet():
                found = model_probabilities(estimators, X, criterion=criterion, sigma=level)
            for values, column in zip(maps.values(), found.T, strict=True):
                values[:, :, slab][here] = column
            valid = np.isfinite(found).all(axis=1)
            best[:, :, slab][here] = np.where(valid, np.nan_to_num(found).argmax(axis=1) + 1, 0)
            bar.update(len(X))
    return {name: like(scan.images[0], values) for name, values in (maps | {"best": best}).items()}
