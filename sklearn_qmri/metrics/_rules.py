"""Rules that choose between bias and variance, for a grid search or along an alpha path."""

from abc import abstractmethod
from numbers import Real

import numpy as np

from .._value import Value


class BiasVarianceRule(Value):
    """Base class of rules on squared bias and variance, of one parameter or averaged over all.

    Between two estimators with errors e_0 and e_1, ``(1 - alpha) * e_0 + alpha * e_1`` has a
    squared bias and a variance that are quadratic forms in (1 - alpha, alpha), given by the
    matrices `bias` and `variance`, both (2, 2, n_parameters).

    A rule is a value: it has `get_params` and `set_params`, and two with the same arguments are
    equal. Its arguments are checked when it is used.
    """

    parameter = None

    @abstractmethod
    def check(self):
        """Refuse arguments that are out of range.

        Raises
        ------
        ValueError
            With the argument's name.
        """

    @abstractmethod
    def _candidates(self, bias, variance):
        """Alphas among which the best one is, unless it is 0 or 1."""

    @abstractmethod
    def _loss(self, squared_bias, variance, what, rounding=0.0):
        """Loss of each candidate; squared biases may be too large by `rounding`."""

    def __call__(self, cv_results):
        """Index of the chosen candidate among those of ``cv_results_``."""
        self.check()
        suffix = "" if self.parameter is None else f"_{self.parameter}"
        if f"mean_test_neg_variance{suffix}" not in cv_results:
            owner = "" if self.parameter is None else f" of a parameter {self.parameter!r}"
            raise ValueError(
                f"cv_results has no scores of bias and variance{owner}. They come from "
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
            If no alpha meets the rule, or an argument of the rule is out of range.
        """
        self.check()
        inner = self._candidates(bias, variance)
        alphas = np.unique(np.clip([0.0, 1.0, *inner], 0.0, 1.0))
        # The weights of a form's three entries add up to 1, so each of the about 8 operations on
        # them is off by at most an eps of the largest entry.
        rounding = 8 * np.finfo(float).eps * np.abs(bias).max()
        squared_bias, variances = quadratic(bias, alphas), quadratic(variance, alphas)
        return float(alphas[np.argmin(self._loss(squared_bias, variances, "alpha", rounding))])


def quadratic(form, alpha):
    """Quadratic forms (2, 2, ...) at (1 - alpha, alpha)."""
    both = (form[0, 1] + form[1, 0]) * alpha * (1 - alpha)
    return form[0, 0] * (1 - alpha) ** 2 + both + form[1, 1] * alpha**2


def _polynomial(form):
    """Coefficients c, b, a of ``c + 2 * b * alpha + a * alpha^2``, which is the quadratic form."""
    cross = (form[0, 1] + form[1, 0]) / 2
    return form[0, 0], cross - form[0, 0], form[0, 0] + form[1, 1] - 2 * cross


def _stationary(form):
    """Where a quadratic form in (1 - alpha, alpha) has its minimum; nothing where it has none."""
    _, b, a = _polynomial(form)
    return [-b / a] if a > 0 else []


def _crossings(form, level):
    """Alphas at which a quadratic form in (1 - alpha, alpha) has the value `level`.

    Where it only touches the level, as a squared bias with a zero does at a level of 0, the
    discriminant ``b^2 - a * c`` is 0, and by rounding maybe less: within an eps of its terms it
    counts as 0. Of the two roots ``(-b +- sqrt(b^2 - a * c)) / a`` the one without cancellation
    is ``q / a`` with ``q = -b - sign(b) * sqrt(...)``; their product is ``c / a``, so that the
    other one is ``c / q``, which also holds for a = 0.
    """
    c, b, a = _polynomial(form)
    c = c - level
    discriminant = b * b - a * c
    if discriminant < -8 * np.finfo(float).eps * (b * b + abs(a * c)):
        return []
    q = -b - np.copysign(np.sqrt(max(discriminant, 0.0)), b)
    return [numerator / divisor for numerator, divisor in ((q, a), (c, q)) if divisor != 0]


class least_weighted(BiasVarianceRule):
    """Rule: least ``variance + weight * bias^2``.

    For ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=least_weighted(...))``, and
    as the criterion of `HybridLabelNetRegressorCV`. A weight of 1 is the mean squared error,
    which on tissues like those of the training always votes for alpha = 0.

    Parameters
    ----------
    weight : float
        Cost of a unit of squared bias, in units of variance.
    parameter : str, default=None
        Parameter whose bias and variance count. None: their averages over parameters.

    Raises
    ------
    ValueError
        When used, for a weight that is negative or not finite, or if all scores are NaN.

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
        self.weight = weight
        self.parameter = parameter

    def check(self):
        _check_limit("weight of least_weighted", self.weight)

    def _candidates(self, bias, variance):
        return _stationary(self.weight * bias + variance)

    def _loss(self, squared_bias, variance, what, rounding=0.0):
        return variance + self.weight * squared_bias


class least_variance(BiasVarianceRule):
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
        When used, for a limit that is negative or not finite, or if no candidate is within it,
        with the smallest bias there is.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.metrics import least_variance
    >>> bias, variance = np.array([[4.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 4.0]])
    >>> round(least_variance(max_bias=1).best_alpha(bias, variance), 3)
    0.5
    """

    def __init__(self, max_bias, parameter=None):
        self.max_bias = max_bias
        self.parameter = parameter

    def check(self):
        _check_limit("max_bias of least_variance", self.max_bias)

    def _candidates(self, bias, variance):
        # Where the bias meets its limit; the least bias of all, for the error; the optimum.
        edges = _crossings(bias, self.max_bias**2)
        return [*edges, *_stationary(bias), *_stationary(variance)]

    def _loss(self, squared_bias, variance, what, rounding=0.0):
        bias = np.sqrt(np.maximum(squared_bias - rounding, 0.0))
        allowed = bias <= self.max_bias * (1 + 1e-9)
        if not allowed.any():
            raise ValueError(
                f"No {what} has an RMS bias of at most {self.max_bias:g}; "
                f"the smallest is {np.nanmin(bias):.4g}."
            )
        return np.where(allowed, variance, np.inf)


def _check_limit(name, value):
    if not isinstance(value, Real) or not 0 <= value < np.inf:
        raise ValueError(f"{name} expects a finite number of 0 or more, got {value!r}.")
