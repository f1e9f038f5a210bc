"""Fisher information, and the standard deviations that it allows."""

import numpy as np
import torch

_SINGULAR = 1e-10  # eigenvalue of the scaled information that counts as none
_INVOLVED = 1e-3  # part of such an eigenvector that makes a parameter unidentified


def fisher_information(signal_model, noise, theta, sigma):
    """Information of one measurement of each voxel on its parameters.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    theta : ndarray of shape (n_voxels, n_parameters)
    sigma : ndarray of shape (n_voxels,)

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters, n_parameters)
    """
    with torch.no_grad():
        signal, jacobian = signal_model.jacobian(torch.as_tensor(np.ascontiguousarray(theta.T)))
    weights = noise.information(signal.numpy() / sigma) / sigma**2
    # (v, j, i) times (v, i, k): a batch of small matrix products.
    jacobian = np.ascontiguousarray(np.moveaxis(jacobian.numpy(), -1, 0))
    return (jacobian * weights.T[:, None, :]) @ jacobian.swapaxes(1, 2)


def covariances(information, free):
    """Inverse information on the free parameters, and which of them have one.

    Parameters
    ----------
    information : ndarray of shape (n_voxels, n_parameters, n_parameters)
    free : bool ndarray of shape (n_voxels, n_parameters)
        Others are taken as known.

    Returns
    -------
    covariance : ndarray of shape (n_voxels, n_parameters, n_parameters)
        0 where not both parameters are free. Directions without information are left out.
    identified : bool ndarray of shape (n_voxels, n_parameters)
        False for parameters that are not free, or that the measurement does not identify.
    """
    # Scaled to a diagonal of 1: eigenvalues then are comparable, whatever the units.
    size = np.sqrt(np.einsum("vjj->vj", information))
    free = free & (size > 0) & np.isfinite(size)
    scale = free / np.where(free, size, 1.0)
    scaled = np.where(free[:, :, None] & free[:, None, :], information, 0.0)
    scaled = scaled * scale[:, :, None] * scale[:, None, :]
    value, vector = np.linalg.eigh(scaled + np.eye(size.shape[1]) * ~free[:, None, :])
    lost = (value < _SINGULAR)[:, None, :]
    inverse = (vector / np.where(lost, np.inf, value[:, None, :])) @ vector.swapaxes(1, 2)
    unidentified = np.any(lost & (np.abs(vector) > _INVOLVED), axis=2)
    return inverse * scale[:, :, None] * scale[:, None, :], free & ~unidentified


def standard_deviations(information, free):
    """Square roots of the diagonal of the inverse information on the free parameters.

    Parameters
    ----------
    information : ndarray of shape (n_voxels, n_parameters, n_parameters)
    free : bool ndarray of shape (n_voxels, n_parameters)
        Others are taken as known.

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters)
        NaN for parameters that are not free, or that the measurement does not identify.
    """
    covariance, identified = covariances(information, free)
    return np.sqrt(np.where(identified, np.einsum("vjj->vj", covariance), np.nan))
