"""Simulated tissues and their noisy signals."""

import numpy as np
from sklearn.utils import check_random_state

from ..noise import check_sigma, resolve_noise
from ..tissues import draw_tissues, measure


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
        Signals of tissues without noise.
    n_samples : int, default=100
        Number of tissues.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own.
    snr : float or (float, float), default=None
        Signal-to-noise ratio at an amplitude (S0) of its loss scale, which is 1 for the models of
        this package. From a range, each tissue gets one uniform draw.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, instead of `snr`.
    n_repeats : int, default=1
        Number of noisy measurements of each tissue, in consecutive rows with identical y.
    prior : dict, ndarray or callable, default=None
        Distribution of the tissues. A dict has ranges by parameter name, in place of the signal
        model's. An array has shape (n, n_parameters), and its rows are drawn from. A callable
        ``prior(n_samples, rng)`` returns the tissues, with rng a `numpy.random.RandomState`.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    return_sigma : bool, default=False
        Whether to return the noise level of each row too.

    Returns
    -------
    X : ndarray of shape (n_samples * n_repeats, n_measurements)
        Signals, one voxel per row.
    y : ndarray of shape (n_samples * n_repeats, n_parameters)
        Their true parameters.
    sigma : ndarray of shape (n_samples * n_repeats,)
        Noise levels, only with ``return_sigma=True``.

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
    noise = resolve_noise(noise, signal_model)
    if n_samples < 1 or n_repeats < 1:
        raise ValueError(
            f"n_samples and n_repeats expect 1 or more, got {n_samples!r} and {n_repeats!r}."
        )
    tissues = draw_tissues(signal_model, n_samples, prior, rng)
    # The order of the draws (tissues, noise levels, noise) fixes the result of a random state.
    sigmas = _draw_sigma(signal_model, n_samples, snr, sigma, rng)
    y = np.repeat(tissues, n_repeats, axis=0)
    sigmas = np.repeat(sigmas, n_repeats, axis=0)
    X = measure(signal_model, noise, y, sigmas, rng)
    return (X, y, sigmas) if return_sigma else (X, y)


def _draw_sigma(signal_model, n_samples, snr, sigma, rng):
    if (snr is None) == (sigma is None):
        raise ValueError(f"Give exactly one of snr and sigma, got snr={snr!r}, sigma={sigma!r}.")
    if sigma is not None:
        return np.array(check_sigma(sigma, n_samples, None, signal_model.n_measurements))
    # One number is a range of zero width, but advances the random state like any other.
    pair = np.broadcast_to(np.asarray(snr, dtype=np.float64), 2)
    if not (np.isfinite(pair).all() and 0 < pair[0] <= pair[1]):
        raise ValueError(f"snr expects a positive number or (low, high), got {snr!r}.")
    amplitude = next((p.loss_scale for p in signal_model.parameters if p.amplitude), 1.0)
    return amplitude / rng.uniform(*pair, size=n_samples)
