"""Bias and noise along the label axis."""

import numpy as np

from ._figure import import_matplotlib, label, legend


class AlphaPathDisplay:
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
        # Root mean squares over folds, (n_alphas, n_parameters).
        paths = (
            np.sqrt(np.mean(path**2, axis=1))
            for path in (estimator.bias_path_, estimator.std_path_, estimator.rmse_path_)
        )
        parameters = estimator.signal_model_.parameters
        display = cls(estimator.alphas_, *paths, parameters, estimator.alpha_, limits)
        return display.plot()

    def plot(self, *, axes=None):
        """Draw one panel per parameter.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One panel per parameter. None: a new figure.

        Returns
        -------
        self : AlphaPathDisplay
            This display, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_matplotlib()
        n = len(self.parameters)
        own = axes is None
        if own:
            _, axes = plt.subplots(1, n, figsize=(3.3 * n, 3.3), layout="constrained")
        self.axes_ = np.atleast_1d(axes)
        self.figure_ = self.axes_[0].figure
        chosen = None if self.alpha is None else np.broadcast_to(self.alpha, n)
        for j, (ax, parameter) in enumerate(zip(self.axes_, self.parameters, strict=True)):
            for values, name, style in (
                (self.bias, "RMS bias", "-"),
                (self.std, "noise std", "--"),
                (self.rmse, "RMSE", ":"),
            ):
                ax.plot(self.alphas, values[:, j], style, label=name)
            for k, (name, limit) in enumerate((self.limits or {}).items()):
                # A string of a number is a shade of gray in matplotlib, lighter for each limit.
                ax.axhline(limit[j], color=f"{0.3 + 0.25 * k}", linewidth=1, label=name)
            if chosen is not None:
                ax.axvline(chosen[j], color="black", linewidth=0.8)
            ax.set(xlabel="alpha (0: truth, 1: MLE labels)", title=label(parameter), ylim=(0, None))
        self.axes_[0].set_ylabel("units of the parameter")
        legend(self.figure_, self.axes_[-1], own)
        return self
