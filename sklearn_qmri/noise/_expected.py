"""The expected measurement of a tissue: its signal and the bias that noise adds."""

import numpy as np
import torch

from ._check import columns_of


def expected_measurement(signal_model, noise, parameters, sigma):
    """Mean measurement of tissues at their noise levels.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    parameters : ndarray of shape (n_voxels, n_parameters)
    sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        Infinity where there is no measurement.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements)
        Means in the units of the signal; NaN where there is no measurement.
    """
    sigma = columns_of(np.where(np.isinf(sigma), np.nan, sigma))
    return noise.mean(torch.as_tensor(signal_model.simulate(parameters) / sigma)).numpy() * sigma
