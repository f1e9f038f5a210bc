"""Methods in the plane of bias and noise."""

import numpy as np

from ._figure import import_matplotlib, label, legend

# Alphas that are labelled along the alpha path, and weights along the frontier.
_ALPHAS = {f"{alpha:g}": alpha for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)}
_WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
# Places of their names, which do not meet where the two curves are close.
_ABOVE = {"xytext": (4, 3)}
_BELOW = {"xytext": (-3, -4), "horizontalalignment": "right", "verticalalignment": "top"}
_MARKERS = "sDv^XP<>"


class TradeOffDisplay:
    """Noise of each method against its bias, with the alpha path and the frontier.

    The root mean squared error of a method is its distance from the origin. The position of a
    method therefore shows how much of its error is bias and how much is noise. The alpha path is
    that of the blends of the two labels; the frontier is that of a network trained on the variance
    and w times the squared bias, along w.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        Values of alpha, from 0 to 1.
    bias, std : ndarrays of shape (n_alphas, n_parameters)
        Root mean square bias and noise along the alpha path, in the units of the parameters.
    methods : dict of {str: pair of ndarray of shape (n_parameters,)}
        Bias and noise of other methods by name.
    parameters : sequence of Parameter
        Names and units, e.g. ``signal_model.parameters``.
    alpha : sequence of float or None, default=None
        Chosen alpha of each parameter; None if there is none.
    bound : ndarray of shape (n_parameters,), default=None
        Smallest standard deviation of unbiased estimators.
    frontier : Bunch, default=None
        `bias_weights` (n_weights,) in ascending order, and `rms_bias` and `std` (n_weights,
        n_parameters) of predictions at these weights, in the units of the parameters. None: the
        frontier is not drawn.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (n_parameters,)
        Panels, set by `plot`.

    See Also
    --------
    TradeOffDisplay.from_comparison : From `sklearn_qmri.compare.compare_methods`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.inspection import TradeOffDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> bias, std = np.array([[0.1, 0.2], [0.0, 0.1]]), np.array([[0.1, 0.1], [0.2, 0.3]])
    >>> methods = {"MLE": (np.array([0.0, 0.1]), np.array([0.2, 0.4]))}
    >>> display = TradeOffDisplay(
    ...     np.array([0.0, 1.0]), bias, std, methods, ADC([0, 1000]).parameters
    ... )
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['S0 (signal)', 'D (um^2/ms)']
    """

    def __init__(
        self, alphas, bias, std, methods, parameters, alpha=None, bound=None, frontier=None
    ):
        self.alphas = alphas
        self.bias = bias
        self.std = std
        self.methods = methods
        self.parameters = parameters
        self.alpha = alpha
        self.bound = bound
        self.frontier = frontier

    @classmethod
    def from_comparison(cls, comparison, signal_model):
        """Draw the result of `sklearn_qmri.compare.compare_methods`, over all its tissues.

        Parameters
        ----------
        comparison : Bunch
            Result of the comparison. Its first tissue is drawn, which is "all" if there are
            several. The frontier is drawn if there is an entry `frontier`.
        signal_model : SignalModel
            Signal model of the comparison.

        Returns
        -------
        TradeOffDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        figures = _figures_of_methods(comparison.table)
        _, bound = figures.pop("Cramer-Rao bound")
        alpha = [row["alpha"] for row in comparison.recommendation]
        path = comparison.path
        display = cls(
            path.alphas, path.rms_bias, path.std, figures, signal_model.parameters, alpha, bound,
            comparison.get("frontier"),
        )  # fmt: skip
        return display.plot()

    def plot(self, *, axes=None):
        """Draw one panel per parameter.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One panel per parameter. None: a new figure.

        Returns
        -------
        self : TradeOffDisplay
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
            _, axes = plt.subplots(1, n, figsize=(3.4 * n, 4), layout="constrained")
        self.axes_ = np.atleast_1d(axes)
        self.figure_ = self.axes_[0].figure
        for j, ax in enumerate(self.axes_):
            self._draw(ax, j)
        legend(self.figure_, self.axes_[-1], own)
        return self

    def _draw(self, ax, j):
        """Draw the panel of parameter j."""
        path = self.bias[:, j], self.std[:, j]
        _draw_path(ax, *path, self.alphas, _ALPHAS, color="tab:blue", label="alpha path")
        if self.frontier is not None:
            self._draw_frontier(ax, j)
        for k, (name, (bias, std)) in enumerate(self.methods.items()):
            marker = _MARKERS[k % len(_MARKERS)]
            ax.plot(
                bias[j], std[j], marker, color=f"C{k + 1}", markersize=7, label=name, clip_on=False
            )
        if self.alpha is not None:
            # Without an alpha, NaN draws nothing but still makes the entry of the legend.
            place = [np.nan, np.nan]
            if self.alpha[j] is not None:
                place = [np.interp(self.alpha[j], self.alphas, values) for values in path]
            ax.plot(
                *place, "o", markersize=13, markerfacecolor="none", color="black",
                label="recommended alpha",
            )  # fmt: skip
        if self.bound is not None and np.isfinite(self.bound[j]):
            ax.axhline(
                self.bound[j], color="gray", linestyle="--", linewidth=1,
                label="Cramer-Rao bound (unbiased)",
            )  # fmt: skip
        self._finish(ax, j)

    def _draw_frontier(self, ax, j):
        """Draw the frontier of parameter j."""
        weights = np.asarray(self.frontier.bias_weights)
        # The ends of a path may be those of the marks up to rounding.
        low, high = weights[0] * (1 - 1e-9), weights[-1] * (1 + 1e-9)
        marked = {f"{w:g}": np.log(w) for w in _WEIGHTS if low <= w <= high}
        # Weights are evenly spread on a logarithmic axis, so their marks are interpolated on it.
        path = self.frontier.rms_bias[:, j], self.frontier.std[:, j]
        _draw_path(
            ax, *path, np.log(weights), marked, _BELOW, color="black", label="frontier (w)"
        )  # fmt: skip

    def _finish(self, ax, j):
        """Scale and name the axes of parameter j."""
        # From the origin, as the distance from it is the error.
        ax.set(
            xlim=(0, 1.12 * ax.get_xlim()[1]), ylim=(0, 1.05 * ax.get_ylim()[1]),
            xlabel="RMS bias", title=label(self.parameters[j]),
        )  # fmt: skip
        if j == 0:
            ax.set_ylabel("noise std")
        self._circles(ax)

    @staticmethod
    def _circles(ax):
        """Draw quarter circles of equal root mean squared error, behind everything else."""
        angle = np.linspace(0, np.pi / 2, 60)
        x_limit, y_limit = ax.get_xlim(), ax.get_ylim()
        for radius in ax.get_yticks():
            if radius > 0:
                ax.plot(
                    radius * np.cos(angle), radius * np.sin(angle), color="0.9", linewidth=0.8,
                    zorder=0,
                )  # fmt: skip
        ax.set(xlim=x_limit, ylim=y_limit)


def _figures_of_methods(table):
    """Pairs (bias, noise) of shape (n_parameters,) by method, of the first tissue of a table.

    NaN where a figure is missing: the Cramer-Rao bound has no bias. The alphas are left out, which
    the path shows.
    """
    figures = {}
    for row in table:
        if row["tissue"] == table[0]["tissue"] and not row["method"].startswith("alpha"):
            pair = [np.nan if row[k] is None else row[k] for k in ("rms_bias", "std")]
            figures.setdefault(row["method"], []).append(pair)
    return {name: tuple(np.array(pairs).T) for name, pairs in figures.items()}


def _draw_path(ax, bias, std, settings, marked, text=_ABOVE, *, color, label):
    """Draw bias and noise along a setting, with dots and names at the marked values of it.

    `marked` are the values by name, `text` the keywords that place the names.
    """
    ax.plot(bias, std, color=color, label=label)
    for name, value in marked.items():
        place = [np.interp(value, settings, values) for values in (bias, std)]
        ax.plot(*place, ".", color=color)
        ax.annotate(
            name, place, textcoords="offset points", fontsize=8, color=color, **text
        )  # fmt: skip
