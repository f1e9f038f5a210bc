"""A learnt prior beside the wide one."""

import numpy as np

from ..dictionary import amplitude_of
from ._figure import import_matplotlib, label

_BINS = 24  # per axis


class PriorDisplay:
    """Density of a learnt prior for each pair of parameters, beside the wide prior.

    Panels on the diagonal have the density of one parameter: learnt in blue, wide in grey. Those
    below have the learnt density of two; the wide prior is even all over each panel.

    Parameters
    ----------
    tissues : ndarray of shape (n_tissues, n_shown)
        Values of the parameters.
    weights : ndarray of shape (n_tissues,)
        Shares of the tissues, with that of the wide prior.
    wide : ndarray of shape (2, n_shown)
        Ranges of the wide prior.
    parameters : sequence of Parameter
        Names and units.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure, set by `plot`.
    axes_ : ndarray of matplotlib Axes of shape (n_shown, n_shown)
        Panels, set by `plot`.

    See Also
    --------
    sklearn_qmri.datasets.learn_prior : Learns the prior.

    Examples
    --------
    >>> from sklearn_qmri.datasets import learn_prior, make_signals
    >>> from sklearn_qmri.inspection import PriorDisplay
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 50, 100, 200, 400, 800])
    >>> X, _ = make_signals(model, 500, snr=30, prior={"D": (0.9, 1.1)}, random_state=0)
    >>> prior = learn_prior(model, X, sigma=1 / 30, n_atoms=1024, random_state=0)
    >>> PriorDisplay.from_prior(prior).axes_.shape
    (3, 3)
    """

    def __init__(self, tissues, weights, wide, parameters):
        self.tissues = tissues
        self.weights = weights
        self.wide = wide
        self.parameters = parameters

    @classmethod
    def from_prior(cls, prior, *, axes=None):
        """Draw a prior, without its amplitude.

        Parameters
        ----------
        prior : WeightedPrior
            Prior, as `learn_prior` returns it.
        axes : array of matplotlib Axes of shape (n_shown, n_shown), default=None
            Panels. None: a new figure.

        Returns
        -------
        PriorDisplay
            Display that is already drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        model = prior.signal_model
        tissues, weights, wide = prior.checked(model)
        shown = [j for j in range(len(model.parameters)) if j != amplitude_of(model)]
        # Tissues fill the ranges evenly, so that equal weights stand for the wide prior.
        weights = (1 - prior.floor) * weights + prior.floor / len(weights)
        chosen = [model.parameters[j] for j in shown]
        return cls(tissues[:, shown], weights, wide[:, shown], chosen).plot(axes=axes)

    def plot(self, *, axes=None):
        """Draw the panels.

        Parameters
        ----------
        axes : array of matplotlib Axes of shape (n_shown, n_shown), default=None
            Panels. None: a new figure.

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
        if axes is None:
            _, axes = plt.subplots(n, n, figsize=(2.6 * n, 2.6 * n), layout="constrained")
        self.axes_ = np.atleast_2d(axes)
        self.figure_ = self.axes_[0, 0].figure
        edges = [np.linspace(*ends, _BINS + 1) for ends in self.wide.T]
        for i in range(n):
            for j in range(n):
                self._panel(self.axes_[i, j], i, j, edges)
        for j, p in enumerate(self.parameters):
            self.axes_[-1, j].set_xlabel(label(p))
            if j:
                self.axes_[j, 0].set_ylabel(label(p))
        return self

    def _panel(self, ax, i, j, edges):
        if j > i:
            ax.set_visible(False)
        elif i == j:
            # Density in units of that of the wide prior, which is 1.
            density, _ = np.histogram(self.tissues[:, j], edges[j], weights=self.weights)
            ax.stairs(density * _BINS, edges[j], fill=True, color="tab:blue")
            ax.axhline(1, color="0.6", linewidth=1)
            ax.set(xlim=self.wide[:, j], yticks=[])
        else:
            density, _, _ = np.histogram2d(
                self.tissues[:, j], self.tissues[:, i], (edges[j], edges[i]), weights=self.weights
            )
            # Roots, so that rare tissue is visible beside common tissue.
            ax.pcolormesh(edges[j], edges[i], np.sqrt(density.T), cmap="Blues", rasterized=True)
