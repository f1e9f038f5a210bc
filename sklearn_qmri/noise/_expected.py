"""The expected measurement of a tissue: its signal and the bias that noise adds."""

import torch


def expected_measurement(signal_model, noise, parameters, sigma):
    """Mean measurement of tissues at their noise levels.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    parameters : ndarray of shape (n_voxels, n_parameters)
    sigma : ndarray of shape (n_voxels,)

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements)
        Means in the units of the signal.
    """
    sigma = sigma[:, None]
    return noise.mean(torch.as_tensor(signal_model.simulate(parameters) / sigma)).numpy() * sigma
