"""Bias and noise along the label axis."""

from ._path import PathDisplay, mean_paths


class AlphaPathDisplay(PathDisplay):
    """Bias, noise and error of each parameter against alpha.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Values of alpha, from 0 to 1.
    bias, std, rmse : ndarrays of shape (n_alphas, n_parameters)
        Values in the units of the parameters. For several folds, root mean squares over folds.
    parameters : sequence of Parameter
        Names and units, e.g. ``signal_model.parameters``.
    alpha : float or ndarray of shape (n_parameters,), default=None
        Chosen alpha, drawn as a vertical line.
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
    AlphaPathDisplay.from_estimator : From a fitted `HybridLabelNetRegressorCV`.
    BiasWeightPathDisplay : The same against the weight of the bias.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.inspection import AlphaPathDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> bias, std = np.array([[0.1, 0.2], [0.0, 0.1]]), np.array([[0.1, 0.1], [0.2, 0.3]])
    >>> display = AlphaPathDisplay(
    ...     np.array([0.0, 1.0]), bias, std, np.hypot(bias, std), ADC([0, 1000]).parameters
    ... )
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['S0 (signal)', 'D (um^2/ms)']
    """

    def __init__(self, alphas, bias, std, rmse, parameters, alpha=None, limits=None):
        self.alphas = alphas
        self.bias = bias
        self.std = std
        self.rmse = rmse
        self.parameters = parameters
        self.alpha = alpha
        self.limits = limits

    @classmethod
    def from_estimator(cls, estimator, *, limits=None):
        """Draw the path of a fitted `HybridLabelNetRegressorCV`.

        Parameters
        ----------
        estimator : fitted HybridLabelNetRegressorCV
            Estimator whose `bias_path_`, `std_path_` and `rmse_path_` are drawn.
        limits : dict of {str: ndarray of shape (n_parameters,)}, default=None
            Values to draw as horizontal lines, by name.

        Returns
        -------
        AlphaPathDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        parameters = estimator.signal_model_.parameters
        paths = mean_paths(estimator)
        return cls(estimator.alphas_, *paths, parameters, estimator.alpha_, limits).plot()

    def _path(self):
        return self.alphas, self.alpha

    def _finish(self, ax):
        ax.set_xlabel("alpha (0: truth, 1: MLE labels)")
