"""Simulated tissues and their noisy signals."""

import numpy as np
from sklearn.utils import check_random_state

from .._validation import check_noise, check_sigma


def make_signals(
    signal_model,
    n_samples=100,
    *,
    noise="auto",
    snr=None,
    sigma=None,
    n_repeats=1,
    prior=None,
    random_state=None,
    return_sigma=False,
):
    """Simulate noisy signals of random tissues.

    Parameters
    ----------
    signal_model : SignalModel
    n_samples : int, default=100
        Number of tissues.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own.
    snr : float or (float, float), default=None
        Signal-to-noise ratio at an amplitude (S0) of its loss scale, 1 for the models here. A
        range: one uniform draw per tissue.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, instead of `snr`.
    n_repeats : int, default=1
        Noisy measurements of each tissue, in consecutive rows with identical y.
    prior : dict, ndarray or callable, default=None
        Tissues: ranges by parameter name in place of the signal model's; or an array of shape
        (n, n_parameters) from whose rows to draw; or ``prior(n_samples, rng)`` that returns them,
        with rng a `numpy.random.RandomState`.
    random_state : int, RandomState instance or None, default=None
    return_sigma : bool, default=False
        Also return the noise level of each row.

    Returns
    -------
    X : ndarray of shape (n_samples * n_repeats, n_measurements)
    y : ndarray of shape (n_samples * n_repeats, n_parameters)
    sigma : ndarray of shape (n_samples * n_repeats,)
        Only with ``return_sigma=True``.

    Raises
    ------
    ValueError
        If not exactly one of `snr` and `sigma` is given, or a value is out of range.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> X, y = make_signals(IVIM([0, 50, 800]), 5, snr=(20, 40), n_repeats=2, random_state=0)
    >>> X.shape, y.shape
    ((10, 3), (10, 4))
    """
    rng = check_random_state(random_state)
    noise = check_noise(noise, signal_model)
    if n_samples < 1 or n_repeats < 1:
        raise ValueError(
            f"n_samples and n_repeats expect 1 or more, got {n_samples!r} and {n_repeats!r}."
        )
    tissues = _draw_tissues(signal_model, n_samples, prior, rng)
    level = _draw_sigma(signal_model, n_samples, snr, sigma, rng)
    y = np.repeat(tissues, n_repeats, axis=0)
    level = np.repeat(level, n_repeats)
    signal = np.repeat(signal_model.simulate(tissues), n_repeats, axis=0)
    X = noise.sample(signal / level[:, None], rng) * level[:, None]
    return (X, y, level) if return_sigma else (X, y)


def _draw_tissues(signal_model, n_samples, prior, rng):
    names = signal_model.parameter_names
    if callable(prior):
        return _check_tissues(prior(n_samples, rng), names, n_samples)
    if prior is not None and not isinstance(prior, dict):
        samples = _check_tissues(prior, names)
        return samples[rng.randint(len(samples), size=n_samples)]
    ranges = {p.name: p.prior for p in signal_model.parameters} | dict(prior or {})
    if unknown := sorted(set(ranges) - set(names)):
        raise ValueError(f"prior names {unknown}, but the parameters are {list(names)}.")
    for name, pair in ranges.items():
        if np.shape(pair) != (2,) or not (np.isfinite(pair).all() and pair[0] <= pair[1]):
            raise ValueError(f"prior[{name!r}] expects a finite (low, high), got {pair!r}.")
    low, high = np.array([ranges[name] for name in names], dtype=np.float64).T
    return low + (high - low) * rng.uniform(size=(n_samples, len(names)))


def _check_tissues(tissues, names, n_samples=None):
    if hasattr(tissues, "columns"):
        if sorted(tissues.columns) != sorted(names):
            raise ValueError(f"prior has columns {list(tissues.columns)}, expected {list(names)}.")
        tissues = tissues[list(names)]
    tissues = np.asarray(tissues, dtype=np.float64)
    expected = (n_samples or "n", len(names))
    wrong_length = n_samples is not None and len(tissues) != n_samples
    if tissues.ndim != 2 or tissues.shape[1] != len(names) or wrong_length or len(tissues) == 0:
        raise ValueError(
            f"prior expects tissues of shape {expected} with columns {list(names)}, "
            f"got shape {tissues.shape}."
        )
    if not np.isfinite(tissues).all():
        raise ValueError("prior expects finite tissues, got NaN or infinity among them.")
    return tissues


def _draw_sigma(signal_model, n_samples, snr, sigma, rng):
    if (snr is None) == (sigma is None):
        raise ValueError(f"Give exactly one of snr and sigma, got snr={snr!r}, sigma={sigma!r}.")
    if sigma is not None:
        return np.array(check_sigma(sigma, n_samples))
    pair = np.broadcast_to(np.asarray(snr, dtype=np.float64), 2)
    if not (np.isfinite(pair).all() and 0 < pair[0] <= pair[1]):
        raise ValueError(f"snr expects a positive number or (low, high), got {snr!r}.")
    amplitude = next((p.loss_scale for p in signal_model.parameters if p.amplitude), 1.0)
    return amplitude / rng.uniform(*pair, size=n_samples)
