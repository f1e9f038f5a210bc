"""Comparison of estimation methods for one protocol."""

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

# Alphas of the path, and those between its ends that are in the table.
_PATH = np.linspace(0, 1, 21)
_SHOWN = (0.25, 0.5, 0.75)
# Half the width of the bounds of a known parameter, as bounds of equal values are not allowed.
_TINY = 1e-6


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
    """Compare all methods for one protocol, and recommend a label for each parameter.

    The methods are maximum likelihood, the segmented fit (IVIM), networks trained on true and on
    maximum-likelihood labels (whose blends are the alpha path), a self-supervised network and the
    posterior mean. All are fitted to simulated signals, and bias and variance are measured on noise
    repeats of the tissues of interest.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    snr : float
        Signal-to-noise ratio at the middle of the amplitude's prior; see `estimate_snr`.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own.
    prior : dict, array-like of shape (n, n_parameters) or callable, default=None
        Tissues to train on, same as in `make_signals`. None: the signal model's ranges. A parameter
        with a range of one value (such as B1 from a measured map) is known to all methods except
        the segmented fit.
    tissues : dict of {str: array-like of shape (n_parameters,) or (n, n_parameters)}, default=None
        Tissues of interest by name. None: a grid over the prior (or samples, if the prior does not
        consist of ranges), and the signal model's own tissues, `SignalModel.named_tissues`.
    rule : least_weighted or least_variance, default=None
        Rule that chooses alpha for each parameter, in units of the parameters' loss scales. All
        tissues of interest have equal weights. None: ``least_weighted(weight=2)``.
    n_samples : int, default=50000
        Number of tissues to train on.
    n_repeats : int, default=50
        Number of simulated measurements of each tissue of interest.
    n_jobs : int, default=None
        Number of processes of maximum likelihood. It does not change any bit of the result.
    device : str, default="cpu"
        Device that torch fits and trains on.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    Bunch
        - `table`: list of dict, one per tissue (and "all"), method and parameter: `bias` (mean
          error), `rms_bias`, `std` and `rmse` in the units of the parameter, `slope` (None for one
          tissue), and `failed`, the share of failed estimates. The list can be passed to
          ``pandas.DataFrame``. The Cramer-Rao bound, which holds for unbiased estimators only, has
          just `std`.
        - `recommendation`: list of dict, one per parameter: `parameter`, `alpha` (None if no alpha
          meets the rule), `rule` and `reason`.
        - `path`: Bunch of `alphas` (n_alphas,), and of `rms_bias` and `std` (n_alphas,
          n_parameters) over all tissues.
        - `parameters`: list of dict. `sigma`: the noise level. `notes`: list of str with caveats.

    Raises
    ------
    ValueError
        If an argument does not fit the signal model, or `n_repeats` is less than 2.

    Examples
    --------
    >>> from sklearn_qmri.compare import compare_methods
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> result = compare_methods(model, snr=30, n_samples=200, n_repeats=2, random_state=0)
    >>> [row["parameter"] for row in result.recommendation]
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
    X, y, sigmas = make_signals(
        signal_model, n_samples, snr=snr, noise=noise, prior=prior, random_state=rng,
        return_sigma=True,
    )  # fmt: skip
    sigma = float(sigmas[0])  # the same for all rows
    # Test rows are n_repeats consecutive measurements of each tissue. The prior is a function that
    # returns just the tissues of interest, in their order.
    X_test, y_test = make_signals(
        signal_model, len(every), sigma=sigma, noise=noise, prior=lambda n, rng: every,
        n_repeats=n_repeats, random_state=rng,
    )  # fmt: skip
    settings = {"noise": noise, "sigma": sigma}
    fixed = _known(signal_model, prior)
    mle = MLEEstimator(signal_model, **settings, fixed=fixed, n_jobs=n_jobs, device=device)
    methods = _methods(mle, settings, prior, fixed, int(rng.randint(2**31 - 1)))
    predicted = _predict_each(methods, X, y, X_test, notes, verbose)
    # The best prediction is linear in alpha, so networks are only trained at both ends. The path is
    # evaluated exactly, from the quadratic forms of the errors of the two.
    ends = predicted.pop("alpha 0"), predicted.pop("alpha 1")
    for alpha in (0, *_SHOWN, 1):
        predicted[f"alpha {alpha:g}"] = (1 - alpha) * ends[0] + alpha * ends[1]
    forms = product_decomposition(y_test, np.stack(ends) - y_test)
    squared_bias, variance = (np.stack([quadratic(f, a) for a in _PATH]) for f in forms)
    bound = _cramer_rao(signal_model, noise, every, sigma, fixed)
    return Bunch(
        table=_table(signal_model, groups, n_repeats, y_test, predicted, bound),
        recommendation=recommend(rule, signal_model.parameters, *forms),
        path=Bunch(alphas=_PATH, rms_bias=np.sqrt(squared_bias.clip(min=0)), std=np.sqrt(variance)),
        parameters=[asdict(p) for p in signal_model.parameters],
        sigma=sigma,
        notes=notes,
    )


def _predict_each(methods, X, y, X_test, notes, verbose):
    """Predictions of each fitted method. A note is added if a segmented fit is impossible."""
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
    """Smallest standard deviations of unbiased estimates if some parameters are known."""
    information = fisher_information(
        signal_model, noise, parameters, np.full(len(parameters), sigma)
    )
    is_free = [name not in known for name in signal_model.parameter_names]
    return standard_deviations(information, np.broadcast_to(is_free, parameters.shape))


def _known(signal_model, prior):
    """Values of parameters whose range in the prior is a single value, by name."""
    if prior is not None and not isinstance(prior, dict):
        return {}
    ranges = zip(signal_model.parameter_names, prior_ranges(signal_model, prior).T, strict=True)
    return {name: float(low) for name, (low, high) in ranges if low == high}


def _methods(mle, settings, prior, known, seed):
    """Unfitted estimators by name, with the signal model and the device of `mle`."""
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
    # Number of the group of each tissue, (n_tissues,). All rows of y are n_repeats per tissue.
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
        # Root mean square over tissues, to compare with `std` of the methods.
        for p, std in zip(signal_model.parameters, np.mean(bound[part] ** 2, axis=0), strict=True):
            record = {"tissue": tissue, "method": "Cramer-Rao bound", "parameter": p.name}
            figures = dict.fromkeys(("bias", "rms_bias", "std", "rmse", "slope", "failed"))
            figures["std"] = _number(np.sqrt(std))
            records.append(record | {"unit": p.unit} | figures)
    return records


def _measure(y, predicted):
    """Measures of each parameter, one dict per parameter."""
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
    """Number as a float, or None if it is NaN or infinite, which JSON does not allow."""
    return float(value) if np.isfinite(value) else None
