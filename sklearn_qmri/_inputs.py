"""What a network sees of a row of X, and whether it has seen the like."""

import numpy as np
import torch
from sklearn.decomposition import PCA

_TAIL = 0.0005  # share of the training rows at each end of a range that counts as outside it
_LEAST_VARIANCE = 1e-8  # of the largest, below which a direction is not whitened
_SIGMA_MARGIN = 1.05  # factor beyond the training range of noise levels


class NetworkInputs:
    """Inputs of a network, whitened or not, and the scale of its outputs.

    Parameters
    ----------
    signal_model : SignalModel
    normalize : {None, "rms"}
    sigma_input : bool
    standardize : bool
    """

    def __init__(self, signal_model, normalize, sigma_input, standardize):
        self.signal_model = signal_model
        self.normalize = normalize
        self.sigma_input = sigma_input
        self.standardize = standardize

    def fit(self, X, sigma):
        """Learn the whitening from training rows."""
        if not self.standardize:
            return self
        self.whitening_ = PCA(whiten=True).fit(self._raw(X, sigma))
        variance = self.whitening_.explained_variance_
        # Directions in which training does not vary must not blow up what does later.
        self.whitening_.explained_variance_ = np.maximum(variance, _LEAST_VARIANCE * variance[0])
        return self

    def transform(self, X, sigma):
        """Float32 inputs of the network for rows X and their noise levels."""
        raw = self._raw(X, sigma)
        if not self.standardize:
            return raw.astype(np.float32)
        if len(raw) == 0:
            return np.empty((0, self.whitening_.n_components_), dtype=np.float32)
        return self.whitening_.transform(raw).astype(np.float32)

    def amplitude(self, X):
        """What each row is divided by, of shape (n_voxels, 1)."""
        return root_mean_square(X) if self.normalize == "rms" else np.ones((len(X), 1))

    def parameter_scale(self, X):
        """What the parameters of each row are divided by: the amplitudes among them, if any."""
        amplitudes = np.array([p.amplitude for p in self.signal_model.parameters])
        return np.where(amplitudes, self.amplitude(X), 1.0)

    def _raw(self, X, sigma):
        columns = [X / self.amplitude(X)]
        if self.sigma_input:
            columns.append(np.log(sigma[:, None] / root_mean_square(X)))
        return np.hstack(columns)


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
        residual = X - expected_signal(self.signal_model, self.noise, predicted, sigma)
        return np.mean((residual / sigma[:, None]) ** 2, axis=1)


def expected_signal(signal_model, noise, parameters, sigma):
    """Mean measurement (n_voxels, n_measurements) of tissues at their noise levels."""
    level = sigma[:, None]
    return noise.mean(torch.as_tensor(signal_model.simulate(parameters) / level)).numpy() * level


def root_mean_square(X):
    """Root mean square of each row, (n_voxels, 1); 1 for a row of zeros."""
    value = np.sqrt(np.mean(X**2, axis=1, keepdims=True))
    return np.where(value > 0, value, 1.0)
