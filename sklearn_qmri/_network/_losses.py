"""Losses of stacked networks: one value per member."""

import torch
from torch import nn


class ScaledSquaredError(nn.Module):
    """Mean over rows and parameters of squared error / scale^2, one value per member.

    Parameters
    ----------
    scale : array-like of shape (n_parameters,)
    """

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, prediction, target):
        """Compute the loss per member of predictions (n_members, n_rows, n_parameters)."""
        return ((prediction - target) / self.scale).square().mean((-2, -1))


class SignalLikelihood(nn.Module):
    """Mean negative log-likelihood of the measurements, without constants, for each member.

    Under Gaussian noise of one level it is proportional to the mean squared error of the signal.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    factor : float, default=1
        Factor of the loss.
    """

    def __init__(self, signal_model, noise, factor=1.0):
        super().__init__()
        self.factor = factor
        self.signal_model = signal_model
        self.noise = noise.along(0)

    def forward(self, prediction, target):
        """Compute the loss per member.

        Parameters
        ----------
        prediction : tensor of shape (n_members, n_rows, n_parameters)
        target : tensor of shape (n_rows, 2 * n_measurements)
            Measurements in units of sigma, and the unit of the predicted amplitude in units of the
            sigma of each measurement.
        """
        n_members, n_rows, _ = prediction.shape
        # Signal models take (n_parameters, n_lanes) and return (n_measurements, n_lanes).
        theta = prediction.permute(2, 0, 1).flatten(1)
        signal = self.signal_model.signal(theta).unflatten(1, (n_members, n_rows))
        # Both are (n_measurements, 1, n_rows), to be compared with all members. A signal is
        # proportional to its amplitude, so its unit is that of the amplitude.
        x, unit = target[:, None].permute(2, 1, 0).chunk(2)
        return self.factor * self.noise.derivatives(x, signal * unit)[0].mean((0, 2))


class BiasConstrainedError(nn.Module):
    """Mean over tissues and parameters of variance + w * squared bias, per member.

    Parameters
    ----------
    n_repeats : int
        Number of consecutive rows that are noise repeats of one tissue.
    free_variance : float, default=0
        Variance of scaled errors that costs nothing: only the rest of the variance counts.
    """

    def __init__(self, n_repeats, free_variance=0.0):
        super().__init__()
        self.n_repeats = n_repeats
        self.free_variance = free_variance

    def forward(self, prediction, target):
        """Loss per member.

        Parameters
        ----------
        prediction : tensor of shape (n_members, n_rows, n_parameters)
        target : tensor of shape (n_rows, 4 * n_parameters)
            True parameters, the factor of their errors, the control variate, and w. The control
            variate is a part of the scaled error that is known to be 0 on average over the noise.
            Rows of one tissue have the same w.

        Returns
        -------
        tensor of shape (n_members,)
        """
        truth, factor, control, weight = target.chunk(4, -1)
        return self.loss((prediction - truth) * factor, control, weight)

    def loss(self, error, control, weight):
        """Loss per member of scaled errors (n_members, n_rows, n_parameters)."""
        # Without its part that averages out, the error has the same bias but varies much less.
        rest = (error - control).unflatten(-2, (-1, self.n_repeats))
        # With r repeats, E[mean^2] = b^2 + u / r, where u is the variance of the rest. So mean^2 -
        # u / r is an unbiased estimate of the squared bias, even though it may be negative.
        squared_bias = rest.mean(-2).square() - rest.var(-2) / self.n_repeats
        variance = error.unflatten(-2, (-1, self.n_repeats)).var(-2)
        weight = weight[:: self.n_repeats]
        # The optimum has a loss of about sqrt(w) to w times that for w = 1. The root evens out how
        # much the different w count.
        costly = (variance - self.free_variance).clamp_min(0)
        return ((costly + weight * squared_bias) / weight.sqrt()).mean((-2, -1))


class CorrectionError(BiasConstrainedError):
    """Same as `BiasConstrainedError`, of corrected posterior means.

    Targets are the errors of the posterior means and the largest corrections, both over the
    divisors of the errors, control variates, and w.
    """

    def forward(self, prediction, target):
        """Loss per member of outputs (n_members, n_rows, n_parameters) of a network."""
        offset, factor, control, weight = target.chunk(4, -1)
        return self.loss(offset + factor * prediction, control, weight)


def unit_of_correction(std, size, weight):
    """Unit of the outputs of a network, which are added to the means of posteriors over atoms.

    At w = 1 the estimate is the mean of the posterior. The mean over the atoms is nearly that if
    many atoms count, and then hardly anything is left to the network.

    Parameters
    ----------
    std : tensor of shape (n_voxels, n_parameters)
        Standard deviations of the posteriors.
    size : tensor of shape (n_voxels, 1)
        Effective number of atoms.
    weight : tensor of shape (n_voxels, n_parameters) or (n_parameters,)
        Weights w of the squared bias.

    Returns
    -------
    tensor of shape (n_voxels, n_parameters)
    """
    return (1 - (1 - 1 / size) / weight) * std
