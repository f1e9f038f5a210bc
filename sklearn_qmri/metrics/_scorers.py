"""Scorers: measures of a fitted estimator that pass sigma on to its ``predict``."""

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from .._arrays import columns_by_name
from .._value import Value
from ._decomposition import bias_variance_decomposition
from ._parameters import (
    failure_rate,
    mean_bias,
    noise_std,
    rms_bias,
    root_mean_squared_error,
    shrinkage_slope,
)


class bias_variance_scorer(Value):
    """Scorer of bias and variance for `GridSearchCV` and similar searches.

    Calling it with a fitted estimator, X and y returns a dict of negated values, so that higher is
    better. ``neg_squared_bias``, ``neg_variance`` and ``neg_mse`` are averages over parameters, in
    units of the squared scales. The same names with a parameter's name appended
    (``neg_variance_f``) are the values of that parameter, in units of its squared scale. Rows with
    NaN predictions are excluded and counted in ``neg_failure_rate``.

    With metadata routing the scorer requests `sigma`, which it passes on to ``predict``, and
    `groups`. Without metadata routing, groups are identical rows of y.

    Parameters
    ----------
    scale : array-like of shape (n_parameters,)
        Divisor of each parameter's errors.
    parameter_names : sequence of str, default=None
        Names of the predictions, in their order. The columns of a DataFrame y have the same names.
        None: the names of the estimator's signal model if it has one, else ``y0``, ``y1``, ...

    See Also
    --------
    least_variance : Refit rule for `GridSearchCV`.

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.metrics import bias_variance_scorer
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 20, snr=50, n_repeats=5, random_state=0)
    >>> scorer = bias_variance_scorer.from_model(model)
    >>> scores = scorer(MLEEstimator(model, sigma=1 / 50).fit(X), X, y)
    >>> sorted(scores)[:3]
    ['neg_failure_rate', 'neg_mse', 'neg_mse_D']
    """

    def __init__(self, scale, parameter_names=None):
        self.scale = scale
        self.parameter_names = parameter_names

    @classmethod
    def from_model(cls, signal_model):
        """Scorer with the loss scales and names of a signal model's parameters.

        Parameters
        ----------
        signal_model : SignalModel
            Signal model whose parameters are scored.

        Returns
        -------
        bias_variance_scorer
            For `scoring` of `GridSearchCV`.
        """
        scale = [p.loss_scale for p in signal_model.parameters]
        return cls(scale, signal_model.parameter_names)

    def get_metadata_routing(self):
        """Request `sigma` and `groups`.

        Returns
        -------
        MetadataRequest
            For scikit-learn.
        """
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sigma", alias=True)
        request.score.add_request(param="groups", alias=True)
        return request

    def __call__(self, estimator, X, y, *, sigma=None, groups=None):
        """Score a fitted estimator on noise repeats.

        Parameters
        ----------
        estimator : fitted estimator
        X : array-like of shape (n_samples, n_measurements)
        y : array-like of shape (n_samples, n_parameters)
        sigma : array-like of shape (n_samples,), default=None
            Passed on to ``predict``.
        groups : array-like of shape (n_samples,), default=None
            Same as in `bias_variance_decomposition`.

        Returns
        -------
        dict of {str: float}

        Raises
        ------
        ValueError
            If a DataFrame y has other columns than `parameter_names`, or for the reasons of
            `bias_variance_decomposition`.
        """
        names = self.parameter_names
        if names is None:
            names = modelled_parameters(estimator)
        if names is not None:
            y = columns_by_name(y, names, "y")
        else:
            names = [f"y{j}" for j in range(len(self.scale))]
        y_pred = _predict(estimator, X, sigma)
        parts = bias_variance_decomposition(y, y_pred, groups=groups, scale=self.scale)
        scores = {"neg_failure_rate": -parts.n_failed / len(X)}
        for measure in ("squared_bias", "variance", "mse"):
            scores[f"neg_{measure}"] = -parts.scaled[measure]
            for name, value in zip(names, parts[measure], strict=True):
                scores[f"neg_{measure}_{name}"] = -value
        return scores


# Each measure, and the loss that is made of its values: 0 is best, larger is worse. The failure
# rate is one number for all parameters and therefore not listed.
_LOSS = {
    "mean_bias": (mean_bias, np.abs),
    "rms_bias": (rms_bias, np.abs),
    "noise_std": (noise_std, np.abs),
    "root_mean_squared_error": (root_mean_squared_error, np.abs),
    "shrinkage_slope": (shrinkage_slope, lambda slope: np.abs(1 - slope)),
}


class parameter_scorer(Value):
    """Scorer of one measure of one parameter, where greater is better.

    The score is the negated measure. For `mean_bias` it is the negated absolute value, and for
    `shrinkage_slope` the negated distance from 1. With metadata routing the scorer requests
    `sigma`, which it passes on to ``predict``.

    Parameters
    ----------
    measure : {"mean_bias", "rms_bias", "noise_std", "root_mean_squared_error", \
"shrinkage_slope", "failure_rate"}
        Name of the function that measures.
    parameter : int or str, default=0
        Column of y, or name of the parameter. Names are those of the estimator's signal model or,
        if it has none, of the columns of a DataFrame y. "failure_rate" is the rate of all
        parameters together.

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.metrics import parameter_scorer
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 20, snr=50, n_repeats=5, random_state=0)
    >>> parameter_scorer("failure_rate")(MLEEstimator(model, sigma=1 / 50).fit(X), X, y)
    -0.0
    """

    def __init__(self, measure, parameter=0):
        self.measure = measure
        self.parameter = parameter

    def get_metadata_routing(self):
        """Request `sigma`.

        Returns
        -------
        MetadataRequest
            For scikit-learn.
        """
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sigma", alias=True)
        return request

    def __call__(self, estimator, X, y, *, sigma=None):
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
        X : array-like of shape (n_samples, n_measurements)
        y : array-like of shape (n_samples, n_parameters)
        sigma : array-like of shape (n_samples,), default=None
            Passed on to ``predict``.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            For the reasons of the measure itself, if there is no measure or parameter of this
            name, or if the columns of a DataFrame y are not the parameters of the signal model.
        """
        if self.measure not in _LOSS and self.measure != "failure_rate":
            raise ValueError(
                f"measure expects one of {[*_LOSS, 'failure_rate']}, got {self.measure!r}."
            )
        names = modelled_parameters(estimator)
        if names is not None:
            y = columns_by_name(y, names, "y")
        elif hasattr(y, "columns"):
            names = list(y.columns)
        y_pred = _predict(estimator, X, sigma)
        if self.measure == "failure_rate":
            return -failure_rate(y, y_pred)
        measure, loss = _LOSS[self.measure]
        values = measure(y, y_pred)
        return float(-loss(values)[self._column(names, len(values))])

    def _column(self, names, n_parameters):
        """Index of the scored parameter among the predictions."""
        if isinstance(self.parameter, str):
            if self.parameter in (names or ()):
                return names.index(self.parameter)
        elif -n_parameters <= self.parameter < n_parameters:
            return self.parameter
        by_name = f"one of {names} or " if names else ""
        raise ValueError(
            f"parameter expects {by_name}a column of {n_parameters}, got {self.parameter!r}."
        )


def modelled_parameters(estimator):
    """Names of the parameters that an estimator predicts; None if it has no signal model.

    Parameters
    ----------
    estimator : estimator
        Estimator, or a pipeline, search or transformed-target regressor around one.

    Returns
    -------
    list of str or None
    """
    # Unwrap step by step: the last step of a pipeline, the refitted winner of a search, or the
    # regressor under a transformed target.
    while True:
        if hasattr(estimator, "steps"):
            inside = estimator.steps[-1][1]
        else:
            inside = getattr(estimator, "best_estimator_", getattr(estimator, "regressor_", None))
        if inside is None:
            break
        estimator = inside
    model = getattr(estimator, "signal_model", None)
    return None if model is None else list(model.parameter_names)


def _predict(estimator, X, sigma):
    """Predictions; sigma is only passed if there is one, as many estimators do not take it."""
    return estimator.predict(X) if sigma is None else estimator.predict(X, sigma=sigma)
