"""Parts that the displays of paths share: bias, noise and error along values of one setting."""

from abc import ABC, abstractmethod

import numpy as np

from ._figure import import_matplotlib, label, legend


def mean_paths(estimator):
    """Paths of a cross-validated estimator, root mean squares over folds.

    Parameters
    ----------
    estimator : fitted estimator
        Estimator with `bias_path_`, `std_path_` and `rmse_path_`.

    Returns
    -------
    list of ndarray of shape (n_settings, n_parameters)
        Bias, noise and error.
    """
    paths = estimator.bias_path_, estimator.std_path_, estimator.rmse_path_
    return [np.sqrt(np.mean(path**2, axis=1)) for path in paths]


class PathDisplay(ABC):
    """Base class of displays of `bias`, `std` and `rmse` along a path of settings."""

    @abstractmethod
    def _path(self):
        """Values of the setting along the path, and the chosen one of each parameter or None."""

    @abstractmethod
    def _finish(self, ax):
        """Name the axis of the setting, and scale it."""

    def plot(self, *, axes=None):
        """Draw one panel per parameter.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, default=None
            One panel per parameter. None: a new figure.

        Returns
        -------
        self : object
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
        for j, (ax, parameter) in enumerate(zip(self.axes_, self.parameters, strict=True)):
            self._draw(ax, j)
            self._finish(ax)
            ax.set(title=label(parameter), ylim=(0, None))
        self.axes_[0].set_ylabel("units of the parameter")
        legend(self.figure_, self.axes_[-1], own)
        return self

    def _draw(self, ax, j):
        """Draw the lines of parameter j."""
        settings, chosen = self._path()
        for values, name, style in (
            (self.bias, "RMS bias", "-"),
            (self.std, "noise std", "--"),
            (self.rmse, "RMSE", ":"),
        ):
            ax.plot(settings, values[:, j], style, label=name)
        for k, (name, limit) in enumerate((self.limits or {}).items()):
            # A string of a number is a shade of gray in matplotlib, lighter for each limit.
            ax.axhline(limit[j], color=f"{0.3 + 0.25 * k}", linewidth=1, label=name)
        if chosen is not None:
            chosen = np.broadcast_to(chosen, len(self.parameters))
            ax.axvline(chosen[j], color="black", linewidth=0.8)
