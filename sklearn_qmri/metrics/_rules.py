"""Rules that choose between bias and variance, for a grid search or along an alpha path."""

from abc import abstractmethod
from numbers import Real

import numpy as np

from .._value import Value
from ._forms import crossings, quadratic, stationary
from ._regions import check_n_voxels


class BiasVarianceRule(Value):
    """Base class of rules on squared bias and variance, of one parameter or averaged over all.

    Let two estimators have errors e_0 and e_1. The squared bias and the variance of their blend,
    ``(1 - alpha) * e_0 + alpha * e_1``, are quadratic forms in (1 - alpha, alpha). Their matrices
    are `bias` and `variance`, both of shape (2, 2, n_parameters).

    A rule is a value: it has `get_params` and `set_params`, and two rules with the same arguments
    are equal. The arguments are checked when the rule is used.
    """

    parameter = None

    @abstractmethod
    def check(self):
        """Refuse arguments that are out of range.

        Raises
        ------
        ValueError
            If an argument is out of range. The message contains its name.
        """

    @abstractmethod
    def _candidates(self, bias, variance):
        """Alphas one of which is the best, unless that is 0 or 1; some may be outside [0, 1]."""

    @abstractmethod
    def _loss(self, squared_bias, variance, what, rounding=0.0):
        """Loss of each candidate; squared biases may be too large by `rounding`.

        `what` names the candidates in error messages.
        """

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
        if np.isnan(squared_bias + variance).all():
            raise ValueError("The scores of all candidates are NaN.")
        return self.best(squared_bias, variance)

    def best(self, squared_bias, variance, what="candidate"):
        """Index of the best of several candidates.

        Parameters
        ----------
        squared_bias, variance : ndarrays of shape (n_candidates,)
            Candidates with NaN are not chosen.
        what : str, default="candidate"
            Name of a candidate in error messages.

        Returns
        -------
        int
            Place among the candidates.

        Raises
        ------
        ValueError
            If no candidate meets the rule, or an argument of the rule is out of range.
        """
        return int(np.nanargmin(self.loss(squared_bias, variance, what)))

    def loss(self, squared_bias, variance, what="candidate"):
        """Loss of each of several candidates, of which `best` finds the least.

        Parameters
        ----------
        squared_bias, variance : ndarrays of shape (n_candidates,)
            Estimates without bias. Where the true values are close to 0 they may be negative, and
            so may a loss.
        what : str, default="candidate"
            Name of a candidate in error messages.

        Returns
        -------
        ndarray of shape (n_candidates,)
            In units of the scale of bias and variance, squared. Infinity: the candidate does not
            meet the rule.

        Raises
        ------
        ValueError
            Same as `best`.
        """
        self.check()
        return self._loss(squared_bias, variance, what)

    def best_alpha(self, bias, variance):
        """Exact optimum along the line between two estimators.

        Parameters
        ----------
        bias, variance : ndarrays of shape (2, 2)
            Forms of one parameter, or averages over parameters in units of their scales.

        Returns
        -------
        float
            Alpha in [0, 1].

        Raises
        ------
        ValueError
            If no alpha meets the rule, or an argument of the rule is out of range.
        """
        self.check()
        inner = self._candidates(bias, variance)
        alphas = np.unique(np.clip([0.0, 1.0, *inner], 0.0, 1.0))
        # Candidates outside [0, 1] become 0 or 1, which are candidates in any case.
        # A form is a weighted mean of its entries, with weights (1 - alpha)^2, alpha * (1 - alpha)
        # twice, and alpha^2, which add up to 1. Each of its about 8 operations therefore has a
        # rounding error of at most one eps of the largest entry.
        rounding = 8 * np.finfo(float).eps * np.abs(bias).max()
        squared_bias, variances = quadratic(bias, alphas), quadratic(variance, alphas)
        return float(alphas[np.argmin(self._loss(squared_bias, variances, "alpha", rounding))])


class least_weighted(BiasVarianceRule):
    """Rule: choose the least ``variance + weight * bias^2``.

    Use it in ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=least_weighted(...))``,
    or as the rule of `HybridLabelNetRegressorCV`. With a weight of 1 it minimises the mean
    squared error, which on tissues like the training tissues always leads to alpha = 0.

    Parameters
    ----------
    weight : float
        Cost of one unit of squared bias, relative to one unit of variance.
    parameter : str, default=None
        Parameter whose bias and variance count. None: averages over all parameters.

    Raises
    ------
    ValueError
        On use, if the weight is negative or not finite, or if all scores are NaN.

    Notes
    -----
    The best alpha between estimators 0 and 1 is ``(Q_00 - Q_01) / (Q_00 + Q_11 - 2 * Q_01)`` if
    that is within [0, 1]. Here Q is the weight times the form of the squared bias, plus the form
    of the variance.

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
        # A sum of quadratic forms is one itself, so the whole loss is minimised in closed form.
        return stationary(self.weight * bias + variance)

    def _loss(self, squared_bias, variance, what, rounding=0.0):
        return variance + self.weight * squared_bias


class least_variance(BiasVarianceRule):
    """Rule: choose the least variance among the candidates whose bias is within a limit.

    Use it in ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=least_variance(...))``,
    or as the rule of `HybridLabelNetRegressorCV`.

    Parameters
    ----------
    max_bias : float
        Largest allowed root mean square bias, in units of the scale of the scorer.
    parameter : str, default=None
        Parameter whose bias and variance count. None: averages over all parameters.

    Raises
    ------
    ValueError
        On use, if the limit is negative or not finite, or if no candidate is within it. The
        message then contains the smallest bias.

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
        # The alphas within the limit are an interval, and the variance is convex in alpha. Its
        # least value is therefore at its own minimum or where the bias meets the limit. The alpha
        # of the least bias is added so that an error can report that bias.
        edges = crossings(bias, self.max_bias**2)
        return [*edges, *stationary(bias), *stationary(variance)]

    def _loss(self, squared_bias, variance, what, rounding=0.0):
        bias = np.sqrt(np.maximum(squared_bias - rounding, 0.0))
        # Where the bias meets the limit, the two agree only up to rounding.
        allowed = bias <= self.max_bias * (1 + 1e-9)
        if not allowed.any():
            raise ValueError(
                f"No {what} has an RMS bias of at most {self.max_bias:g}; "
                f"the smallest is {np.nanmin(bias):.4g}."
            )
        return np.where(allowed, variance, np.inf)


class roi_error(BiasVarianceRule):
    """Rule: choose the least error of the mean over a region, ``bias^2 + variance / n_voxels``.

    Use it in ``GridSearchCV(..., scoring=bias_variance_scorer(...), refit=roi_error(...))``, or as
    the rule of `HybridLabelNetRegressorCV` or `BiasConstrainedNetRegressorCV`. Its choices are
    those of ``least_weighted(weight=n_voxels)``.

    Parameters
    ----------
    n_voxels : int
        Number of voxels of one tissue that will be averaged.
    parameter : str, default=None
        Parameter whose bias and variance count. None: averages over all parameters.

    Raises
    ------
    ValueError
        On use, if `n_voxels` is not a positive integer, or if all scores are NaN.

    See Also
    --------
    roi_mean_squared_error : The same error as a metric, for each parameter.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.metrics import roi_error
    >>> bias, variance = np.array([[4.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 4.0]])
    >>> round(roi_error(n_voxels=2).best_alpha(bias, variance), 3)
    0.727
    """

    def __init__(self, n_voxels, parameter=None):
        self.n_voxels = n_voxels
        self.parameter = parameter

    def check(self):
        check_n_voxels(self.n_voxels)

    def _candidates(self, bias, variance):
        return stationary(bias + variance / self.n_voxels)

    def _loss(self, squared_bias, variance, what, rounding=0.0):
        return squared_bias + variance / self.n_voxels


def _check_limit(name, value):
    """ValueError unless a value is a finite number of at least 0."""
    if not isinstance(value, Real) or not 0 <= value < np.inf:
        raise ValueError(f"{name} expects a finite number of at least 0, got {value!r}.")
