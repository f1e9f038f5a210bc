"""The ways to estimate, side by side for one protocol."""

from dataclasses import asdict

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch, check_random_state
from tqdm import tqdm

from .._network import Training
from ..datasets import make_signals
from ..estimators import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
)
from ..information import fisher_information, standard_deviations
from ..metrics import (
    failure_rate,
    least_weighted,
    mean_bias,
    noise_std,
    product_decomposition,
    quadratic,
    rms_bias,
    root_mean_squared_error,
    shrinkage_slope,
)
from ..noise import resolve_noise
from ..signal_models import IVIM
from ..tissues import prior_ranges
from ._recommend import recommend
from ._tissues import tissues_of_interest

_PATH = np.linspace(0, 1, 21)
_SHOWN = (0.25, 0.5, 0.75)  # of the path, between its ends
_TINY = 1e-6  # half the width of the bounds of what is known


def compare_methods(
    signal_model,
    *,
    snr,
    noise="auto",
    prior=None,
    tissues=None,
    rule=None,
    n_samples=50_000,
    n_repeats=50,
    n_jobs=None,
    device="cpu",
    random_state=None,
    verbose=0,
):
    """Compare what each method makes of a protocol, and recommend a label per parameter.

    Fits or trains maximum likelihood, the segmented fit (IVIM), networks on true and on
    maximum-likelihood labels (whose blends are the alpha path), a self-supervised network and the
    posterior mean, all on simulated signals, and measures them on noise repeats of the tissues
    of interest.

    Parameters
    ----------
    signal_model : SignalModel
        What a tissue would measure without noise.
    snr : float
        Signal-to-noise ratio at the middle of the amplitude's prior; see `estimate_snr`.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own.
    prior : dict, array-like of shape (n, n_parameters) or callable, default=None
        Tissues to train on, as in `make_signals`: None means the signal model's ranges. What has
        a range of one value is known to all methods (the B1 of a measured map, say) but the
        segmented fit.
    tissues : dict of {str: array-like of shape (n_parameters,) or (n, n_parameters)}, default=None
        Tissues of interest by name. None: a grid over the prior (samples, if the prior is not one
        of ranges), and the signal model's own, `SignalModel.named_tissues`.
    rule : least_weighted or least_variance, default=None
        Chooses alpha, for each parameter, over all tissues of interest, which weigh equally. In
        units of the parameters' loss scales. None: ``least_weighted(weight=2)``.
    n_samples : int, default=50000
        Tissues to train on.
    n_repeats : int, default=50
        Simulated measurements of each tissue of interest.
    n_jobs : int, default=None
        Number of processes of maximum likelihood; changes no bit.
    device : str, default="cpu"
        Where torch fits and trains.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    Bunch
        - `table`: list of dict, one per tissue (and "all"), method and parameter: `bias` (mean
          error), `rms_bias`, `std`, `rmse`, `slope` (None for one tissue), in the units of the
          parameter, and `failed` (share). For ``pandas.DataFrame``. Of the Cramer-Rao bound,
          which is one for unbiased estimators only, just `std`.
        - `recommendation`: list of dict, one per parameter: `parameter`, `alpha` (None if no alpha
          meets the rule), `rule` and `reason`.
        - `path`: Bunch of `alphas` (n_alphas,) and of `rms_bias` and `std` (n_alphas,
          n_parameters) over all tissues.
        - `parameters`, `sigma`, and `notes`: list of str, what to be careful about.

    Raises
    ------
    ValueError
        If an argument does not fit the signal model, or `n_repeats` is less than 2.

    Examples
    --------
    >>> from sklearn_qmri.compare import compare_methods
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> found = compare_methods(model, snr=30, n_samples=200, n_repeats=2, random_state=0)
    >>> [row["parameter"] for row in found.recommendation]
    ['S0', 'D']
    """
    if n_repeats < 2:
        raise ValueError(f"n_repeats expects at least 2, got {n_repeats!r}.")
    noise = resolve_noise(noise, signal_model)
    rule = least_weighted(weight=2) if rule is None else rule
    rule.check()
    rng = check_random_state(random_state)
    groups, notes = tissues_of_interest(signal_model, tissues, prior, rng)
    every = np.concatenate(list(groups.values()))
    X, y, level = make_signals(
        signal_model, n_samples, snr=snr, noise=noise, prior=prior, random_state=rng,
        return_sigma=True,
    )  # fmt: skip
    sigma = float(level[0])
    X_test, y_test = make_signals(
        signal_model, len(every), sigma=sigma, noise=noise, prior=lambda n, rng: every,
        n_repeats=n_repeats, random_state=rng,
    )  # fmt: skip
    settings = {"noise": noise, "sigma": sigma}
    known = _known(signal_model, prior)
    mle = MLEEstimator(signal_model, **settings, fixed=known, n_jobs=n_jobs, device=device)
    methods = _methods(mle, settings, prior, known, int(rng.randint(2**31 - 1)))
    predicted = _predict_each(methods, X, y, X_test, notes, verbose)
    ends = predicted.pop("alpha 0"), predicted.pop("alpha 1")
    for alpha in (0, *_SHOWN, 1):
        predicted[f"alpha {alpha:g}"] = (1 - alpha) * ends[0] + alpha * ends[1]
    forms = product_decomposition(y_test, np.stack(ends) - y_test)
    squared_bias, variance = (np.stack([quadratic(f, a) for a in _PATH]) for f in forms)
    bound = _cramer_rao(signal_model, noise, every, sigma, known)
    return Bunch(
        table=_table(signal_model, groups, n_repeats, y_test, predicted, bound),
        recommendation=recommend(rule, signal_model.parameters, *forms),
        path=Bunch(alphas=_PATH, rms_bias=np.sqrt(squared_bias.clip(min=0)), std=np.sqrt(variance)),
        parameters=[asdict(p) for p in signal_model.parameters],
        sigma=sigma,
        notes=notes,
    )


def _predict_each(methods, X, y, X_test, notes, verbose):
    """Predictions of each method after its fit; a note where there is no segmented fit."""
    predicted = {}
    for name, estimator in tqdm(methods.items(), "comparing", unit=" methods", disable=not verbose):
        try:
            predicted[name] = estimator.fit(X, y).predict(X_test)
        except ValueError as error:
            if not isinstance(estimator, SegmentedIVIMEstimator):
                raise
            notes.append(f"There is no segmented fit of this protocol: {error}")
    return predicted


def _cramer_rao(signal_model, noise, parameters, sigma, known):
    """Smallest standard deviations of unbiased estimates, given the known parameters."""
    information = fisher_information(
        signal_model, noise, parameters, np.full(len(parameters), sigma)
    )
    is_free = [name not in known for name in signal_model.parameter_names]
    return standard_deviations(information, np.broadcast_to(is_free, parameters.shape))


def _known(signal_model, prior):
    """Parameters of which the prior leaves just one value."""
    if prior is not None and not isinstance(prior, dict):
        return {}
    ranges = zip(signal_model.parameter_names, prior_ranges(signal_model, prior).T, strict=True)
    return {name: float(low) for name, (low, high) in ranges if low == high}


def _methods(mle, settings, prior, known, seed):
    """Unfitted estimators by name, for the signal model and on the device of maximum likelihood."""
    signal_model = mle.signal_model
    training = Training(device=mle.device)
    trained = {**settings, "training": training, "random_state": seed}
    net = HybridLabelNetRegressor(signal_model, **trained, alpha=1, label_estimator=mle)
    methods = {"MLE": mle}
    if isinstance(signal_model, IVIM):
        methods["segmented"] = SegmentedIVIMEstimator(signal_model)
    return methods | {
        "posterior mean": PosteriorMeanEstimator(
            signal_model, **settings, prior=prior, random_state=seed
        ),
        "self-supervised": SelfSupervisedNetRegressor(
            signal_model,
            **trained,
            bounds={name: (value - _TINY, value + _TINY) for name, value in known.items()},
        ),
        "alpha 0": clone(net).set_params(alpha=0),
        "alpha 1": net,
    }


def _table(signal_model, groups, n_repeats, y, predicted, bound):
    """Records of every tissue, method and parameter."""
    rows = np.repeat(np.arange(len(groups)), [len(g) for g in groups.values()])
    parts = {name: rows == k for k, name in enumerate(groups)}
    if len(parts) > 1:
        parts = {"all": np.full(len(rows), True), **parts}
    records = []
    for tissue, part in parts.items():
        kept = np.repeat(part, n_repeats)
        for method, values in predicted.items():
            measured = _measure(y[kept], values[kept])
            for p, figures in zip(signal_model.parameters, measured, strict=True):
                record = {"tissue": tissue, "method": method, "parameter": p.name, "unit": p.unit}
                records.append(record | figures)
        for p, std in zip(signal_model.parameters, np.mean(bound[part] ** 2, axis=0), strict=True):
            record = {"tissue": tissue, "method": "Cramer-Rao bound", "parameter": p.name}
            figures = dict.fromkeys(("bias", "rms_bias", "std", "rmse", "slope", "failed"))
            figures["std"] = _number(np.sqrt(std))
            records.append(record | {"unit": p.unit} | figures)
    return records


def _measure(y, predicted):
    """One dict of figures per parameter."""
    columns = {
        "bias": mean_bias(y, predicted),
        "rms_bias": rms_bias(y, predicted),
        "std": noise_std(y, predicted),
        "rmse": root_mean_squared_error(y, predicted),
        "slope": shrinkage_slope(y, predicted),
        "failed": np.full(y.shape[1], failure_rate(y, predicted)),
    }
    return [{k: _number(v[j]) for k, v in columns.items()} for j in range(y.shape[1])]


def _number(value):
    """As JSON has it: None for what is not a number."""
    return float(value) if np.isfinite(value) else None
