"""Protocols of scans: whether they are those of an estimator, and an estimator for another one."""

from numbers import Real

import numpy as np
from sklearn.base import clone

from ._acquisition import MEASURED, is_same, read_acquisition
from ._estimators import signal_model_of, takes
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


def estimator_for(estimator, scan, sigma):
    """Estimator for the protocol of a scan, as far as the files beside the scan tell it.

    Parameters
    ----------
    estimator : fitted estimator
    scan : Scan
    sigma : float, path or None
        Noise level of the scan. None: that of `estimator`.

    Returns
    -------
    fitted estimator
        `estimator` itself if the scan has its protocol. Otherwise a clone with the protocol of the
        scan.

    Raises
    ------
    ValueError
        If the protocol is another one, and the estimator needs a training or has no noise level, or
        the images are phases or the like.
    """
    model = signal_model_of(estimator)
    check_kinds(scan, model)
    known = read_acquisition(scan)
    others = different_arguments(model, known)
    if not others:
        return estimator
    if not takes(estimator, "protocol"):
        raise ValueError(
            f"The {others[0]} of the scan, {plain(known[others[0]])}, are not those of the "
            f"estimator, {plain(acquisition_of(model)[others[0]])}, which would need a training."
        )
    own = type(model)(**model.get_params() | {name: known[name] for name in others})
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
