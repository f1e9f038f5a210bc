"""Whether rows resemble the training rows of a network."""

import numpy as np

from ..noise import expected_measurement

_TAIL = 0.0005  # share of the training rows at each end of a range that counts as outside it
_SIGMA_MARGIN = 1.05  # factor beyond the training range of noise levels


class Domain:
    """The rows that a network was trained on: residuals, noise levels and predictions.

    Parameters
    ----------
    signal_model : SignalModel
    noise : noise model
    inputs : NetworkInputs
    """

    def __init__(self, signal_model, noise, inputs):
        self.signal_model = signal_model
        self.noise = noise
        self.inputs = inputs

    def fit(self, X, predicted, sigma):
        """Remember the limits of the training rows and of their predictions."""
        self.residual_ = np.quantile(self._chi_squared(X, predicted, sigma), 1 - 2 * _TAIL)
        level = sigma / self.inputs.amplitude(X)[:, 0]
        self.sigma_range_ = level.min() / _SIGMA_MARGIN, level.max() * _SIGMA_MARGIN
        scaled = predicted / self.inputs.parameter_scale(X)
        self.parameter_range_ = np.quantile(scaled, [_TAIL, 1 - _TAIL], axis=0)
        return self

    def contains(self, X, predicted, sigma):
        """Whether each row is like those of the training."""
        level = sigma / self.inputs.amplitude(X)[:, 0]
        low, high = self.parameter_range_
        scaled = predicted / self.inputs.parameter_scale(X)
        inside = ((scaled >= low) & (scaled <= high)).all(axis=1)
        known_level = (level >= self.sigma_range_[0]) & (level <= self.sigma_range_[1])
        return inside & known_level & (self._chi_squared(X, predicted, sigma) <= self.residual_)

    def _chi_squared(self, X, predicted, sigma):
        residual = X - expected_measurement(self.signal_model, self.noise, predicted, sigma)
        return np.mean((residual / sigma[:, None]) ** 2, axis=1)
