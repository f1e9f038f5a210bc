"""Rules that choose between bias and variance, for a grid search or along an alpha path."""

import numpy as np


class _Rule:
    """A rule on squared bias and variance, of one parameter or averaged over all.

    Between two estimators with errors e_0 and e_1, ``(1 - alpha) * e_0 + alpha * e_1`` has a
    squared bias and a variance that are quadratic forms in (1 - alpha, alpha), given by the
    matrices `bias` and `variance`, both (2, 2, n_parameters).
    """

    parameter = None

    def __call__(self, cv_results):
        """Index of the chosen candidate among those of ``cv_results_``."""
        suffix = "" if self.parameter is None else f"_{self.parameter}"
        if f"mean_test_neg_variance{suffix}" not in cv_results:
            of = "" if self.parameter is None else f" of a parameter {self.parameter!r}"
            raise ValueError(
                f"cv_results has no scores of bias and variance{of}. They come from "
                "scoring=bias_variance_scorer; where all scores failed, error_score='raise' of the "
                "search says why."
            )
        squared_bias = -np.asarray(cv_results[f"mean_test_neg_squared_bias{suffix}"])
        variance = -np.asarray(cv_results[f"mean_test_neg_variance{suffix}"])
        loss = self._loss(squared_bias, variance, "candidate")
        if np.isnan(loss).all():
            raise ValueError("The scores of all candidates are NaN.")
        return int(np.nanargmin(loss))

    def best_alpha(self, bias, variance):
        """Exact optimum along the line between two estimators.

        Parameters
        ----------
        bias, variance : ndarrays of shape (2, 2)
            Of the parameter, or averaged over parameters in units of their scales.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        ValueError
            If no alpha meets the rule.
        """
        alphas = np.unique(np.clip(self._candidates(bias, variance), 0.0, 1.0))
        loss = self._loss(quadratic(bias, alphas), quadratic(variance, alphas), "alpha")
        return float(alphas[np.argmin(loss)])

    def __repr__(self):
        params = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({params})"


def quadratic(form, alpha):
    """Quadratic forms (2, 2, ...) at (1 - alpha, alpha)."""
    both = (form[0, 1] + form[1, 0]) * alpha * (1 - alpha)
    return form[0, 0] * (1 - alpha) ** 2 + both + form[1, 1] * alpha**2


def _stationary(form):
    """Where a quadratic form in (1 - alpha, alpha) has its minimum; nothing where it has none."""
    cross = (form[0, 1] + form[1, 0]) / 2
    curvature = form[0, 0] + form[1, 1] - 2 * cross
    return [(form[0, 0] - cross) / curvature] if curvature > 0 else []


class least_weighted(_Rule):
    """Rule: least ``variance + weight * bias^2``.

    For ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=least_weighted(...))``, and
    as the criterion of `HybridLabelNetRegressorCV`. A weight of 1 is the mean squared error,
    which on tissues like those of the training always votes for alpha = 0.

    Parameters
    ----------
    weight : float
        What a unit of squared bias costs in units of variance.
    parameter : str, default=None
        Parameter whose bias and variance count. None: their averages over parameters.

    Raises
    ------
    ValueError
        For a weight that is negative or not finite; when called, if all scores are NaN.

    Notes
    -----
    Between estimators 0 and 1 the best alpha is ``(Q_00 - Q_01) / (Q_00 + Q_11 - 2 * Q_01)``, as
    far as it is within [0, 1], with Q the weight times the form of squared bias plus that of
    variance.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.metrics import least_weighted
    >>> bias, variance = np.array([[4.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 4.0]])
    >>> round(least_weighted(weight=2).best_alpha(bias, variance), 3)
    0.727
    """

    def __init__(self, weight, parameter=None):
        if not 0 <= weight < np.inf:
            raise ValueError(f"least_weighted expects a weight of 0 or more, got {weight!r}.")
        self.weight = weight
        self.parameter = parameter

    def _candidates(self, bias, variance):
        return [0.0, 1.0, *_stationary(self.weight * bias + variance)]

    def _loss(self, squared_bias, variance, what):
        return variance + self.weight * squared_bias


class least_variance(_Rule):
    """Rule: least variance among those whose bias is within a limit.

    For ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=least_variance(...))``, and
    as the criterion of `HybridLabelNetRegressorCV`.

    Parameters
    ----------
    max_bias : float
        Largest root mean square bias, in units of the scale of the scorer.
    parameter : str, default=None
        Parameter whose bias and variance count. None: their averages over parameters.

    Raises
    ------
    ValueError
        For a limit that is negative or not finite; when called, if no candidate is within it, with
        the smallest bias there is.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.metrics import least_variance
    >>> bias, variance = np.array([[4.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 4.0]])
    >>> round(least_variance(max_bias=1).best_alpha(bias, variance), 3)
    0.5
    """

    def __init__(self, max_bias, parameter=None):
        if not 0 <= max_bias < np.inf:
            raise ValueError(f"least_variance expects max_bias of 0 or more, got {max_bias!r}.")
        self.max_bias = max_bias
        self.parameter = parameter

    def _candidates(self, bias, variance):
        # Where the bias meets its limit; the least bias of all, for the error; the optimum.
        cross = (bias[0, 1] + bias[1, 0]) / 2
        limit = [bias[0, 0] + bias[1, 1] - 2 * cross, 2 * (cross - bias[0, 0])]
        roots = np.roots([*limit, bias[0, 0] - self.max_bias**2])
        edges = roots.real[np.abs(roots.imag) < 1e-12]
        return [0.0, 1.0, *edges, *_stationary(bias), *_stationary(variance)]

    def _loss(self, squared_bias, variance, what):
        bias = np.sqrt(np.maximum(squared_bias, 0.0))
        allowed = bias <= self.max_bias * (1 + 1e-9)
        if not allowed.any():
            raise ValueError(
                f"No {what} has an RMS bias of at most {self.max_bias:g}; "
                f"the smallest is {np.nanmin(bias):.4g}."
            )
        return np.where(allowed, variance, np.inf)
