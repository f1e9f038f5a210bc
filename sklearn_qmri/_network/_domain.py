"""Whether rows resemble the training rows of a network."""

import numpy as np
import torch

from .._torch import single_thread
from ..dictionary import make_atoms, simulate_atoms
from ..noise import columns_of, level_of_rows
from ._reading import blocks, misfit_of_nearest

# Share of the training rows at each end of a range that may be outside it, so that single extreme
# rows do not widen the range; and share of them with a larger misfit than the limit. With four
# parameters these are 0.7 % of faultless rows together.
_TAIL = 0.00025
_ALARMS = 0.005
# Factor by which noise levels may be beyond those of the training. If all training rows have the
# same noise level, a range without a margin would be a single number.
_SIGMA_MARGIN = 1.05
_N_ATOMS, _N_CELLS = 512, 16


class Domain:
    """Range of the training rows: their misfit, noise levels and predictions.

    The misfit of a row is the sum of its squared residuals, in units of sigma^2, for the tissue
    that explains it best: the nearest of several hundred atoms after a step of Newton's method, or
    the predicted one. The prediction alone would not tell a fault from a bias.

    Parameters
    ----------
    inputs : NetworkInputs
        Inputs whose scales make rows of different amplitude comparable.
    signal_model : SignalModel
    noise : NoiseModel
    """

    def __init__(self, inputs, signal_model, noise):
        self.inputs = inputs
        self.signal_model = signal_model
        self.noise = noise

    def fit(self, X, sigma, expected, predicted, tissues=None):
        """Store the limits of the training rows and of their predictions.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        expected : ndarray of shape (n_variants, n_voxels, n_measurements)
            Measurements expected for the tissues that variants of the network predict.
        predicted : ndarray of shape (n_variants, n_voxels, n_parameters)
        tissues : ndarray of shape (n_voxels, n_parameters), default=None
            Tissues of the rows. None: they are unknown, and the predicted ones take their place.

        Returns
        -------
        self : Domain
        """
        self.atoms_ = self._make_atoms(np.concatenate(predicted) if tissues is None else tissues)
        nearest = self._misfit_of_nearest(X, sigma)
        misfits = np.minimum([_misfit(X, sigma, each) for each in expected], nearest)
        # A misfit can only be too large.
        self.misfit_ = np.quantile(misfits, 1 - _ALARMS)
        relative = level_of_rows(sigma) / self.inputs.amplitude(X)[:, 0]
        self.sigma_range_ = relative.min() / _SIGMA_MARGIN, relative.max() * _SIGMA_MARGIN
        self.training_ = _summarise(self.signal_model, X, sigma, tissues)
        scaled = np.concatenate(predicted / self.inputs.parameter_scale(X))
        self.parameter_range_ = np.quantile(scaled, [_TAIL, 1 - _TAIL], axis=0)
        return self

    def contains(self, X, sigma, expected, predicted):
        """Whether each row resembles the training rows.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
        expected : ndarray of shape (n_voxels, n_measurements)
            Measurements expected for the predicted tissues.
        predicted : ndarray of shape (n_voxels, n_parameters)

        Returns
        -------
        bool ndarray of shape (n_voxels,)
        """
        relative = level_of_rows(sigma) / self.inputs.amplitude(X)[:, 0]
        low, high = self.parameter_range_
        scaled = predicted / self.inputs.parameter_scale(X)
        inside = ((scaled >= low) & (scaled <= high)).all(axis=1)
        inside &= (relative >= self.sigma_range_[0]) & (relative <= self.sigma_range_[1])
        nearest = self._misfit_of_nearest(X, sigma)
        return inside & (np.minimum(_misfit(X, sigma, expected), nearest) <= self.misfit_)

    def _make_atoms(self, tissues):
        """Atoms in the range of tissues; None if the signal model has not just one amplitude."""
        parameters = self.signal_model.parameters
        if sum(p.amplitude for p in parameters) != 1:
            return None
        low, high = np.transpose([p.bounds for p in parameters])
        ranges = np.quantile(tissues, [_TAIL, 1 - _TAIL], axis=0).clip(low, high)
        return make_atoms(self.signal_model, ranges, _N_ATOMS, _N_CELLS)

    def _misfit_of_nearest(self, X, sigma):
        """Misfits of rows for their nearest atoms; infinity without atoms."""
        misfit = np.full(len(X), np.inf)
        if self.atoms_ is None:
            return misfit
        simulated = simulate_atoms(self.atoms_, self.signal_model, self.noise)
        with single_thread(), torch.no_grad():
            for rows, *block in blocks(X, sigma):
                found = misfit_of_nearest(simulated, self.noise, *block)
                misfit[rows] = found[: len(X[rows])].numpy()
        return misfit


def _summarise(signal_model, X, sigma, tissues):
    """Number of the training rows, and the ranges of their tissues and SNR, ready for JSON.

    The SNR is that of the first amplitude; without tissues, that of the largest measurement.
    """
    summary, peak = {"rows": len(X)}, np.abs(X).max(axis=1)
    if tissues is not None:
        parameters = signal_model.parameters
        ends = np.transpose([tissues.min(axis=0), tissues.max(axis=0)]).tolist()
        summary["prior"] = dict(zip(signal_model.parameter_names, ends, strict=True))
        amplitudes = [j for j, p in enumerate(parameters) if p.amplitude]
        peak = np.abs(tissues[:, amplitudes[0]]) if amplitudes else peak
    snr = peak / level_of_rows(sigma)
    return summary | {"snr": [float(snr.min()), float(snr.max())]}


def _misfit(X, sigma, expected):
    """Sum of the squared residuals of each row, in units of sigma^2."""
    return np.sum(((X - expected) / columns_of(sigma)) ** 2, axis=1)
