"""Limits of a protocol, which hold for every method."""

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ..estimators import PosteriorMeanEstimator
from ..metrics import cramer_rao_bound
from ..noise import check_sigma, resolve_noise
from ..tissues import check_tissues, measure


def limits(
    signal_model,
    theta,
    *,
    noise="auto",
    sigma,
    prior=None,
    n_repeats=100,
    n_atoms=16384,
    random_state=None,
):
    """Limits of unbiased estimators, and of all estimators under a prior.

    The Cramer-Rao bound only holds for unbiased estimators. Biased estimators can have a smaller
    variance, and its ratio to the bound is not their efficiency. The posterior mean has the least
    mean squared error on average over the tissues of its prior. At a single tissue, another
    estimator can have a smaller error.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    theta : array-like of shape (n_tissues, n_parameters)
        Tissues of interest, in the order of the signal model's parameters.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own.
    sigma : float
        Standard deviation of the Gaussian noise per channel, in the units of the signal.
    prior : dict, array-like of shape (n, n_parameters) or callable, default=None
        Same as in `make_signals`. None: the signal model's ranges.
    n_repeats : int, default=100
        Number of simulated measurements of each tissue.
    n_atoms : int, default=16384
        Same as in `PosteriorMeanEstimator`.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.

    Returns
    -------
    Bunch
        Arrays of shape (n_tissues, n_parameters), in the units of the parameters:
        `cramer_rao_std` (NaN for parameters that one measurement does not identify),
        `posterior_mean_rmse`, `posterior_mean_bias` and `posterior_mean_std` at each tissue.

    Raises
    ------
    ValueError
        If tissues, sigma or prior do not fit the signal model, or `n_repeats` is less than 2.

    See Also
    --------
    sklearn_qmri.metrics.cramer_rao_bound : Cramer-Rao bound alone.

    Examples
    --------
    >>> from sklearn_qmri.compare import limits
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> tissue = [[1.0, 0.3, 1.0, 40.0]]
    >>> result = limits(model, tissue, sigma=1 / 30, n_repeats=10, n_atoms=1024, random_state=0)
    >>> result.cramer_rao_std.round(2)
    array([[ 0.03,  0.04,  0.15, 12.79]])
    """
    if n_repeats < 2:
        raise ValueError(f"n_repeats expects at least 2, got {n_repeats!r}.")
    theta = check_tissues(theta, signal_model, "theta")
    noise = resolve_noise(noise, signal_model)
    bound = cramer_rao_bound(signal_model, theta, noise=noise, sigma=sigma)
    rng = check_random_state(random_state)
    repeats = np.repeat(theta, n_repeats, axis=0)
    X = measure(signal_model, noise, repeats, check_sigma(sigma, len(repeats)), rng)
    posterior = PosteriorMeanEstimator(
        signal_model, noise=noise, sigma=sigma, prior=prior, n_atoms=n_atoms, random_state=rng
    )
    # (n_tissues, n_repeats, n_parameters)
    error = posterior.fit(X).predict(X).reshape(len(theta), n_repeats, -1) - theta[:, None]
    return Bunch(
        cramer_rao_std=bound,
        posterior_mean_rmse=np.sqrt(np.mean(error**2, axis=1)),
        posterior_mean_bias=error.mean(axis=1),
        posterior_mean_std=error.std(axis=1, ddof=1),
    )
