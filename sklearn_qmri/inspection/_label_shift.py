"""Shift between the truth and mean predictions, in the plane of two parameters."""

import numpy as np

from ..tissues import number_tissues
from ._figure import import_matplotlib, label


class LabelShiftDisplay:
    """Arrows from true tissues to their mean predictions, with one panel per estimator.

    Corresponds to figures 4 and 9 of arXiv 2205.05587. The arrows show the bias as a field, and
    whether it points to the mean of the training tissues.

    Parameters
    ----------
    true : ndarray of shape (n_tissues, 2)
        True values of the two parameters.
    predicted : dict of {str: ndarray of shape (n_tissues, 2)}
        Mean predictions by estimator.
    parameters : pair of Parameter
        Names and units of the axes.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (n_estimators,)
        Panels, set by `plot`.

    See Also
    --------
    LabelShiftDisplay.from_predictions : From predictions on noise repeats.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.inspection import LabelShiftDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> _, y = make_signals(model, 200, snr=30, random_state=0)
    >>> shrunk = {"shrunk": y.mean(axis=0) + (y - y.mean(axis=0)) / 2}
    >>> display = LabelShiftDisplay.from_predictions(y, shrunk, model, ["S0", "D"], n_cells=2)
    >>> display.true.shape
    (4, 2)
    """

    def __init__(self, true, predicted, parameters):
        self.true = true
        self.predicted = predicted
        self.parameters = parameters

    @classmethod
    def from_predictions(cls, y_true, predictions, signal_model, parameters, *, n_cells=8):
        """Average predictions over noise repeats and neighbouring tissues, then draw.

        Parameters
        ----------
        y_true : array-like of shape (n_samples, n_parameters)
            True parameters.
        predictions : dict of {str: array-like of shape (n_samples, n_parameters)}
            Predictions by estimator; rows with NaN are excluded.
        signal_model : SignalModel
            Signal model with the names of the parameters.
        parameters : pair of str
            Names of the parameters on the two axes of the plane.
        n_cells : int, default=8
            Number of cells per axis. All tissues in one cell are drawn as one arrow.

        Returns
        -------
        LabelShiftDisplay
            Display that is already drawn.

        Raises
        ------
        ValueError
            If `parameters` are not two names of parameters.
        ImportError
            If matplotlib is not installed.
        """
        names = signal_model.parameter_names
        if len(parameters) != 2 or not set(parameters) <= set(names):
            raise ValueError(f"parameters expects two of {list(names)}, got {parameters!r}.")
        columns = [names.index(name) for name in parameters]
        plane = np.asarray(y_true, dtype=np.float64)[:, columns]
        low, high = plane.min(axis=0), plane.max(axis=0)
        width = np.where(high > low, high - low, 1.0)
        # The largest value would be in a cell of its own, beyond the last one.
        cells = np.minimum((plane - low) / width * n_cells, n_cells - 1).astype(int)
        group = number_tissues(cells.astype(np.float64))

        def average(values):
            """Mean over the rows of each cell, (n_tissues, 2); NaN where all have failed."""
            kept = np.isfinite(values).all(axis=1)
            count = np.bincount(group[kept], minlength=group.max() + 1)
            sums = [np.bincount(group[kept], v, group.max() + 1) for v in values[kept].T]
            with np.errstate(invalid="ignore"):
                return np.stack(sums, axis=1) / count[:, None]

        predicted = {
            name: average(np.asarray(y, dtype=np.float64)[:, columns])
            for name, y in predictions.items()
        }
        pair = [signal_model.parameters[j] for j in columns]
        return cls(average(plane), predicted, pair).plot()

    def plot(self, *, axes=None):
        """Draw one panel per estimator.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One panel per estimator. None: a new figure.

        Returns
        -------
        self : LabelShiftDisplay
            This display, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_matplotlib()
        n = len(self.predicted)
        if axes is None:
            _, axes = plt.subplots(
                1, n, figsize=(3.6 * n, 3.6), sharex=True, sharey=True, layout="constrained"
            )
        self.axes_ = np.atleast_1d(axes)
        self.figure_ = self.axes_[0].figure
        for ax, (name, predicted) in zip(self.axes_, self.predicted.items(), strict=True):
            shift = predicted - self.true
            # With these units and a scale of 1, an arrow ends exactly at the mean prediction.
            ax.quiver(
                *self.true.T, *shift.T, angles="xy", scale_units="xy", scale=1, width=0.005,
                color="tab:blue",
            )  # fmt: skip
            ax.plot(*self.true.T, ".", color="black", markersize=3)
            ax.set(title=name, xlabel=label(self.parameters[0]))
        self.axes_[0].set_ylabel(label(self.parameters[1]))
        return self
