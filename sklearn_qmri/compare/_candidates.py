"""Bias and variance of methods, each at its best setting for a parameter."""

from typing import NamedTuple

import numpy as np

from ..metrics import quadratic


class Choice(NamedTuple):
    """Method at its best setting for one parameter.

    Attributes
    ----------
    method : str
        Name in the table of estimators.
    setting : dict of {str: float}
        Its argument, such as ``{"alpha": 0.2}``; empty for methods that have none to choose.
    squared_bias, variance, loss : float
        In units of the parameter's loss scale, squared.
    """

    method: str
    setting: dict
    squared_bias: float
    variance: float
    loss: float


class GridOfSettings(NamedTuple):
    """Method with bias and variance at each of several settings, or at the only one.

    Attributes
    ----------
    method : str
    squared_bias, variance : ndarrays of shape (n_settings, n_parameters)
        In units of the loss scales, squared.
    argument : str or None, default=None
        Name of the setting. None: there is just one.
    settings : sequence, default=(None,)
        Values of the argument.
    """

    method: str
    squared_bias: np.ndarray
    variance: np.ndarray
    argument: str | None = None
    settings: tuple = (None,)

    def best(self, rule, j):
        """Choice for parameter j; ValueError if no setting meets the rule."""
        squared_bias, variance = self.squared_bias[:, j], self.variance[:, j]
        k = rule.best(squared_bias, variance)
        setting = {} if self.argument is None else {self.argument: float(self.settings[k])}
        return _choice(rule, self.method, setting, squared_bias[k], variance[k])

    def least_bias(self, j):
        """Least squared bias of parameter j that can be reached."""
        return self.squared_bias[:, j].min()


class LineOfAlphas(NamedTuple):
    """Blends of two networks, whose best alpha has a closed form.

    Attributes
    ----------
    method : str
    bias, variance : ndarrays of shape (2, 2, n_parameters)
        Quadratic forms between the two, in units of the loss scales, squared.
    """

    method: str
    bias: np.ndarray
    variance: np.ndarray

    def best(self, rule, j):
        """Choice for parameter j; ValueError if no alpha meets the rule."""
        bias, variance = self.bias[..., j], self.variance[..., j]
        alpha = rule.best_alpha(bias, variance)
        squared_bias = quadratic(bias, alpha)
        # Where the path crosses zero bias, rounding leaves a rest that no limit of 0 would allow.
        if squared_bias < 8 * np.finfo(float).eps * np.abs(bias).max():
            squared_bias = 0.0
        return _choice(
            rule, self.method, {"alpha": alpha}, squared_bias, quadratic(variance, alpha)
        )

    def least_bias(self, j):
        """Least squared bias of parameter j, on a fine grid of alphas."""
        return quadratic(self.bias[..., j], np.linspace(0, 1, 1001)).min()


def _choice(rule, method, setting, squared_bias, variance):
    # The estimate of a squared bias may be negative, a root of which nobody could read.
    squared_bias = max(float(squared_bias), 0.0)
    loss = rule.loss(np.array([squared_bias]), np.array([variance]))
    return Choice(method, setting, squared_bias, float(variance), float(loss[0]))
