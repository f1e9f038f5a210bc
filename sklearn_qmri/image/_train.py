"""Training of networks for a protocol, on simulated tissues."""

from .._network import Training
from ..datasets import make_signals
from ..estimators import (
    ESTIMATORS,
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    MLEEstimator,
    entry_named,
)

# Names of the networks that are trained on simulated tissues.
TRAINED = tuple(
    entry.name
    for entry in ESTIMATORS
    if entry.estimator in (HybridLabelNetRegressor, BiasConstrainedNetRegressor)
)


def train_for_snr(
    signal_model,
    snr,
    *,
    name="hybrid",
    noise="auto",
    bounds=None,
    prior=None,
    alpha=0.5,
    bias_weight=10.0,
    n_tissues=50_000,
    n_jobs=None,
    device="cpu",
    random_state=None,
    verbose=0,
):
    """Train a network on simulated tissues, for scans of a protocol.

    The network predicts scans of any scale, and needs their noise level:
    ``predict(X, sigma=...)``.

    Parameters
    ----------
    signal_model : SignalModel
        Model of the scan's protocol.
    snr : float or (float, float)
        Signal-to-noise ratio at S0, or its range.
    name : {"hybrid", "bias-constrained"}, default="hybrid"
        Network, by its name in the table of estimators.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        Noise model. "auto": the signal model's own.
    bounds : dict of {str: (float, float)}, default=None
        Bounds of the maximum-likelihood labels of "hybrid".
    prior : dict, ndarray or callable, default=None
        Tissues to train on. Same as `prior` of `make_signals`.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the maximum-likelihood labels of "hybrid".
    bias_weight : float or array-like of shape (n_parameters,), default=10.0
        Weight of the squared bias of "bias-constrained". It can be changed after the training, by
        ``predict(X, bias_weight=...)``.
    n_tissues : int, default=50000
        Number of simulated tissues to train on.
    n_jobs : int, default=None
        Number of processes for maximum likelihood.
    device : str, default="cpu"
        Device on which torch fits and trains.
    random_state : int, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: progress bars.

    Returns
    -------
    HybridLabelNetRegressor or BiasConstrainedNetRegressor
        Fitted network.

    Raises
    ------
    ValueError
        If `name` is not one of these networks, or an argument does not fit the signal model.

    Examples
    --------
    >>> from sklearn_qmri.image import train_for_snr
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 200, 500, 1000])
    >>> net = train_for_snr(model, (20, 40), n_tissues=200, random_state=0)
    >>> net.predict(1000 * model.simulate([[1.0, 1.0]]), sigma=30.0).shape
    (1, 2)
    """
    if name not in TRAINED:
        raise ValueError(f"name expects one of {list(TRAINED)}, got {name!r}.")
    X, y, sigma = make_signals(
        signal_model, n_tissues, noise=noise, snr=snr, prior=prior, random_state=random_state,
        return_sigma=True,
    )  # fmt: skip
    # Division by the root mean square removes the scanner's scale. Sigma as an input tells the
    # network which of the noise levels of its training a scan has.
    common = {
        "noise": noise, "normalize": "rms", "sigma_input": True,
        "training": Training(device=device), "random_state": random_state, "verbose": verbose,
    }  # fmt: skip
    if entry_named(name).estimator is HybridLabelNetRegressor:
        labels = MLEEstimator(
            signal_model, noise=noise, bounds=bounds, n_jobs=n_jobs, device=device
        )
        net = HybridLabelNetRegressor(signal_model, alpha=alpha, label_estimator=labels, **common)
    else:
        net = BiasConstrainedNetRegressor(signal_model, bias_weight=bias_weight, **common)
    return net.fit(X, y, sigma=sigma).set_params(verbose=0)
