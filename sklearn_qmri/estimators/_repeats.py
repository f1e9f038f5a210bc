"""Noise repeats of training tissues: stored ones, or fresh ones in every step of a training."""

import numpy as np
import torch

from .._warnings import warn
from ..information import bayesian_covariances, fisher_information
from ..noise import columns_of
from ..tissues import number_tissues

# Weight of the squared bias at which the control variate fits the network best: about the middle,
# on a logarithmic axis, of the weights that are trained. It need not be right, see `FreshRepeats`.
_MIDDLE_WEIGHT = 4.0


class StoredRepeats:
    """Rows of X that are noise repeats of tissues.

    Parameters
    ----------
    rows : Rows
        Signals, tissues and noise levels.
    n_repeats : int
        Largest number of repeats of a tissue in a step.
    rng : numpy.random.RandomState
        Chooses the repeats of each step.

    Attributes
    ----------
    y : ndarray of shape (n_tissues, n_parameters)
    sigma : ndarray of shape (n_tissues,) or (n_tissues, n_measurements)
    n_repeats : int
        Number of repeats of each tissue in a step.

    Raises
    ------
    ValueError
        If no tissue has two rows.
    """

    def __init__(self, rows, n_repeats, rng):
        table, least = _table_of_repeats(_number(rows))
        self.X = rows.X
        self.table = table
        self.y, self.sigma = rows.y[table[:, 0]], rows.sigma[table[:, 0]]
        self.n_repeats = int(min(n_repeats, least))
        self.rng = rng

    def draw(self, tissues):
        """Signals of a random choice of repeats of tissues, in consecutive rows.

        Returns
        -------
        X : ndarray of shape (n * n_repeats, n_measurements)
        control : float
            0: there is no control variate.
        """
        rows = self.table[tissues]
        # The least of random keys are a random choice without replacement; missing rows come last.
        keys = np.where(rows >= 0, self.rng.uniform(size=rows.shape), 2.0)
        chosen = np.argsort(keys, axis=1)[:, : self.n_repeats]
        return self.X[np.take_along_axis(rows, chosen, axis=1).ravel()], 0.0


class FreshRepeats:
    """Noise repeats of tissues that are simulated when they are drawn.

    Each comes with a control variate: a known part of the error of an estimate that is 0 on average
    over the noise. The score, the derivative of the log-likelihood by the parameters at their true
    values, is 0 on average. To first order in the noise, an efficient estimate errs by the inverse
    information times the score. So this product resembles the error of a good network, and without
    it the bias of the network can be told from far fewer repeats. Any matrix in place of the
    inverse information would leave the average at 0: it only has to be near.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    rows : Rows
        Tissues and noise levels.
    n_repeats : int
        Number of repeats of a tissue in a step.
    spread : ndarray of shape (n_parameters,)
        Standard deviations of the training tissues.
    rng : numpy.random.RandomState
        Source of the noise.

    Attributes
    ----------
    y : ndarray of shape (n_tissues, n_parameters)
    sigma : ndarray of shape (n_tissues,) or (n_tissues, n_measurements)
    """

    def __init__(self, signal_model, noise, rows, n_repeats, spread, rng):
        first = np.unique(_number(rows), return_index=True)[1]
        self.y, self.sigma = rows.y[first], rows.sigma[first]
        self.noise = noise
        self.n_repeats = n_repeats
        self.rng = rng
        with torch.no_grad():
            signal, jacobian = signal_model.jacobian(torch.as_tensor(self.y.T.copy()))
        # In units of sigma, (n_tissues, 1, n_measurements), to be compared with repeats.
        self.signal = (signal.numpy().T / columns_of(self.sigma))[:, None]
        information = fisher_information(signal_model, noise, self.y, self.sigma)
        slope = np.moveaxis(jacobian.numpy(), -1, 0) / columns_of(self.sigma)[:, None]
        self.gain = score_gain(information, slope, spread**2).astype(np.float32)

    def draw(self, tissues):
        """Signals of fresh noise repeats of tissues, in consecutive rows.

        Returns
        -------
        X : ndarray of shape (n * n_repeats, n_measurements)
        control : ndarray of shape (n * n_repeats, n_parameters)
            Part of the errors that is 0 on average over the noise, in the units of the parameters.
        """
        signal = np.repeat(self.signal[tissues], self.n_repeats, axis=1)
        x = self.noise.sample(signal, self.rng)
        x_single, signal_single = (torch.as_tensor(v, dtype=torch.float32) for v in (x, signal))
        with torch.no_grad():
            score = -self.noise.derivatives(x_single, signal_single)[1].numpy()
        X = x * columns_of(self.sigma[tissues])[:, None]
        return X.reshape(-1, X.shape[2]), (score @ self.gain[tissues]).reshape(-1, self.y.shape[1])


def score_gain(information, slope, variance):
    """Matrices from scores per measurement to control variates, see `FreshRepeats`.

    Parameters
    ----------
    information : ndarray of shape (n_tissues, n_parameters, n_parameters)
    slope : ndarray of shape (n_tissues, n_parameters, n_measurements)
        Derivatives of the signals, in units of sigma.
    variance : ndarray of shape (n_parameters,)
        That of the training tissues.

    Returns
    -------
    ndarray of shape (n_tissues, n_measurements, n_parameters)
    """
    # The best linear estimate with a weight w has the prior's information divided by w.
    covariance = bayesian_covariances(information, _MIDDLE_WEIGHT * variance)
    gain = covariance @ np.nan_to_num(slope, posinf=0.0, neginf=0.0)
    return np.ascontiguousarray(gain.swapaxes(1, 2))


def _number(rows):
    """Number of the tissue of each row: repeats have one noise level, as the bias depends on it."""
    return number_tissues(np.column_stack([rows.y, rows.sigma]))


def _table_of_repeats(tissue):
    """Rows of each tissue that has repeats, (n_tissues, most), and the least number of them.

    Tissues with fewer rows than others fill up with -1.

    Raises
    ------
    ValueError
        If no tissue has two rows.
    """
    order = np.argsort(tissue, kind="stable")
    counts = np.bincount(tissue)
    kept = counts >= 2
    if not kept.any():
        raise ValueError(
            "Without a signal_model, y expects noise repeats: at least two rows of X for each "
            f"tissue, got {len(counts)} tissues in {len(tissue)} rows. Simulate them by "
            "make_signals(..., n_repeats=4)."
        )
    if not kept.all():
        warn(
            f"{np.count_nonzero(~kept)} of {len(kept)} tissues have a single row, without noise "
            "repeats: they are excluded from the training."
        )
    table = np.full((len(counts), counts.max()), -1)
    table[np.arange(counts.max()) < counts[:, None]] = order
    return table[kept], counts[kept].min()
