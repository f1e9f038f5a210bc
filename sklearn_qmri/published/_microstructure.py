"""Networks and forests for spherical means of tissue microstructure."""

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from .._network import MLP, Training
from ..estimators import HybridLabelNetRegressor, SelfSupervisedNetRegressor
from ..signal_models import SIRSphericalMean, SphericalMeanTwoCompartment

_GYORI_B = (0, 1000, 2200)
# White and grey matter: share of the voxels, means of v and lambda, their standard deviations, and
# their correlation.
_BRAIN = ((0.55, (0.6, 2.0), (0.1, 0.25), 0.3), (0.45, (0.3, 1.4), (0.08, 0.2), 0.3))


def gyori2022(method="network", b_values=_GYORI_B, *, sigma=None, random_state=None, verbose=0):
    """Network or random forest of Gyori et al. for two-compartment spherical means.

    They found that predictions of such regressors depend on the training tissues. A training
    distribution like healthy tissue (`gyori2022_prior`) draws the predictions of all other tissues
    towards it.

    Settings are those of a replication (github.com/kerkelae/replication-gyori-et-al): shells of 1
    and 2.2 ms/um^2, 8 hidden layers of 256, ReLU, Adam at 1e-3, no noise in the training signals.
    The authors' own settings are not in their abstract. Those of the forest are scikit-learn's
    defaults, except for leaves of at least 5.

    Parameters
    ----------
    method : {"network", "forest"}, default="network"
        Kind of regressor.
    b_values : array-like of shape (n_measurements,)
        s/mm^2, of the shells.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    HybridLabelNetRegressor or RandomForestRegressor
        Regressor to fit to signals and parameters (S0, v, lambda) of simulated tissues.

    Raises
    ------
    ValueError
        For another method.

    Notes
    -----
    Deviations from the replication: S0 is a third output. An epoch passes over a fixed set of
    signals in batches of 1000 (replication: 10,000 steps of 1,000,000 fresh ones).

    References
    ----------
    Gyori et al., Magn Reson Med 2022;87:932.

    Examples
    --------
    >>> from sklearn_qmri.published import gyori2022
    >>> gyori2022("forest").min_samples_leaf
    5
    """
    if method == "forest":
        return RandomForestRegressor(min_samples_leaf=5, random_state=random_state, verbose=verbose)
    if method != "network":
        raise ValueError(f"method expects 'network' or 'forest', got {method!r}.")
    return HybridLabelNetRegressor(
        SphericalMeanTwoCompartment(b_values),
        alpha=0.0,
        sigma=sigma,
        network=MLP((256,) * 8, activation="relu"),
        training=Training(1e-3, schedule="constant"),
        resample_noise=False,
        random_state=random_state,
        verbose=verbose,
    )


def gyori2022_prior(distribution):
    """Training tissues of `gyori2022`, uniform or like a healthy brain.

    Parameters
    ----------
    distribution : {"uniform", "brain"}
        "uniform" has v from 0 to 1 and lambda from 0.1 (replication: 0) to 3 um^2/ms. "brain" is a
        joint distribution of both, with one mode for white and one for grey matter. The published
        one is a histogram of fits to healthy volunteers, which was not available: modes and widths
        here are ours.

    Returns
    -------
    dict or callable
        Value for the `prior` of `make_signals`, with columns S0, v and lambda.

    Raises
    ------
    ValueError
        For another distribution.

    References
    ----------
    Gyori et al., Magn Reson Med 2022;87:932. Uniform ranges as in the replication,
    github.com/kerkelae/replication-gyori-et-al.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.published import gyori2022_prior
    >>> from sklearn_qmri.signal_models import SphericalMeanTwoCompartment
    >>> model = SphericalMeanTwoCompartment([0, 1000, 2200])
    >>> X, y = make_signals(model, 50, snr=50, prior=gyori2022_prior("brain"), random_state=0)
    >>> y.shape
    (50, 3)
    """
    if distribution == "uniform":
        return {"v": (0.0, 1.0), "lambda": (0.1, 3.0)}
    if distribution != "brain":
        raise ValueError(f"distribution expects 'uniform' or 'brain', got {distribution!r}.")
    return _draw_brain


def _draw_brain(n_samples, rng):
    # A mixture of two Gaussian distributions of v and lambda, clipped to plausible values.
    shares = [share for share, *_ in _BRAIN]
    tissue = rng.choice(len(_BRAIN), size=n_samples, p=shares)
    drawn = np.empty((n_samples, 3))
    drawn[:, 0] = rng.uniform(0.8, 1.2, n_samples)
    for k, (_, mean, std, correlation) in enumerate(_BRAIN):
        covariance = np.outer(std, std) * [[1, correlation], [correlation, 1]]
        rows = tissue == k
        drawn[rows, 1:] = rng.multivariate_normal(mean, covariance, np.count_nonzero(rows))
    return np.clip(drawn, [0.8, 0.01, 0.1], [1.2, 0.99, 3.0])


def grussu2021(
    method, b_values, inversion_times, delay_times, *, sigma=None, random_state=None, verbose=0
):
    """Parameter and signal networks of Grussu et al. for diffusion and T1 (SIR-SMDT).

    The first is trained on true parameters, the second to explain signals. Settings are those of
    the authors' toolbox (github.com/fragrussu/qMRINet, commit c302abc): one hidden layer, as wide
    as the mean of the numbers of measurements and parameters, ReLU, Adam at 1e-3, 500 epochs of 80
    batches, the network with the best validation loss, Gaussian noise.

    Parameters
    ----------
    method : {"parameters", "signals"}
        Quantities that the network is trained to predict or explain.
    b_values, inversion_times, delay_times : array-like of shape (n_measurements,)
        Acquisition in s/mm^2 and ms, see `SIRSphericalMean`.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    HybridLabelNetRegressor or SelfSupervisedNetRegressor
        Network for a signed `SIRSphericalMean`, published with 8000 signals for training and 2000
        for validation.

    Raises
    ------
    ValueError
        For another method.

    Notes
    -----
    Deviations: inputs are divided by their root mean square (published: by their maximum). Outputs
    of "parameters" are softplus above the smallest parameters of the training (published: ReLU,
    whose outputs can die). Outputs of "signals" are a sigmoid between the bounds (published: a
    scaled logarithm of softplus, then a sigmoid). Signals keep their sign.

    References
    ----------
    Grussu et al., CDMRI 2020 (bioRxiv 2020.10.20.347625).

    Examples
    --------
    >>> from sklearn_qmri.published import grussu2021
    >>> protocol = [0, 1000, 0, 2000], [100, 400, 1000, 2000], [500, 500, 500, 500]
    >>> grussu2021("signals", *protocol).network.hidden_layer_sizes
    (4,)
    """
    model = SIRSphericalMean(b_values, inversion_times, delay_times, magnitude=False)
    n_parameters = len(model.parameters)
    hidden = n_parameters + (len(b_values) - n_parameters) // 2
    supervised = method == "parameters"
    shared = {
        "sigma": sigma,
        "normalize": "rms",
        "network": MLP(
            (hidden,),
            activation="relu",
            output="softplus" if supervised else "sigmoid",
            standardize=False,
        ),
        "max_epochs": 500,
        "training": Training(1e-3, batch_size=100, schedule="constant", weight_decay=0.0),
        "random_state": random_state,
        "verbose": verbose,
    }
    if method == "signals":
        return SelfSupervisedNetRegressor(model, bounds={"S0": (0, 5)}, **shared)
    if not supervised:
        raise ValueError(f"method expects 'parameters' or 'signals', got {method!r}.")
    scale = [p.prior[1] - p.prior[0] for p in model.parameters]
    return HybridLabelNetRegressor(
        model, alpha=0.0, param_scale=scale, resample_noise=False, **shared
    )
