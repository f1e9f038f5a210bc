"""Whether rows resemble the training rows of a network."""

import numpy as np

# Share of the training rows at each end of a range that may be outside it, so that single extreme
# rows do not widen the range.
_TAIL = 0.0005
# Factor by which noise levels may be beyond those of the training. If all training rows have the
# same noise level, a range without a margin would be a single number.
_SIGMA_MARGIN = 1.05


class Domain:
    """Range of the training rows: their residuals, noise levels and predictions.

    Parameters
    ----------
    inputs : NetworkInputs
        Inputs whose scales make rows of different amplitude comparable.
    """

    def __init__(self, inputs):
        self.inputs = inputs

    def fit(self, X, sigma, expected, predicted):
        """Store the limits of the training rows and of their predictions.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)
        expected : ndarray of shape (n_voxels, n_measurements)
            Measurements expected for the predicted tissues.
        predicted : ndarray of shape (n_voxels, n_parameters)

        Returns
        -------
        self : Domain
        """
        # A misfit can only be too large, so the share of both tails is at one end.
        self.misfit_ = np.quantile(_misfit(X, sigma, expected), 1 - 2 * _TAIL)
        relative = sigma / self.inputs.amplitude(X)[:, 0]
        self.sigma_range_ = relative.min() / _SIGMA_MARGIN, relative.max() * _SIGMA_MARGIN
        scaled = predicted / self.inputs.parameter_scale(X)
        self.parameter_range_ = np.quantile(scaled, [_TAIL, 1 - _TAIL], axis=0)
        return self

    def contains(self, X, sigma, expected, predicted):
        """Whether each row resembles the training rows.

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
