"""Methods in the plane of bias and noise."""

import numpy as np

from ._figure import import_matplotlib, label, legend

# Settings that are labelled along the paths.
_PRETRAINED = "pretrained, bias weight "  # start of the names of its rows in a comparison
_MARKED = {
    "alpha": (0.0, 0.25, 0.5, 0.75, 1.0),
    "bias weight": (1.0, 4.0, 10.0, 30.0),
    _PRETRAINED.strip(): (1.0, 30.0),
}
_MARKERS = "sDv^XP<>"
# Colours of methods, and of paths.
_COLORS = ("C1", "C2", "C4", "C5", "C6", "C7", "C8")
_PATH_COLORS = ("C0", "C3", "C9")


class TradeOffDisplay:
    """Noise of each method against its bias, with the paths of methods that have a setting.

    The root mean squared error of a method is its distance from the origin. The position of a
    method therefore shows how much of its error is bias and how much is noise.

    Parameters
    ----------
    paths : dict of {str: tuple of ndarray}
        Settings (n_settings,), bias and noise (n_settings, n_parameters) along a path, by the name
        of the setting, such as "alpha" or "bias weight". Bias is the root mean square over tissues,
        and both are in the units of the parameters.
    methods : dict of {str: pair of ndarray of shape (n_parameters,)}
        Bias and noise of other methods by name.
    parameters : sequence of Parameter
        Names and units, e.g. ``signal_model.parameters``.
    chosen : sequence of (float, float) or None, default=None
        Bias and noise of the recommended method for each parameter; None if there is none.
    bound : ndarray of shape (n_parameters,), default=None
        Smallest standard deviation of unbiased estimators.

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
    >>> paths = {"alpha": (np.array([0.0, 1.0]), bias, std)}
    >>> methods = {"mle": (np.array([0.0, 0.1]), np.array([0.2, 0.4]))}
    >>> display = TradeOffDisplay(paths, methods, ADC([0, 1000]).parameters)
    >>> [ax.get_title() for ax in display.plot().axes_]
    ['S0 (signal)', 'D (um^2/ms)']
    """

    def __init__(self, paths, methods, parameters, chosen=None, bound=None):
        self.paths = paths
        self.methods = methods
        self.parameters = parameters
        self.chosen = chosen
        self.bound = bound

    @classmethod
    def from_comparison(cls, comparison, signal_model):
        """Draw the result of `sklearn_qmri.compare.compare_methods`, over all its tissues.

        Parameters
        ----------
        comparison : Bunch
            Result of the comparison. Its first tissue is drawn, which is "all" if there are
            several.
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
        path, frontier = comparison.path, comparison.frontier
        paths = {
            "alpha": (path.alphas, path.rms_bias, path.std),
            "bias weight": (frontier.bias_weights, frontier.rms_bias, frontier.std),
        }
        # Pairs of bias and noise by method, in the order of the parameters. The bound has no bias.
        first = comparison.table[0]["tissue"]
        figures = {}
        for row in comparison.table:
            if row["tissue"] == first and not row["method"].startswith(tuple(paths)):
                pair = [np.nan if row[k] is None else row[k] for k in ("rms_bias", "std")]
                figures.setdefault(row["method"], []).append(pair)
        bound = np.array(figures.pop("Cramer-Rao bound"))[:, 1]
        if own := [name for name in figures if name.startswith(_PRETRAINED)]:
            bias, std = np.array([figures.pop(name) for name in own]).transpose(2, 0, 1)
            weights = np.array([float(name.removeprefix(_PRETRAINED)) for name in own])
            paths[_PRETRAINED.strip()] = weights, bias, std
        methods = {name: tuple(np.array(pairs).T) for name, pairs in figures.items()}
        chosen = [
            None if row["method"] is None else (row["rms_bias"], row["std"])
            for row in comparison.recommendation
        ]
        return cls(paths, methods, signal_model.parameters, chosen, bound).plot()

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
        for color, (name, path) in zip(_PATH_COLORS, self.paths.items(), strict=False):
            _draw_path(ax, name, path[0], path[1][:, j], path[2][:, j], color)
        for k, (name, (bias, std)) in enumerate(self.methods.items()):
            ax.plot(
                bias[j], std[j], _MARKERS[k % len(_MARKERS)], color=_COLORS[k % len(_COLORS)],
                markersize=7, label=name, clip_on=False,
            )  # fmt: skip
        if self.chosen is not None:
            # Without a choice, NaN draws nothing but still makes the entry of the legend.
            place = (np.nan, np.nan) if self.chosen[j] is None else self.chosen[j]
            ax.plot(
                *place, "o", markersize=13, markerfacecolor="none", color="black",
                label="recommended",
            )  # fmt: skip
        if self.bound is not None and np.isfinite(self.bound[j]):
            ax.axhline(
                self.bound[j], color="gray", linestyle="--", linewidth=1,
                label="Cramer-Rao bound (unbiased)",
            )  # fmt: skip
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


def _draw_path(ax, name, settings, bias, std, color):
    """Draw the path of one parameter, with some of its settings labelled."""
    ax.plot(bias, std, color=color, label=f"{name} path")
    for setting in _MARKED.get(name, ()):
        k = np.argmin(np.abs(settings - setting))
        ax.plot(bias[k], std[k], ".", color=color)
        ax.annotate(
            f"{setting:g}", (bias[k], std[k]), (4, 3), textcoords="offset points", fontsize=8,
            color=color,
        )  # fmt: skip
