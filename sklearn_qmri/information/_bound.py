"""The Cramer-Rao bound."""

import numpy as np

from ..noise import check_sigma, resolve_noise
from ..tissues import check_tissues
from ._fisher import fisher_information, standard_deviations


def cramer_rao_bound(signal_model, theta, *, noise="auto", sigma):
    """Smallest standard deviation that any unbiased estimator can have.

    It does not bind networks and other biased estimators.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    theta : array-like of shape (n_tissues, n_parameters)
        Tissues, in the order of the signal model's parameters.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own.
    sigma : float or array-like of shape (n_tissues,)
        Standard deviation of the Gaussian noise per channel, in the units of the signal.

    Returns
    -------
    ndarray of shape (n_tissues, n_parameters)
        Standard deviations in the units of the parameters, NaN where one measurement does not
        identify a parameter.

    Raises
    ------
    ValueError
        If theta or sigma has another shape than the signal model needs, or values out of range.

    Notes
    -----
    Square roots of the diagonal of the inverse Fisher information, with all parameters unknown.
    The information of Rician noise is that of Karlsen et al.

    References
    ----------
    Karlsen et al., Magn Reson Med 1999;41:614.

    Examples
    --------
    >>> from sklearn_qmri.metrics import cramer_rao_bound
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> cramer_rao_bound(model, [[1.0, 0.3, 1.0, 40.0]], sigma=1 / 50).round(2)
    array([[0.02, 0.02, 0.09, 7.67]])
    """
    theta = check_tissues(theta, signal_model, "theta")
    sigma = check_sigma(sigma, len(theta))
    noise = resolve_noise(noise, signal_model)
    information = fisher_information(signal_model, noise, theta, sigma)
    return standard_deviations(information, np.ones(theta.shape, dtype=bool))
