"""Calibration of predicted quantiles."""

import numpy as np

from ..estimators import signal_model_of
from ..metrics import calibration_curve
from ._figure import import_matplotlib, legend


class QuantileCalibrationDisplay:
    """Share of true parameters below each predicted quantile, over the level of the quantile.

    Of calibrated predictions it is the diagonal. A curve that is flatter in the middle belongs to
    distributions that are too narrow, a steeper one to such that are too wide.

    Parameters
    ----------
    levels : ndarray of shape (n_levels,)
        Levels of the quantiles.
    observed : ndarray of shape (n_levels, n_parameters)
        Share of the rows below each of them.
    names : sequence of str
        Names of the parameters.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    ax_ : matplotlib Axes
        Panel, set by `plot`.

    See Also
    --------
    sklearn_qmri.metrics.calibration_curve : The numbers of the figure.

    Examples
    --------
    >>> from sklearn_qmri import PosteriorMeanEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.inspection import QuantileCalibrationDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> X, y = make_signals(model, 200, snr=30, random_state=0)
    >>> posterior = PosteriorMeanEstimator(model, sigma=1 / 30, random_state=0).fit(X)
    >>> display = QuantileCalibrationDisplay.from_estimator(posterior, X, y)
    >>> display.observed.shape
    (19, 2)
    """

    def __init__(self, levels, observed, names):
        self.levels = levels
        self.observed = observed
        self.names = names

    @classmethod
    def from_estimator(cls, estimator, X, y, *, levels=None, ax=None):
        """Predict quantiles, and draw their calibration.

        Parameters
        ----------
        estimator : fitted estimator
            Estimator with `predict_quantiles`.
        X : array-like of shape (n_samples, n_measurements)
            Signals.
        y : array-like of shape (n_samples, n_parameters)
            True parameters.
        levels : array-like of shape (n_levels,), default=None
            Levels of the quantiles. None: .05, .1, ..., .95.
        ax : matplotlib Axes, default=None
            Panel. None: a new figure.

        Returns
        -------
        QuantileCalibrationDisplay
            Display that is already drawn.

        Raises
        ------
        ValueError
            If shapes disagree.
        ImportError
            If matplotlib is not installed.
        """
        levels = np.arange(1, 20) / 20 if levels is None else np.asarray(levels, dtype=np.float64)
        observed, levels = calibration_curve(y, estimator.predict_quantiles(X, levels), levels)
        return cls(levels, observed, signal_model_of(estimator).parameter_names).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw a curve per parameter.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Panel. None: a new figure.

        Returns
        -------
        self : object
            This display, with `figure_` and `ax_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_matplotlib()
        own = ax is None
        if own:
            _, ax = plt.subplots(figsize=(4, 4), layout="constrained")
        order = np.argsort(self.levels)
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for name, observed in zip(self.names, np.transpose(self.observed), strict=True):
            ax.plot(np.asarray(self.levels)[order], observed[order], ".-", label=name)
        ax.set(
            xlabel="level of the quantile", ylabel="share of true values below it", aspect="equal"
        )
        self.ax_, self.figure_ = ax, ax.figure
        legend(self.figure_, ax, own)
        return self
