"""Parameter maps side by side."""

import numpy as np

from ._figure import import_matplotlib, label

# Perceptually uniform colour maps. Each parameter gets the next one.
_COLOR_MAPS = ("gray", "magma", "viridis", "cividis")
# Ends of the colour scale, so that a few outliers do not determine it.
_PERCENTILES = (1, 99)


class ParameterMapDisplay:
    """Maps of several parameters by several methods, with one colour scale per parameter.

    Parameters
    ----------
    maps : dict of {str: ndarray of shape (n_rows, n_columns, n_parameters)}
        One slice per method, in display orientation; NaN outside the mask.
    parameters : sequence of Parameter
        Names and units, e.g. ``signal_model.parameters``.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (n_methods, n_parameters)
        Panels, set by `plot`.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.inspection import ParameterMapDisplay
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> truth = make_phantom(model, shape=(32, 32, 1), random_state=0).truth
    >>> ParameterMapDisplay({"truth": truth[:, :, 0]}, model.parameters).plot().axes_.shape
    (1, 2)
    """

    def __init__(self, maps, parameters):
        self.maps = maps
        self.parameters = parameters

    def plot(self, *, title=None):
        """Draw the maps.

        Parameters
        ----------
        title : str, default=None
            Title above all maps.

        Returns
        -------
        self : ParameterMapDisplay
            This display, with `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_matplotlib()
        n_rows, n_columns = len(self.maps), len(self.parameters)
        height, width = next(iter(self.maps.values())).shape[:2]
        size = (3.3 * n_columns, 3.3 * n_rows * height / width + 1.0)
        self.figure_, self.axes_ = plt.subplots(
            n_rows, n_columns, figsize=size, layout="constrained", squeeze=False
        )
        for j, parameter in enumerate(self.parameters):
            # All methods share the colour scale, so that their maps can be compared.
            values = np.concatenate([m[..., j].ravel() for m in self.maps.values()])
            low, high = np.nanpercentile(values, _PERCENTILES)
            colors = plt.get_cmap(_COLOR_MAPS[j % len(_COLOR_MAPS)]).with_extremes(bad="white")
            for ax, (method, volume) in zip(self.axes_[:, j], self.maps.items(), strict=True):
                shown = ax.imshow(
                    volume[..., j], vmin=low, vmax=high, cmap=colors, interpolation="none"
                )
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                if j == 0:
                    ax.set_ylabel(method, fontsize=11)
            self.axes_[0, j].set_title(label(parameter), fontsize=11)
            self.figure_.colorbar(
                shown, ax=self.axes_[:, j], location="bottom", fraction=0.05, pad=0.02
            )
        if title:
            self.figure_.suptitle(title, fontsize=12)
        return self
