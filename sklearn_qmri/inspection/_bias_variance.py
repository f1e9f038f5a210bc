"""Bias, noise and error over the range of a parameter."""

import numpy as np

from ..metrics import bias_curve
from ._figure import import_matplotlib, label, legend

_MEASURES = {"bias": "bias", "std": "noise std", "rmse": "RMSE"}


class BiasVarianceDisplay:
    """Bias, noise and error of several estimators against the true value of a parameter.

    Corresponds to figures 2 and 3 of arXiv 2205.05587.

    Parameters
    ----------
    curves : dict of {str: list of Bunch}
        Results of `bias_curve` for each parameter, by estimator.
    parameters : sequence of Parameter
        Parameters of the curves, with names and units.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (3, n_parameters)
        Panels, set by `plot`.

    See Also
    --------
    BiasVarianceDisplay.from_predictions : From predictions on noise repeats.

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.inspection import BiasVarianceDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> X, y = make_signals(model, 50, snr=30, n_repeats=4, random_state=0)
    >>> estimators = {"MLE": MLEEstimator(model, sigma=1 / 30).fit(X)}
    >>> BiasVarianceDisplay.from_estimators(estimators, X, y, model, n_bins=5).axes_.shape
    (3, 2)
    """

    def __init__(self, curves, parameters):
        self.curves = curves
        self.parameters = parameters

    @classmethod
    def from_estimators(cls, estimators, X, y, signal_model, *, n_bins=10):
        """Predict with fitted estimators, then draw.

        Parameters
        ----------
        estimators : dict of {str: fitted estimator}
            Estimators by name.
        X : array-like of shape (n_samples, n_measurements)
            Noise repeats of tissues, for example from ``make_signals(..., n_repeats=...)``.
        y : array-like of shape (n_samples, n_parameters)
            True parameters.
        signal_model : SignalModel
            Signal model with the names of the parameters.
        n_bins : int, default=10
            Number of bins, see `bias_curve`.

        Returns
        -------
        BiasVarianceDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            Same as `bias_curve`.
        """
        predictions = {name: e.predict(X) for name, e in estimators.items()}
        return cls.from_predictions(y, predictions, signal_model, n_bins=n_bins)

    @classmethod
    def from_predictions(cls, y_true, predictions, signal_model, *, n_bins=10):
        """Measure predictions on noise repeats, then draw.

        Parameters
        ----------
        y_true : array-like of shape (n_samples, n_parameters)
            True parameters; noise repeats are identical rows.
        predictions : dict of {str: array-like of shape (n_samples, n_parameters)}
            Predictions by estimator; rows with NaN are excluded.
        signal_model : SignalModel
            Signal model with the names of the parameters.
        n_bins : int, default=10
            Number of bins, see `bias_curve`.

        Returns
        -------
        BiasVarianceDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            Same as `bias_curve`.
        """
        parameters = signal_model.parameters
        curves = {
            name: [bias_curve(y_true, y, j, n_bins=n_bins) for j in range(len(parameters))]
            for name, y in predictions.items()
        }
        return cls(curves, parameters).plot()

    def plot(self, *, axes=None):
        """Draw a panel for each measure and parameter.

        Parameters
        ----------
        axes : array-like of matplotlib Axes of shape (3, n_parameters), default=None
            Rows of panels for bias, noise and error. None: a new figure.

        Returns
        -------
        self : BiasVarianceDisplay
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
            size = (3.3 * n, 7.5)
            _, axes = plt.subplots(
                3, n, figsize=size, sharex="col", layout="constrained", squeeze=False
            )
        self.axes_ = np.asarray(axes)
        self.figure_ = self.axes_[0, 0].figure
        for row, (measure, name) in zip(self.axes_, _MEASURES.items(), strict=True):
            for j, (ax, parameter) in enumerate(zip(row, self.parameters, strict=True)):
                for estimator, curves in self.curves.items():
                    ax.plot(curves[j].center, curves[j][measure], marker=".", label=estimator)
                if measure == "bias":
                    ax.axhline(0, color="black", linewidth=0.8)
                ax.set_ylabel(f"{name} of {label(parameter)}")
        for ax, parameter in zip(self.axes_[-1], self.parameters, strict=True):
            ax.set_xlabel(f"true {label(parameter)}")
        legend(self.figure_, self.axes_[0, -1], own)
        return self
