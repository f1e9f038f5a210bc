"""Whether rows resemble the training rows of a network."""

import numpy as np

_TAIL = 0.0005  # share of the training rows at each end of a range that counts as outside it
_SIGMA_MARGIN = 1.05  # factor beyond the training range of noise levels


class Domain:
    """Range of the training rows: their residuals, noise levels and predictions.

    Parameters
    ----------
    inputs : NetworkInputs
        Their scale makes rows of different amplitude comparable.
    """

    def __init__(self, inputs):
        self.inputs = inputs

    def fit(self, X, sigma, expected, predicted):
        """Keep the limits of the training rows and of their predictions.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)
        expected : ndarray of shape (n_voxels, n_measurements)
            Measurements to be expected of the predicted tissues.
        predicted : ndarray of shape (n_voxels, n_parameters)

        Returns
        -------
        self : Domain
        """
        self.misfit_ = np.quantile(_misfit(X, sigma, expected), 1 - 2 * _TAIL)
        relative = sigma / self.inputs.amplitude(X)[:, 0]
        self.sigma_range_ = relative.min() / _SIGMA_MARGIN, relative.max() * _SIGMA_MARGIN
        scaled = predicted / self.inputs.parameter_scale(X)
        self.parameter_range_ = np.quantile(scaled, [_TAIL, 1 - _TAIL], axis=0)
        return self

    def contains(self, X, sigma, expected, predicted):
        """Whether each row is like those of the training.

        Parameters
        ----------
        X, sigma, expected, predicted : ndarray
            Same as `fit`.

        Returns
        -------
        bool ndarray of shape (n_voxels,)
        """
        relative = sigma / self.inputs.amplitude(X)[:, 0]
        low, high = self.parameter_range_
        scaled = predicted / self.inputs.parameter_scale(X)
        inside = ((scaled >= low) & (scaled <= high)).all(axis=1)
        inside &= (relative >= self.sigma_range_[0]) & (relative <= self.sigma_range_[1])
        return inside & (_misfit(X, sigma, expected) <= self.misfit_)


def _misfit(X, sigma, expected):
    """Mean squared residual of each row, in units of sigma^2."""
    return np.mean(((X - expected) / sigma[:, None]) ** 2, axis=1)
