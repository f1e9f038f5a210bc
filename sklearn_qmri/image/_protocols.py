"""Protocols of scans: whether they are those of an estimator, and an estimator for another one."""

from numbers import Real

import numpy as np
from sklearn.base import clone

from ..estimators import entry_of, signal_model_of, takes
from ._acquisition import MEASURED, is_same, read_acquisition
from ._kinds import check_kinds


def acquisition_of(signal_model):
    """Acquisition of a signal model, by argument: no settings such as a convention."""
    return {
        name: value
        for name, value in signal_model.get_params().items()
        if name in MEASURED and value is not None
    }


def different_arguments(signal_model, known):
    """Names of the arguments of a signal model for which a scan is known to have other values."""
    return [
        name
        for name, value in acquisition_of(signal_model).items()
        if name in known and not is_same(name, value, known[name])
    ]


def estimator_for(estimators, scan, sigma):
    """Estimator for the protocol of a scan, as far as the files beside the scan tell it.

    Parameters
    ----------
    estimators : list of fitted estimators
    scan : Scan
    sigma : float, path, text or None
        Noise level of the scan. None: that of the estimator.

    Returns
    -------
    fitted estimator
        The one that has the protocol of the scan; of several, the one that more of it is known of.
        Otherwise a clone, with the protocol of the scan, of the first that needs no training.

    Raises
    ------
    ValueError
        If the protocol is another one, and all estimators need a training or have no noise level,
        or the images are phases or the like.
    """
    known, n = read_acquisition(scan), scan.n_measurements
    # Without any file beside the scan, the number of measurements is all that is known of it.
    about = [each for each in estimators if _arguments_of(each, known)] or estimators
    same = [each for each in about if not _differ(each, known, n)]
    if same:
        chosen = max(same, key=lambda each: len(_arguments_of(each, known)))
        check_kinds(scan, signal_model_of(chosen))
        return chosen
    # A clone of a pipeline would have to be fitted with what its other steps were.
    able = [each for each in about if takes(each, "protocol") and entry_of(each) is not None]
    first = signal_model_of((able or about)[0])
    check_kinds(scan, first)
    others = different_arguments(first, known)
    if not others:
        return (able or about)[0]  # whose number of measurements is not that of the scan
    if not able:
        raise ValueError(
            f"The {others[0]} of the scan, {plain(known[others[0]])}, are not those of the "
            f"estimator, {plain(acquisition_of(first)[others[0]])}, which would need a training."
        )
    return _with_protocol(able[0], {name: known[name] for name in others}, sigma)


def _arguments_of(estimator, known):
    """Names of the acquisition that an estimator has and that are known for a scan."""
    return [name for name in acquisition_of(signal_model_of(estimator)) if name in known]


def _differ(estimator, known, n_measurements):
    """Whether a scan is known to have another protocol than an estimator."""
    model = signal_model_of(estimator)
    return model.n_measurements != n_measurements or bool(different_arguments(model, known))


def _with_protocol(estimator, acquisition, sigma):
    """Clone of an estimator with another acquisition, fitted."""
    model = signal_model_of(estimator)
    own = type(model)(**model.get_params() | acquisition)
    # `fit` checks its X and learns the noise level from it. Here that is known, or each voxel has
    # its own, so that any possible measurement will do.
    middle = [[p.loss_scale for p in own.parameters]]
    level = sigma if sigma is not None else getattr(estimator, "sigma_", None)
    if takes(estimator, "sigma") and level is None:
        raise ValueError("sigma expects the noise level of a scan with another protocol, got None.")
    options = {"sigma": level if isinstance(level, Real) else np.ones(1)}
    return clone(estimator).set_params(signal_model=own).fit(own.simulate(middle), **options)


def plain(value):
    """A value of an acquisition as a float, or a list of them."""
    return np.asarray(value, dtype=np.float64).tolist()
