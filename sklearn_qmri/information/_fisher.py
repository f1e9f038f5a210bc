"""Fisher information, and standard deviations from its inverse."""

import numpy as np
import torch

_SINGULAR = 1e-10  # eigenvalue or pivot of the scaled information below which it counts as 0
# Component of an eigenvector without information above which its parameter is not identified.
_INVOLVED = 1e-3


def fisher_information(signal_model, noise, theta, sigma):
    """Information of one measurement of each voxel on its parameters.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    theta : ndarray of shape (n_voxels, n_parameters)
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        Infinity where there is no measurement.

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters, n_parameters)
    """
    with torch.no_grad():
        signal, jacobian = signal_model.jacobian(torch.as_tensor(np.ascontiguousarray(theta.T)))
    # The noise model's information, in units of 1 / sigma^2, is one weight per measurement. That on
    # the parameters is J W J^T.
    sigma = sigma.T  # voxels along the last axis, as those of the signal
    weights = noise.along(0).information(signal.numpy() / sigma) / sigma**2
    # (v, j, i) times (v, i, k): a batch of small matrix products.
    jacobian = np.ascontiguousarray(np.moveaxis(jacobian.numpy(), -1, 0))
    return (jacobian * weights.T[:, None, :]) @ jacobian.swapaxes(1, 2)


def covariances(information, free):
    """Inverse information on the free parameters, and a mask of those that are identified.

    Parameters
    ----------
    information : ndarray of shape (n_voxels, n_parameters, n_parameters)
    free : bool ndarray of shape (n_voxels, n_parameters)
        Other parameters count as known.

    Returns
    -------
    covariance : ndarray of shape (n_voxels, n_parameters, n_parameters)
        0 where not both parameters are free. Directions without information are excluded.
    identified : bool ndarray of shape (n_voxels, n_parameters)
        False for parameters that are not free, or that the measurement does not identify.
    """
    scaled, scale = _scaled(information, free)
    free = scale > 0
    # A diagonal of 1 in place of parameters that are not free keeps the matrix regular without any
    # effect on the others. The inverse is V diag(1 / value) V^T; a value of infinity removes a
    # direction.
    value, vector = np.linalg.eigh(scaled + np.eye(free.shape[1]) * ~free[:, None, :])
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
        Other parameters count as known.

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters)
        NaN for parameters that are not free, or that the measurement does not identify.
    """
    covariance, identified = covariances(information, free)
    return np.sqrt(np.where(identified, np.einsum("vjj->vj", covariance), np.nan))


def standard_deviation(information, free, parameter):
    """Standard deviation of one parameter, several times faster than those of all.

    Parameters
    ----------
    information : ndarray of shape (n_voxels, n_parameters, n_parameters)
    free : bool ndarray of shape (n_voxels, n_parameters)
    parameter : int

    Returns
    -------
    ndarray of shape (n_voxels,)
    """
    scaled, scale = _scaled(information, free)
    # Gaussian elimination of all other parameters leaves the Schur complement, whose inverse is the
    # diagonal element of the inverse matrix. A pivot of infinity skips a parameter without
    # information. Voxels are on the last axis, so that each step is one operation on rows of them.
    rest = np.ascontiguousarray(np.moveaxis(scaled, 0, -1))
    for k in range(len(rest)):
        if k != parameter:
            pivot = np.where(rest[k, k] > _SINGULAR, rest[k, k], np.inf)
            rest -= rest[:, None, k] * (rest[None, k] / pivot)
    left = rest[parameter, parameter]
    scale = scale[:, parameter]
    identified = (left > _SINGULAR) & (scale > 0)
    return np.where(identified, scale / np.sqrt(np.where(identified, left, 1.0)), np.nan)


def _scaled(information, free):
    """Information on the free parameters with a diagonal of 1, and the scale that makes it so.

    The scale is 0 for parameters without information. Scaling makes eigenvalues and pivots
    comparable, whatever the units of the parameters.
    """
    size = np.sqrt(np.einsum("vjj->vj", information))
    free = free & (size > 0) & np.isfinite(size)
    scale = free / np.where(free, size, 1.0)
    scaled = np.where(free[:, :, None] & free[:, None, :], information, 0.0)
    return scaled * scale[:, :, None] * scale[:, None, :], scale


def bayesian_covariances(information, prior_variance):
    """Covariances of estimates from a measurement and a prior together (van Trees).

    They are finite where the measurement alone does not identify a parameter: the information of
    the prior, 1 / variance, is added to that of the measurement.

    Parameters
    ----------
    information : ndarray of shape (n_voxels, n_parameters, n_parameters)
        Entries that are not finite count as no information.
    prior_variance : ndarray of shape (n_parameters,)

    Returns
    -------
    ndarray of shape (n_voxels, n_parameters, n_parameters)
    """
    # In units of the prior's standard deviations, its information is the identity matrix, and no
    # eigenvalue of the sum is below 1.
    scale = np.sqrt(prior_variance)
    scaled = np.nan_to_num(information, posinf=0.0, neginf=0.0) * scale[:, None] * scale
    return np.linalg.inv(scaled + np.eye(len(scale))) * scale[:, None] * scale


def bayesian_deviations(information, prior_variance):
    """Square roots of the diagonals of `bayesian_covariances`, (n_voxels, n_parameters)."""
    return np.sqrt(np.einsum("vjj->vj", bayesian_covariances(information, prior_variance)))
