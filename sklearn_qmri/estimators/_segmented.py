"""Segmented IVIM fit, the clinical baseline."""

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from .._solver import solve
from .._warnings import warn
from ..noise import Gaussian
from ..signal_models import IVIM
from ..status import Status
from ..tissues import check_bounds
from ._door import check_estimate, check_fit
from ._regressor import TissueRegressorMixin, all_or_nothing, refuse
from ._rows import scatter_results

# Column of D among the parameters of IVIM.
_D = 2
# Number of times that weights are computed again from the fitted line.
_REWEIGHTINGS = 3
# Largest residual of a measurement that counts, relative to the fitted signal.
_FURTHEST = 3.0
# Noise level for the solver, as a share of the largest signal. It determines when a fit has
# converged and which starting points are followed. The least-squares optimum does not depend on it.
_SIGMA = 1e-2


class SegmentedIVIMEstimator(TissueRegressorMixin, BaseEstimator):
    """Segmented IVIM fit: D from the high b-values, then S0, f and D_star from all b-values.

    Perfusion is assumed to have decayed from `b_threshold` on. There, a straight line through the
    logarithm of the signal gives D. The line is weighted by the square of the fitted signal,
    because the logarithm of a small signal is noisy. S0, f and D_star are then the joint
    least-squares fit of all b-values with D fixed. The fit is fast and robust, and it is biased
    by the perfusion that remains above the threshold. The noise is assumed to be Gaussian.

    Parameters
    ----------
    signal_model : IVIM
        Signal model, with the b-values of X.
    b_threshold : float, default=200
        Lowest of the high b-values, in s/mm^2. At least two different b-values must be as high.
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
    Two steps: Pekar et al., Magn Reson Med 1992;23:122; Federau, NMR Biomed 2017;30:e3780.
    Weights from the fitted signal: Salvador et al., Hum Brain Mapp 2005;24:144; Veraart et al.,
    NeuroImage 2013;81:335.

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

    noise = Gaussian()  # least squares: any finite signal can be measured

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
        """Check that the data fit the protocol. There is nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters), default=None
            True parameters, which are only checked.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, which is only checked: least squares does not depend on it.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of range, X or y do not fit the signal model, or a line cannot be
            fitted to its b-values.
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
            Noise level, which is only checked: least squares does not depend on it.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Refused, as a segmented fit has no standard deviations.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`), `at_bound` (n_voxels, n_parameters), `residual_rms` (units of X). Values are
            NaN for rows that are not finite, have no positive signal below the threshold, or have
            positive signals at fewer than two different b-values from the threshold on.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has another number of measurements, or for `fixed` and `return_std`.
        """
        refuse(self, fixed=fixed, return_std=return_std)
        # There is no learnt sigma. Any will do, as estimates do not depend on it.
        rows = check_estimate(self, X, sigma=sigma if sigma is not None else 1.0)
        enough = self._enough_signal(rows.X)
        if not enough.all():
            warn(
                f"{np.count_nonzero(~enough)} of {len(X)} rows have too few positive signals for a "
                f"segmented fit: their estimates are NaN."
            )
        rows = rows.take(enough)
        # D is known; NaN marks the parameters to be estimated.
        fixed = np.full((len(rows.X), len(self.signal_model_.parameters)), np.nan)
        fixed[:, _D] = self._diffusivity(rows.X)
        solution = solve(
            self.signal_model_,
            Gaussian(),
            rows.X,
            _SIGMA * rows.X.max(axis=1),
            self.bounds_,
            fixed=fixed,
            verbose=self.verbose,
        )
        # The solver does not report fixed parameters as on a bound, so D is compared here.
        # Comparisons with NaN, the other parameters, are False.
        at_bound = solution.at_bound | (fixed <= self.bounds_[0]) | (fixed >= self.bounds_[1])
        status = np.where(at_bound.any(axis=1), Status.AT_BOUND, Status.OK).astype(np.int8)
        status[~solution.converged] = Status.NOT_CONVERGED
        return scatter_results(
            rows.usable,
            parameters=solution.parameters,
            status=status,
            at_bound=at_bound,
            residual_rms=solution.residual_rms,
        )

    def _b(self):
        """b-values in ms/um^2, and whether each is at or above the threshold."""
        b = np.asarray(self.signal_model_.b_values, dtype=np.float64)
        return b * 1e-3, b >= self.b_threshold

    def _enough_signal(self, X):
        """Whether rows have positive signals below the threshold and at two b-values from it on."""
        b, high = self._b()
        positive = X > 0
        steps = [positive[:, b == value].any(axis=1) for value in np.unique(b[high])]
        return positive[:, ~high].any(axis=1) & (np.sum(steps, axis=0) >= 2)

    def _diffusivity(self, X):
        """D of each row by a weighted straight line, within its bounds.

        An error dx of a signal x is an error dx / x of its logarithm. If all signals have the same
        noise, the best weights are therefore x^2. With the measured x, signals that noise has
        raised would get larger weights. The x of the line itself is used once there is a line.
        """
        b, high = self._b()
        # Rows are contiguous in memory, so that the order of a sum does not depend on their number.
        b, X = b[high], np.ascontiguousarray(X[:, high])
        low, upper = self.bounds_[:, _D]
        positive = X > 0
        # Signals that are not positive have a weight of 0 in the first line.
        log = np.log(np.where(positive, X, 1.0))
        D, intercept = _line(b, log, np.where(positive, X, 0.0) ** 2, low, upper)
        for _ in range(_REWEIGHTINGS):
            fitted = intercept[:, None] - b * D[:, None]
            # The tangent of the logarithm at the line, log x = log s + (x - s) / s + ..., is
            # finite for all signals, including zero and negative ones. Its limit keeps one step
            # from overshooting where the line is far below a measurement.
            relative = np.clip(X / np.exp(fitted) - 1, -_FURTHEST, _FURTHEST)
            # Squares of the fitted signals, relative to the largest of a row: only ratios of
            # weights matter, and squares of signals in large units could overflow.
            weights = np.exp(2 * (fitted - fitted.max(axis=1, keepdims=True)))
            D, intercept = _line(b, fitted + relative, weights, low, upper)
        return D


def _line(b, values, weights, low, high):
    """Slope (negated, within its bounds) and intercept of a weighted straight line per row.

    The normal equations are solved with b and the values relative to their weighted means. The
    slope is the covariance of the two over the variance of b. For any slope, the best line passes
    through both means.
    """
    total = weights.sum(axis=1)
    mean_b = (weights * b).sum(axis=1) / total
    mean = (weights * values).sum(axis=1) / total
    weighted = weights * (b - mean_b[:, None])
    covariance = (weighted * (values - mean[:, None])).sum(axis=1)
    variance = (weighted * (b - mean_b[:, None])).sum(axis=1)
    # If the weights of all but one signal are negligible, there is no slope: the variance rounds to
    # 0, and D is its lower bound.
    slope = np.divide(-covariance, variance, out=np.full_like(mean, low), where=variance > 0)
    # The line is values = intercept - b D, through (mean_b, mean) also for a clipped slope.
    D = np.clip(slope, low, high)
    return D, mean + D * mean_b
