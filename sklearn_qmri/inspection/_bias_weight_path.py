"""Bias and noise along the weight of the bias."""

from ._figure import plain_log_axis
from ._path import PathDisplay, mean_paths


class BiasWeightPathDisplay(PathDisplay):
    """Bias, noise and error of each parameter against the weight of the bias.

    Parameters
    ----------
    bias_weights : ndarray of shape (n_weights,)
        Weights of the squared bias, from 1 on; their axis is logarithmic.
    bias, std, rmse : ndarrays of shape (n_weights, n_parameters)
        Values in the units of the parameters. For several folds, root mean squares over folds.
    parameters : sequence of Parameter
        Names and units, e.g. ``signal_model.parameters``.
    bias_weight : float or ndarray of shape (n_parameters,), default=None
        Chosen weight, drawn as a vertical line.
    limits : dict of {str: ndarray of shape (n_parameters,)}, default=None
        Values to draw as horizontal lines, by name: a Cramer-Rao bound, or the noise of another
        estimator.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (n_parameters,)
        Panels, set by `plot`.

    See Also
    --------
    BiasWeightPathDisplay.from_estimator : From a fitted `BiasConstrainedNetRegressorCV`.
    AlphaPathDisplay : The same along the label axis.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.inspection import BiasWeightPathDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> bias, std = np.array([[0.1, 0.2], [0.0, 0.1]]), np.array([[0.1, 0.1], [0.2, 0.3]])
    >>> display = BiasWeightPathDisplay(
    ...     np.array([1.0, 30.0]), bias, std, np.hypot(bias, std), ADC([0, 1000]).parameters
    ... )
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['S0 (signal)', 'D (um^2/ms)']
    """

    def __init__(self, bias_weights, bias, std, rmse, parameters, bias_weight=None, limits=None):
        self.bias_weights = bias_weights
        self.bias = bias
        self.std = std
        self.rmse = rmse
        self.parameters = parameters
        self.bias_weight = bias_weight
        self.limits = limits

    @classmethod
    def from_estimator(cls, estimator, *, limits=None):
        """Draw the path of a fitted `BiasConstrainedNetRegressorCV`.

        Parameters
        ----------
        estimator : fitted BiasConstrainedNetRegressorCV
            Estimator whose `bias_path_`, `std_path_` and `rmse_path_` are drawn.
        limits : dict of {str: ndarray of shape (n_parameters,)}, default=None
            Values to draw as horizontal lines, by name.

        Returns
        -------
        BiasWeightPathDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        parameters = estimator.signal_model_.parameters
        paths, chosen = mean_paths(estimator), estimator.bias_weight_
        return cls(estimator.bias_weights_, *paths, parameters, chosen, limits).plot()

    def _path(self):
        return self.bias_weights, self.bias_weight

    def _finish(self, ax):
        ax.set_xlabel("weight w of the squared bias")
        plain_log_axis(ax.xaxis)
