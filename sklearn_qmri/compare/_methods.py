"""Comparison of estimation methods for one protocol."""

from dataclasses import asdict
from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.utils import Bunch, check_random_state
from tqdm import tqdm

from .._network import Training
from ..datasets import make_signals
from ..estimators import (
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
)
from ..information import fisher_information, standard_deviations
from ..metrics import bias_variance_decomposition, product_decomposition, quadratic, roi_error
from ..noise import resolve_noise
from ..signal_models import IVIM
from ..tissues import measure
from ._candidates import GridOfSettings, LineOfAlphas
from ._command import make_command
from ._recommend import recommend
from ._table import make_table
from ._tissues import known_parameters, tissues_of_interest

# Alphas of the path, and those between its ends that are in the table.
_PATH = np.linspace(0, 1, 21)
_SHOWN = (0.25, 0.5, 0.75)
# Weights of the squared bias in the table, and the grid of the frontier, which has them too.
_SHOWN_WEIGHTS = (1.0, 4.0, 10.0, 30.0)
_WEIGHTS = np.unique([*np.geomspace(1, 30, 25), *_SHOWN_WEIGHTS])
# Weights of the squared bias that networks are predicted at. Those of the pretrained network are
# fewer, as it takes longer to predict than networks for one protocol.
_ALONG = {"bias-constrained": _WEIGHTS, "pretrained": np.array(_SHOWN_WEIGHTS)}
# Methods that do not suit every signal model or protocol.
_OPTIONAL = (SegmentedIVIMEstimator, PretrainedNetRegressor)
# Voxels of a region by default, same as that of `BiasConstrainedNetRegressorCV`.
_N_VOXELS = 10
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
    """Compare all methods for one protocol, and recommend one for each parameter.

    The methods are maximum likelihood, the segmented fit (IVIM), networks trained on true and on
    maximum-likelihood labels (whose blends are the alpha path), a bias-constrained network (whose
    weights of the squared bias are the frontier), a self-supervised network, the posterior mean and
    the pretrained network, if there is one for the signal model and its protocol. All but the last
    are fitted to simulated signals, and bias and variance are measured on noise repeats of the
    tissues of interest. Each method takes part at its best alpha or weight.

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
        with a range of one value (such as B1 from a measured map) is known to all methods.
    tissues : dict of {str: array-like of shape (n_parameters,) or (n, n_parameters)}, default=None
        Tissues of interest by name. None: a grid over the prior (or samples, if the prior does not
        consist of ranges), and the signal model's own tissues, `SignalModel.named_tissues`.
    rule : roi_error, least_weighted or least_variance, default=None
        Rule that chooses for each parameter, in units of the parameters' loss scales. All tissues
        of interest have equal weights. None: ``roi_error(n_voxels=10)``, for a small region or
        lesion; see the notes.
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
        - `recommendation`: list of dict, one per parameter: `parameter`; `method`, the name in the
          table of estimators (None if no method meets the rule, or the parameter is known);
          `setting`, such as ``{"bias_weight": 12.3}`` or ``{"alpha": 0.2}``, or empty; its
          `rms_bias` and `std`, in the units of the parameter; its `loss` by the rule, in units of
          the loss scale squared; `runner_up`, the next best method, with `runner_up_loss`;
          `margin`, by how many percent the loss is below that; `rule`; `reason`, a sentence; and
          `command`, a command line that fits a scan in this way (None if it cannot express the
          signal model, noise or prior).
        - `overall`: dict with the same entries except `rms_bias` and `std`, for the method with the
          least mean loss of all parameters. Its `setting` has a value per parameter, such as
          ``{"bias_weight": {"f": 4.0, "D": 10.0}}``.
        - `table`: list of dict, one per tissue (and "all"), method and parameter: `bias` (mean
          error), `rms_bias`, `std` and `rmse` in the units of the parameter, `slope` (None for one
          tissue), `failed`, the share of failed estimates, and `noise_correlation`, the strongest
          correlation across noise with another parameter, which is `correlated_with`. The list can
          be passed to ``pandas.DataFrame``. The Cramer-Rao bound, which holds for unbiased
          estimators only, has just `std`.
        - `path`: Bunch of `alphas` (n_alphas,), and of `rms_bias` and `std` (n_alphas,
          n_parameters) over all tissues. `frontier`: the same for `bias_weights` (n_weights,).
        - `parameters`: list of dict. `sigma`: the noise level. `notes`: list of str with caveats.

    Raises
    ------
    ValueError
        If an argument does not fit the signal model, `n_repeats` is less than 2, or the rule names
        a parameter.

    Notes
    -----
    A rule needs a price of bias. For a single voxel (n = 1) the loss is the mean squared error,
    which on the training tissues the posterior mean minimises by construction; for ever larger
    regions only the bias counts. The default of 10 voxels is a small region, such as a lesion of
    7 mm at 2 x 2 x 5 mm. A choice for 10 voxels has no larger bias than one for a single voxel, and
    so is the better of the two in every region of 10 voxels or more.

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
    noise, rule = resolve_noise(noise, signal_model), _check_rule(rule)
    rng = check_random_state(random_state)
    groups, notes = tissues_of_interest(signal_model, tissues, prior, rng)
    every = np.concatenate(list(groups.values()))
    X, y, sigmas = make_signals(
        signal_model, n_samples, snr=snr, noise=noise, prior=prior, random_state=rng,
        return_sigma=True,
    )  # fmt: skip
    sigma = float(sigmas[0])  # the same for all rows
    y_test = np.repeat(every, n_repeats, axis=0)
    X_test = measure(signal_model, noise, y_test, np.full(len(y_test), sigma), rng)
    settings = {"noise": noise, "sigma": sigma}
    fixed = known_parameters(signal_model, prior)
    bounds = {name: (value - _TINY, value + _TINY) for name, value in fixed.items()}
    mle = MLEEstimator(signal_model, **settings, fixed=fixed, n_jobs=n_jobs, device=device)
    methods = _methods(mle, settings, prior, bounds, int(rng.randint(2**31 - 1)))
    predicted = _predict_each(methods, X, y, X_test, notes, verbose)
    candidates, path, frontier = _measure(signal_model, y_test, predicted)
    command = partial(make_command, signal_model, noise, prior, bounds)
    recommendation, overall = recommend(rule, signal_model.parameters, candidates, fixed, command)
    bound = _cramer_rao(signal_model, noise, every, sigma, fixed)
    shown = _shown(predicted)
    return Bunch(
        recommendation=recommendation,
        overall=overall,
        table=make_table(signal_model, groups, n_repeats, y_test, shown, bound),
        path=path,
        frontier=frontier,
        parameters=[asdict(p) for p in signal_model.parameters],
        sigma=sigma,
        notes=notes,
    )


def _check_rule(rule):
    """The rule, or the default one; ValueError if it cannot choose for each parameter."""
    rule = roi_error(_N_VOXELS) if rule is None else rule
    rule.check()
    if rule.parameter is not None:
        raise ValueError(f"rule expects no parameter, as it chooses for each: got {rule!r}.")
    return rule


def _predict_each(methods, X, y, X_test, notes, verbose):
    """Predictions of each fitted method. A note is added if an optional one is impossible.

    Those of the hybrid method are at alphas 0 and 1, and those of the bias-constrained and the
    pretrained one at all their weights, see `_ALONG`.
    """
    predicted = {}
    for name, estimator in tqdm(methods.items(), "comparing", unit=" methods", disable=not verbose):
        if name == "hybrid":
            ends = (clone(estimator).set_params(alpha=alpha).fit(X, y) for alpha in (0, 1))
            predicted[name] = np.stack([end.predict(X_test) for end in ends])
            continue
        try:
            estimator.fit(X, y)
        except ValueError as error:
            if not isinstance(estimator, _OPTIONAL):
                raise
            notes.append(f"There is no {name} estimate: {error}")
            continue
        if name in _ALONG:
            along = [estimator.predict(X_test, bias_weight=w) for w in _ALONG[name]]
            predicted[name] = np.stack(along)
        else:
            predicted[name] = estimator.predict(X_test)
    return predicted


def _measure(signal_model, y, predicted):
    """Candidates in units of the loss scales, the alpha path and the frontier."""
    scale = np.array([p.loss_scale for p in signal_model.parameters])
    candidates = []
    for method, values in predicted.items():
        if method == "hybrid":
            # The best prediction is linear in alpha, so networks are only trained at both ends. The
            # path is exact, from the quadratic forms of the errors of the two.
            bias, variance = product_decomposition(y, values - y)
            path = [np.stack([quadratic(form, a) for a in _PATH]) for form in (bias, variance)]
            candidates.append(LineOfAlphas(method, bias / scale**2, variance / scale**2))
            continue
        several = values if values.ndim == 3 else values[None]
        parts = [bias_variance_decomposition(y, column) for column in several]
        bias, variance = (
            np.stack([part[k] for part in parts]) for k in ("squared_bias", "variance")
        )
        setting = ()
        if method in _ALONG:
            setting = ("bias_weight", _ALONG[method])
        if method == "bias-constrained":
            frontier = bias, variance
        candidates.append(GridOfSettings(method, bias / scale**2, variance / scale**2, *setting))
    return (
        candidates,
        Bunch(alphas=_PATH, **_roots(*path)),
        Bunch(bias_weights=_WEIGHTS, **_roots(*frontier)),
    )


def _roots(squared_bias, variance):
    # The estimate of a squared bias may be negative.
    return {"rms_bias": np.sqrt(squared_bias.clip(min=0)), "std": np.sqrt(variance)}


def _shown(predicted):
    """Predictions of the rows of the table, by the name of their method and setting."""
    predicted = dict(predicted)
    ends = predicted.pop("hybrid")
    shown = {f"alpha {a:g}": (1 - a) * ends[0] + a * ends[1] for a in (0, *_SHOWN, 1)}
    for name, start in (("bias-constrained", ""), ("pretrained", "pretrained, ")):
        if (along := predicted.pop(name, None)) is not None:
            places = np.searchsorted(_ALONG[name], _SHOWN_WEIGHTS)
            labels = (f"{start}bias weight {w:g}" for w in _SHOWN_WEIGHTS)
            shown |= dict(zip(labels, along[places], strict=True))
    return predicted | shown


def _cramer_rao(signal_model, noise, parameters, sigma, known):
    """Smallest standard deviations of unbiased estimates if some parameters are known."""
    information = fisher_information(
        signal_model, noise, parameters, np.full(len(parameters), sigma)
    )
    is_free = [name not in known for name in signal_model.parameter_names]
    return standard_deviations(information, np.broadcast_to(is_free, parameters.shape))


def _methods(mle, settings, prior, bounds, seed):
    """Unfitted estimators by their name in the table, with the signal model and device of `mle`."""
    signal_model = mle.signal_model
    trained = {**settings, "training": Training(device=mle.device), "random_state": seed}
    methods = {"mle": mle}
    if isinstance(signal_model, IVIM):
        methods["segmented"] = SegmentedIVIMEstimator(signal_model, bounds=bounds)
    # The pretrained network cannot be told a known parameter.
    return (
        methods
        | {
            "posterior": PosteriorMeanEstimator(
                signal_model, **settings, prior=prior, random_state=seed
            ),
            "self-supervised": SelfSupervisedNetRegressor(signal_model, **trained, bounds=bounds),
            "hybrid": HybridLabelNetRegressor(signal_model, **trained, label_estimator=mle),
            "bias-constrained": BiasConstrainedNetRegressor(signal_model, **trained),
        }
        | ({} if bounds else {"pretrained": PretrainedNetRegressor(signal_model, **settings)})
    )
