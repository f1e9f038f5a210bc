"""Linear signals with Gaussian noise: a model learnt from data, multivariate calibration."""

import numpy as np
import torch
from sklearn.base import clone

from .._arrays import as_floats
from ._base import SignalModel
from ._parameter import Parameter


class LinearGaussian(SignalModel):
    """Signals that are linear in the parameters, ``x = theta @ coef + intercept``.

    Estimators with ``signal_model=None`` fit it to their training pairs. Its maximum-likelihood
    estimate under Gaussian noise has a closed form, `start`.

    Parameters
    ----------
    coef : array-like of shape (n_parameters, n_measurements)
        Change of the signals with each parameter.
    intercept : array-like of shape (n_measurements,)
        Signals where all parameters are 0.
    center : array-like of shape (n_parameters,)
        Parameters that estimates are closest to where the signal does not identify them.
    half_range : array-like of shape (n_parameters,)
        Half-width of the prior around `center`.

    References
    ----------
    Classical calibration: Brown, J. R. Stat. Soc. B 1982;44:287.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import LinearGaussian
    >>> model = LinearGaussian.from_pairs(X=[[1.0, 0.0], [3.0, 4.0]], y=[[0.0], [1.0]])
    >>> model.simulate([[0.5]])
    array([[2., 2.]])
    """

    magnitude = False

    def __init__(self, coef, intercept, center, half_range):
        self.coef = coef
        self.intercept = intercept
        self.center = center
        self.half_range = half_range

    @classmethod
    def from_pairs(cls, X, y):
        """Fit signals to their parameters, by least squares.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_measurements)
            Finite signals.
        y : array-like of shape (n_samples, n_parameters)
            Finite parameters.

        Returns
        -------
        LinearGaussian
            Model with `center` at the mean of y, and a prior that includes all of y.
        """
        # Centred data need no intercept in the least squares: the means fit each other.
        X, y = as_floats(X), as_floats(y)
        center = y.mean(axis=0)
        mean_signal = X.mean(axis=0)
        coef = np.linalg.lstsq(y - center, X - mean_signal, rcond=None)[0]
        half_range = np.abs(y - center).max(axis=0)
        return cls(
            coef, mean_signal - center @ coef, center, np.where(half_range > 0, half_range, 1)
        )

    @property
    def parameters(self):
        """Unbounded parameters ``y0, y1, ...``."""
        infinite = (-np.inf, np.inf)
        return tuple(
            Parameter(f"y{j}", "", infinite, (c - h, c + h), scale=h)
            for j, (c, h) in enumerate(zip(self.center, self.half_range, strict=True))
        )

    def _tensors(self, like):
        return (
            torch.tensor(as_floats(a), dtype=like.dtype, device=like.device)
            for a in (self.coef, self.intercept, self.center)
        )

    def signal(self, theta):
        coef, intercept, _ = self._tensors(theta)
        return coef.T @ theta + intercept[:, None]

    def jacobian(self, theta):
        coef, _, _ = self._tensors(theta)
        return self.signal(theta), coef[:, :, None].expand(-1, -1, theta.shape[1])

    def start(self, signals):
        # The pseudo-inverse gives the least-squares parameters of the smallest norm. Taken from the
        # center, that is the solution closest to it.
        coef, intercept, center = self._tensors(signals)
        expected = intercept + coef.T @ center
        return torch.linalg.pinv(coef.T) @ (signals - expected[:, None]) + center[:, None]


def resolve_model(signal_model, X, y):
    """Copy of a signal model or, if that is None, a `LinearGaussian` of training pairs.

    Parameters
    ----------
    signal_model : SignalModel or None
        Signal model, same as in the estimators.
    X : array-like of shape (n_samples, n_measurements)
        Signals. They and y are only used without a signal model.
    y : array-like of shape (n_samples, n_parameters)
        Their parameters.

    Returns
    -------
    SignalModel
        A `LinearGaussian` if there was none.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import ADC, resolve_model
    >>> resolve_model(ADC([0, 1000]), None, None)
    ADC(b_values=[0, 1000])
    """
    if signal_model is None:
        return LinearGaussian.from_pairs(X, y)
    return clone(signal_model, safe=False)
