"""Summaries of posteriors: quantiles, intervals, samples, and any other."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state
from tqdm import tqdm

from .._solver import out_of_range
from .._torch import single_thread
from ..dictionary import WeightedTissues
from ._door import check_estimate
from ._levels import check_coverage, check_levels
from ._rows import scatter_rows
from ._sampling import WHOLE_ROWS


class PosteriorSamplesMixin:
    """Predictions beyond the mean, for estimators that summarise weighted tissues.

    The estimator has a sampler, see `_sampling`.
    """

    def predict_quantiles(self, X, quantiles, *, sigma=None):
        """Quantiles of each parameter's posterior.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        quantiles : float or array-like of shape (n_quantiles,)
            Numbers between 0 and 1, in any order.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level, see `estimate`. None: the one of `fit`.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters, n_quantiles)
            Quantiles in the order given; NaN for rows without an estimate.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`, or if a quantile is not between 0 and 1.
        """
        levels = check_levels(quantiles, "quantiles")
        rows, found = self._summaries(X, sigma, lambda t: {"quantiles": t.quantiles(levels)})
        return self._without_lost(rows, found["quantiles"])

    def predict_interval(self, X, coverage=0.9, *, sigma=None):
        """Central interval of each parameter's posterior.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        coverage : float, default=0.9
            Probability of the interval. As much probability is below it as above.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level, see `estimate`. None: the one of `fit`.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters, 2)
            Lower and upper ends; NaN for rows without an estimate.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`, or if the coverage is not between 0 and 1.
        """
        coverage = check_coverage(coverage)
        return self.predict_quantiles(X, [0.5 - coverage / 2, 0.5 + coverage / 2], sigma=sigma)

    def sample(self, X, n_samples=1, *, sigma=None, random_state=None):
        """Draw tissues from the posterior of each voxel.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        n_samples : int, default=1
            Tissues per voxel.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level, see `estimate`. None: the one of `fit`.
        random_state : int, RandomState instance or None, default=None
            An integer gives the same result every time.

        Returns
        -------
        ndarray of shape (n_voxels, n_samples, n_parameters)
            Tissues with their joint distribution; NaN for rows without an estimate.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`, or if the number of samples is not positive.
        """
        if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples expects a positive integer, got {n_samples!r}.")
        rng = check_random_state(random_state)

        def draw(tissues):
            unit = rng.uniform(size=(len(tissues.log_weights), n_samples))
            return {"samples": tissues.sample(unit)}

        rows, found = self._summaries(X, sigma, draw)
        return self._without_lost(rows, found["samples"])

    def _without_lost(self, rows, values):
        """Values of all rows, NaN where there is no estimate."""
        values[out_of_range(rows.X, levels_of(rows))] = np.nan
        return scatter_rows(values, rows.usable)

    def _summaries(self, X, sigma, summarise):
        """Usable rows, and summaries of their posteriors.

        Parameters
        ----------
        X, sigma
            Same as in `estimate`.
        summarise : callable
            Function of `WeightedTissues` that returns arrays with a row per voxel by name.

        Returns
        -------
        Rows
        dict of {str: ndarray}
        """
        rows = check_estimate(self, X, sigma=sigma)
        X, sigma = rows.X, levels_of(rows)
        # Without any row, the results still have their names and shapes.
        found = summarise(_nothing(self.atoms_.shape[1])) if len(X) == 0 else {}
        size = self._sampler_.rows
        with (
            single_thread(),
            torch.no_grad(),
            tqdm(total=len(X), desc="posterior", unit=" voxels", disable=not self.verbose) as bar,
        ):
            for i in range(0, len(X), size):
                n_rows = len(X[i : i + size])
                # Repeats of the last row complete a multiple, see `_sampling`.
                block = (_padded(part[i : i + size]) for part in (X, sigma))
                for index, tissues in self._sampler_(*block):
                    kept = index < n_rows
                    for name, values in summarise(tissues).items():
                        shape = (len(X), *values.shape[1:])
                        whole = found.setdefault(name, np.full(shape, np.nan))
                        whole[i + index[kept]] = values[kept]
                bar.update(n_rows)
        return rows, found


def levels_of(rows):
    """Noise levels of rows, infinite where a measurement is missing."""
    return rows.sigma if rows.missing is None else rows.sigma_of_measurements()


def _nothing(n_parameters):
    return WeightedTissues(torch.empty(n_parameters, 0, 1), torch.empty(0, 1), torch.empty(0))


def _padded(rows):
    missing = -len(rows) % WHOLE_ROWS
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
