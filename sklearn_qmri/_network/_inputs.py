"""Network inputs: rows of X, scaled and whitened."""

import numpy as np
from sklearn.decomposition import PCA

from ..noise import level_of_rows

# Least variance that a direction is divided by in whitening, relative to the largest variance.
_LEAST_VARIANCE = 1e-8


class NetworkInputs:
    """Inputs of a network, whitened or not, and the scales of its outputs.

    Parameters
    ----------
    signal_model : SignalModel
    normalize : {None, "rms"}
        "rms": divide each row by its root mean square.
    sigma_input : bool
        Whether log(sigma / root mean square) is one more input. Noise levels per measurement count
        by their mean information, see `level_of_rows`.
    standardize : bool
        Whether inputs are whitened.
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
        # The training rows may not vary in some directions, where division by a variance of almost
        # 0 would amplify a small deviation of a later row without limit.
        self.whitening_.explained_variance_ = np.maximum(variance, _LEAST_VARIANCE * variance[0])
        return self

    def transform(self, X, sigma):
        """Float32 inputs of the network for rows X and their noise levels."""
        raw = self._raw(X, sigma)
        if not self.standardize:
            return raw.astype(np.float32)
        if len(raw) == 0:  # PCA refuses no rows
            return np.empty((0, self.whitening_.n_components_), dtype=np.float32)
        return self.whitening_.transform(raw).astype(np.float32)

    def amplitude(self, X):
        """Divisor of each row, of shape (n_voxels, 1)."""
        return root_mean_square(X) if self.normalize == "rms" else np.ones((len(X), 1))

    def parameter_scale(self, X):
        """Divisors of the parameters of each row; 1 except for amplitudes, which scale with it."""
        amplitudes = np.array([p.amplitude for p in self.signal_model.parameters])
        return np.where(amplitudes, self.amplitude(X), 1.0)

    def _raw(self, X, sigma):
        """Inputs before whitening, (n_voxels, n_inputs)."""
        columns = [X / self.amplitude(X)]
        if self.sigma_input:
            columns.append(np.log(level_of_rows(sigma)[:, None] / root_mean_square(X)))
        return np.hstack(columns)


def root_mean_square(X):
    """Root mean square of each row, (n_voxels, 1); 1 for a row of zeros."""
    value = np.sqrt(np.mean(X**2, axis=1, keepdims=True))
    return np.where(value > 0, value, 1.0)
