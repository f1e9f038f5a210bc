"""Fisher information, and the standard deviations that it allows."""

import numpy as np
import torch

_SINGULAR = 1e-10  # eigenvalue of the scaled information that counts as none


def fisher_information(signal_model, noise, theta, sigma):
    """Information of one measurement of each voxel on its parameters.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    theta : array of shape (n_voxels, n_parameters)
    sigma : array of shape (n_voxels,)

    Returns
    -------
    array of shape (n_voxels, n_parameters, n_parameters)
    """
    with torch.no_grad():
        signal, jacobian = signal_model.jacobian(torch.as_tensor(np.ascontiguousarray(theta.T)))
    weights = noise.information(signal.numpy() / sigma) / sigma**2
    return np.einsum("jiv,iv,kiv->vjk", jacobian.numpy(), weights, jacobian.numpy(), optimize=True)


def standard_deviations(information, free):
    """Square roots of the diagonal of the inverse information on the free parameters.

    Parameters
    ----------
    information : array of shape (n_voxels, n_parameters, n_parameters)
    free : bool array of shape (n_voxels, n_parameters)
        Others are taken as known.

    Returns
    -------
    array of shape (n_voxels, n_parameters)
        NaN for parameters that are not free, or that the measurement does not identify.
    """
    size = np.sqrt(np.einsum("vjj->vj", information))
    free = free & (size > 0) & np.isfinite(size)
    size = np.where(free, size, 1.0)
    pairs = free[:, :, None] & free[:, None, :]
    scaled = np.where(pairs, information / (size[:, :, None] * size[:, None, :]), 0.0)
    value, vector = np.linalg.eigh(scaled + np.eye(size.shape[1]) * ~free[:, None, :])
    lost = (value < _SINGULAR)[:, None, :]
    variance = np.sum(vector**2 / np.where(lost, np.inf, value[:, None, :]), axis=2)
    unidentified = np.any(lost & (np.abs(vector) > 1e-3), axis=2)
    return np.where(free & ~unidentified, np.sqrt(variance) / size, np.nan)
