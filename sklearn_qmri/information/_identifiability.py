"""Parameters that a protocol does not determine, or only with less noise than any scan has."""

import numpy as np
import torch
from scipy.stats import qmc

from .._warnings import warn
from ..noise import Gaussian
from ._fisher import fisher_information, standard_deviations

_TISSUES = 32  # tissues of the prior at which derivatives are taken
_SINGULAR = 1e-7  # ratio to the largest singular value below which a direction has no effect
_INVOLVED = 1e-3  # component of such a direction above which its parameter is not identified
_SNR = 100  # largest signal over noise; parameters lost in such noise are hardly determined


def unidentified(signal_model, known=()):
    """Parameters that can change together without any effect on the signal.

    Derivatives decide, at the majority of a few tissues from all over the prior.

    Parameters
    ----------
    signal_model : SignalModel
    known : collection of str
        Names of parameters that are not to be estimated.

    Returns
    -------
    list of str
    """
    free = _free(signal_model, known)
    _, jacobian = _derivatives(signal_model, free)
    if not free:
        return []
    scale = np.array([signal_model.parameters[j].loss_scale for j in free])
    effects = np.moveaxis(jacobian, -1, 0) * scale[:, None]  # (n_tissues, n_free, n_measurements)
    # All n_free left singular vectors are needed. The thin decomposition has them if there are as
    # many measurements. The full one, needed otherwise, returns n_measurements^2 numbers as well.
    few = effects.shape[2] < len(free)
    directions, size, _ = np.linalg.svd(effects, full_matrices=few)
    # Directions beyond the number of measurements have no effect: singular values of 0.
    size = np.pad(size, ((0, 0), (0, len(free) - size.shape[1])))
    lost = size < _SINGULAR * size[:, :1]
    involved = (lost[:, None, :] & (np.abs(directions) > _INVOLVED)).any(axis=2)
    return _names_of_most(signal_model, free, involved)


def hardly_identified(signal_model, known=()):
    """Parameters whose Cramer-Rao standard deviation at an SNR of 100 exceeds their prior's range.

    This is checked at the majority of a few tissues from all over the prior, with Gaussian noise of
    a hundredth of the largest signal.

    Parameters
    ----------
    signal_model : SignalModel
    known : collection of str
        Names of parameters that are not to be estimated.

    Returns
    -------
    list of str
    """
    free = _free(signal_model, known)
    theta, _ = _derivatives(signal_model, free)
    sigma = np.abs(signal_model.simulate(theta)).max(axis=1) / _SNR
    information = fisher_information(signal_model, Gaussian(), theta, sigma)
    estimated = np.zeros(theta.shape, dtype=bool)
    estimated[:, free] = True
    std = standard_deviations(information, estimated)[:, free]
    width = np.ptp([signal_model.parameters[j].prior for j in free], axis=1) if free else []
    # Negated, so that NaN, a parameter that is not identified at all, counts too.
    return _names_of_most(signal_model, free, ~(std <= width))


def warn_of_unidentified(signal_model, known=()):
    """Warn once, by name, of parameters that the protocol does not, or hardly, determine.

    Parameters
    ----------
    signal_model : SignalModel
    known : collection of str
        Names of parameters that are not to be estimated.
    """
    names, how = unidentified(signal_model, known), "does not determine"
    if not names:
        names, how = hardly_identified(signal_model, known), "hardly determines"
    if names:
        n_free = len(_free(signal_model, known))
        warn(
            f"{signal_model!r} {how} {', '.join(names)}: it has {signal_model.n_measurements} "
            f"measurements, repeats included, for {n_free} free parameters. Measure more, or fix "
            "known parameters; their estimates are arbitrary."
        )


def _free(signal_model, known):
    return [j for j, p in enumerate(signal_model.parameters) if p.name not in known]


def _derivatives(signal_model, free):
    """Tissues of the prior, and derivatives (n_free, n_measurements, n_tissues) there.

    Raises
    ------
    ValueError
        If they are not finite.
    """
    low, high = np.array([p.prior for p in signal_model.parameters]).T
    # The first point of the sequence is the lower end of every prior, which is no typical tissue.
    unit = qmc.Halton(len(low), scramble=False).random(_TISSUES + 1)[1:]
    theta = low + (high - low) * unit
    with torch.no_grad():
        jacobian = signal_model.jacobian(torch.as_tensor(np.ascontiguousarray(theta.T)))[1].numpy()
    bad = [
        p.name
        for p, column in zip(signal_model.parameters, jacobian, strict=True)
        if not np.isfinite(column).all()
    ]
    if bad:
        raise ValueError(
            f"Derivatives of {signal_model!r} by {', '.join(bad)} are not finite everywhere in its "
            "prior: keep its formula off 0 ** x, log(0) and 0 / 0, or give it a jacobian."
        )
    return theta, jacobian[free]


def _names_of_most(signal_model, free, found):
    """Names of the free parameters that `found` (n_tissues, n_free) marks at most tissues."""
    share = np.mean(found, axis=0)
    return [signal_model.parameters[j].name for j, s in zip(free, share, strict=True) if s > 0.5]
