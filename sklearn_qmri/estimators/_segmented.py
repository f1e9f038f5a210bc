"""Segmented IVIM fit, the clinical baseline."""

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from .._solver import solve
from ..noise import Gaussian
from ..signal_models import IVIM
from ..status import Status
from ..tissues import check_bounds
from ._door import (
    TissueRegressorMixin,
    all_or_nothing,
    check_estimate,
    check_fit,
    predicted,
    refuse,
    scatter_results,
)


class SegmentedIVIMEstimator(TissueRegressorMixin, BaseEstimator):
    """Segmented IVIM fit: D from high b-values, then f, then D_star.

    From `b_threshold` on perfusion is taken to have decayed: a straight line through the logarithm
    of the signal gives D and, by its intercept over the signal at the lowest b-value, f. D_star
    then is the least-squares fit of all b-values with the others fixed. Fast and robust, and
    biased by what the threshold ignores. Noise is taken to be Gaussian.

    Parameters
    ----------
    signal_model : IVIM
        What a tissue would measure without noise.
    b_threshold : float, default=200
        s/mm^2; needs at least two different b-values from here on.
    bounds : dict of {str: (float, float)}, default=None
        Bounds by parameter name, in place of the signal model's.
    verbose : int, default=0
        Positive: show a progress bar.

    Attributes
    ----------
    signal_model_ : IVIM
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    References
    ----------
    Pekar et al., Magn Reson Med 1992;23:122. Federau, NMR Biomed 2017;30:e3780.

    Examples
    --------
    >>> from sklearn_qmri import SegmentedIVIMEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 100, snr=50, random_state=0)
    >>> SegmentedIVIMEstimator(model).fit(X).predict(X).shape
    (100, 4)
    """

    _parameter_constraints: ClassVar = {
        "signal_model": [IVIM],
        "b_threshold": [Interval(Real, 0, None, closed="neither")],
        "bounds": [dict, None],
        "verbose": ["verbose"],
    }

    def __init__(self, signal_model, *, b_threshold=200, bounds=None, verbose=0):
        self.signal_model = signal_model
        self.b_threshold = b_threshold
        self.bounds = bounds
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Check that the data fit the protocol; there is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters), default=None
            Only checked.
        sigma : float or array-like of shape (n_voxels,), default=None
            Only checked: least squares does not depend on it.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range, X or y do not fit the signal model, or its b-values
            leave no line to fit.
        """
        check_fit(self, X, y, sigma, y_needed=False)
        self.sigma_ = None
        b = np.asarray(self.signal_model_.b_values, dtype=np.float64)
        if len(np.unique(b[b >= self.b_threshold])) < 2 or b.min() >= self.b_threshold:
            raise ValueError(
                f"A segmented fit needs a b-value below b_threshold={self.b_threshold:g} and two "
                f"different ones from there on, got {b.tolist()}."
            )
        self.bounds_ = check_bounds(self.bounds, self.signal_model_)
        return self

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Segmented estimates with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Only checked: least squares does not depend on it.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Refused: a segmented fit has no standard deviations of its own.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`), `at_bound` (n_voxels, n_parameters), `residual_rms` (units of X). NaN for
            rows that are not finite and positive: their logarithm is needed.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of measurements, or for `fixed` and `return_std`.
        """
        refuse(self, fixed=fixed, return_std=return_std)
        rows = check_estimate(self, X, sigma=sigma if sigma is not None else 1.0)
        rows = rows.take((rows.X > 0).all(axis=1))
        fixed = np.clip(self._from_segments(rows.X), *self.bounds_)
        solution = solve(
            self.signal_model_,
            Gaussian(),
            rows.X,
            1e-3 * rows.X.max(axis=1),  # scale of convergence; least squares does not depend on it
            self.bounds_,
            fixed=fixed,
            verbose=self.verbose,
        )
        edges = (fixed <= self.bounds_[0]) | (fixed >= self.bounds_[1])
        at_bound = solution.at_bound | edges
        status = np.where(at_bound.any(axis=1), Status.AT_BOUND, Status.OK).astype(np.int8)
        status[~solution.converged] = Status.NOT_CONVERGED
        return scatter_results(
            rows.usable,
            parameters=solution.parameters,
            status=status,
            at_bound=at_bound,
            residual_rms=solution.residual_rms,
        )

    def predict(self, X, *, sigma=None, fixed=None, return_std=False):
        """Segmented estimates.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Only checked.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            Refused, see `estimate`.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters)
            NaN for rows that are not finite and positive.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`.
        """
        found = self.estimate(X, sigma=sigma, fixed=fixed, return_std=return_std)
        return predicted(self, found, return_std)

    def _from_segments(self, X):
        """S0, f and D of each row; NaN for D_star."""
        b = np.asarray(self.signal_model_.b_values, dtype=np.float64) * 1e-3
        high, lowest = b >= self.b_threshold * 1e-3, b == b.min()
        line = np.linalg.pinv(np.stack([np.ones(high.sum()), -b[high]], axis=1))
        intercept, D = line @ np.log(X[:, high]).T
        S0 = X[:, lowest].mean(axis=1)
        f = 1 - np.exp(intercept) / S0
        return np.stack([S0, f, D, np.full_like(D, np.nan)], axis=1)
