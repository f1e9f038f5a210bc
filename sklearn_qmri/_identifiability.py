"""What a protocol cannot tell at all, however low the noise."""

import warnings

import numpy as np
import torch
from scipy.stats import qmc

_TISSUES = 32  # of the prior, at which the derivatives are looked at
_SINGULAR = 1e-7  # singular value, over the largest one, that counts as none
_INVOLVED = 1e-3  # part of a direction without effect that makes a parameter part of it


def unidentified(signal_model, known=()):
    """Parameters that can change together without any effect on the signal.

    To first order, at most of a few tissues from all over the prior.

    Parameters
    ----------
    signal_model : SignalModel
    known : collection of str
        Names of parameters that are not to be estimated.

    Returns
    -------
    list of str
    """
    parameters = signal_model.parameters
    free = [j for j, p in enumerate(parameters) if p.name not in known]
    if not free:
        return []
    low, high = np.array([p.prior for p in parameters]).T
    unit = qmc.Halton(len(parameters), scramble=False).random(_TISSUES + 1)[1:]
    theta = torch.as_tensor(np.ascontiguousarray((low + (high - low) * unit).T))
    with torch.no_grad():
        jacobian = signal_model.jacobian(theta)[1].numpy()[free]
    scale = np.array([parameters[j].loss_scale for j in free])
    effects = np.moveaxis(jacobian, -1, 0) * scale[:, None]  # (n_tissues, n_free, n_measurements)
    directions, size, _ = np.linalg.svd(effects, full_matrices=True)
    size = np.pad(size, ((0, 0), (0, len(free) - size.shape[1])))
    lost = size < _SINGULAR * size[:, :1]
    involved = (lost[:, None, :] & (np.abs(directions) > _INVOLVED)).any(axis=2).mean(axis=0)
    return [parameters[j].name for j, share in zip(free, involved, strict=True) if share > 0.5]


def warn_of_unidentified(signal_model, known=()):
    """One warning that names the parameters, if there are any."""
    names = unidentified(signal_model, known)
    if names:
        n_free = len(signal_model.parameters) - len(known)
        warnings.warn(
            f"{signal_model!r} does not determine {', '.join(names)}: it has "
            f"{signal_model.n_measurements} measurements, repeats included, for {n_free} free "
            "parameters. Measure more, or fix what is known; their estimates are arbitrary.",
            stacklevel=3,
        )
