"""Probabilities of signal models, given the measurement of each voxel."""

from itertools import pairwise

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..estimators import core, signal_model_of

# What each criterion takes from the result of `estimate`, and how much of it is a log-probability.
_SCORES = {"evidence": ("log_evidence", 1.0), "aic": ("aic", -0.5), "bic": ("bic", -0.5)}


def model_probabilities(estimators, X, *, criterion="evidence", prior=None, sigma=None):
    """Probability of each signal model, given the measurement of each voxel.

    By the evidence, it is the posterior probability of the models: that of a measurement under a
    model is averaged over the tissues of its prior, so that a model with more parameters has no
    advantage that the measurement does not support. It depends on the priors: a model whose prior
    is wider than the tissues is less probable. By AIC or BIC, it is the weight of the model among
    those compared, from the maximum of the likelihood and the number of parameters.

    Parameters
    ----------
    estimators : sequence or dict of {str: fitted estimator}
        Estimators of two or more signal models with the same acquisition, noise model and noise
        level: `PosteriorMeanEstimator` for the evidence, `MLEEstimator` for AIC and BIC.
    X : array-like of shape (n_voxels, n_measurements)
        Signals, a voxel per row.
    criterion : {"evidence", "aic", "bic"}, default="evidence"
        What the probabilities are made from.
    prior : array-like of shape (n_models,), default=None
        Probabilities of the models before the measurement. None: equal ones.
    sigma : float or array-like, default=None
        Noise level, same as for `estimate`. None: the one that all estimators were fitted with.

    Returns
    -------
    ndarray of shape (n_voxels, n_models)
        Probabilities in the order of the estimators; NaN for voxels without an estimate by one.

    Raises
    ------
    NotFittedError
        Before `fit` of an estimator.
    ValueError
        If there are less than two estimators, they are of different acquisitions, noise models or
        noise levels, one of them has no such criterion, or `prior` does not fit.

    References
    ----------
    Kass RE, Raftery AE (1995), J Am Stat Assoc 90:773. Burnham KP, Anderson DR (2004), Sociol
    Methods Res 33:261 (weights of AIC and BIC).

    Examples
    --------
    >>> from sklearn_qmri import PosteriorMeanEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.inspection import model_probabilities
    >>> from sklearn_qmri.signal_models import ADC, IVIM
    >>> b = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
    >>> X, _ = make_signals(IVIM(b), 100, snr=30, random_state=0)
    >>> posteriors = [
    ...     PosteriorMeanEstimator(model(b), sigma=1 / 30, random_state=0).fit(X)
    ...     for model in (ADC, IVIM)
    ... ]
    >>> probabilities = model_probabilities(posteriors, X)
    >>> probabilities.shape, bool(probabilities[:, 1].mean() > 0.9)
    ((100, 2), True)
    """
    estimators = list(estimators.values() if isinstance(estimators, dict) else estimators)
    if criterion not in _SCORES:
        raise ValueError(f"criterion expects one of {list(_SCORES)}, got {criterion!r}.")
    _check_comparable(estimators, sigma)
    name, factor = _SCORES[criterion]
    scores = []
    for estimator in estimators:
        found = estimator.estimate(X, sigma=sigma)
        if name not in found:
            raise ValueError(
                f"{type(estimator).__name__} has no {name}: use PosteriorMeanEstimator for the "
                "evidence, and MLEEstimator for AIC and BIC."
            )
        scores.append(factor * found[name])
    scores = np.stack(scores, axis=1) + _log_prior(prior, len(estimators))
    with np.errstate(invalid="ignore"):  # a voxel without any estimate has only NaN
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)


def _check_comparable(estimators, sigma):
    """Raise a ValueError unless likelihoods of the estimators are those of the same data."""
    if len(estimators) < 2:
        raise ValueError(f"estimators expects two or more, got {len(estimators)}.")
    for estimator in estimators:
        check_is_fitted(estimator)
    for one, other in pairwise(estimators):
        models = signal_model_of(one), signal_model_of(other)
        both = f"{models[0]!r} and {models[1]!r}"
        if core(one).noise_ != core(other).noise_:
            raise ValueError(
                f"Probabilities need one noise model, got {core(one).noise_} for {models[0]!r} and "
                f"{core(other).noise_} for {models[1]!r}."
            )
        if one.n_features_in_ != other.n_features_in_ or _differ(*models):
            raise ValueError(f"Probabilities need one acquisition, got {both}.")
        levels = [core(each).sigma_ for each in (one, other)]
        if sigma is None and (levels[0] is None or not _equal(*levels)):
            raise ValueError(
                f"Probabilities need one noise level, got {levels[0]} for {models[0]!r} and "
                f"{levels[1]} for {models[1]!r}: pass sigma."
            )


def _differ(one, other):
    """Whether two signal models have different values of an acquisition that both have.

    An acquisition is a number, or an array of numbers; other arguments are settings of a model.
    """
    settings, others = (model.get_params(deep=False) for model in (one, other))
    return any(
        not isinstance(settings[name], (str, bool)) and not _equal(settings[name], others[name])
        for name in settings.keys() & others.keys()
    )


def _equal(one, other):
    """Whether two numbers or arrays are equal but for rounding; None equals None only."""
    if one is None or other is None:
        return one is other
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    fits = one.size == 1 or other.size == 1 or one.shape == other.shape
    return bool(fits and np.allclose(one, other, rtol=1e-9, atol=0))


def _log_prior(prior, n_models):
    if prior is None:
        return np.zeros(n_models)
    prior = np.asarray(prior, dtype=np.float64)
    if prior.shape != (n_models,) or not (prior >= 0).all() or not 0 < prior.sum() < np.inf:
        raise ValueError(f"prior expects {n_models} probabilities, got {prior.tolist()}.")
    with np.errstate(divide="ignore"):
        return np.log(prior / prior.sum())
