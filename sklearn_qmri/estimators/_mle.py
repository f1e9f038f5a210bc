"""Maximum-likelihood estimation of each voxel."""

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, Options, StrOptions

from .._solver import check_fixed, check_seeds, common_values
from ..information import warn_of_unidentified
from ..noise import LearntLevel
from ..signal_models import SignalModel
from ..tissues import check_bounds
from ._door import NOISE, SIGMA_PER_MEASUREMENT, check_estimate, check_fit, settle_sigma
from ._learnt_level import learn_level
from ._optima import optima, warn_unless_converged
from ._outliers import warn_of_whole_measurements
from ._profile_likelihood import ProfileIntervalMixin
from ._regressor import TissueRegressorMixin, all_or_nothing
from ._rows import in_pieces, scatter_results, take_rows

_PIECE = 2**21  # most rows whose results are computed at once


class MLEEstimator(ProfileIntervalMixin, TissueRegressorMixin, BaseEstimator):
    """Maximum-likelihood estimates of tissue parameters: conventional fitting, carefully done.

    Each row of X is fitted separately, from several starting points, to a converged optimum inside
    the signal model's bounds. `fit` only determines what rows have in common: the signal model if
    there is none, and the noise level if it is not given.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        Signal model. None: signals linear in the parameters with Gaussian noise, estimated from X
        and y.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit` from the residuals, which include everything that the model does not explain.
    bounds : dict of {str: (float, float)}, default=None
        Bounds by parameter name, in place of the signal model's. They apply to fixed values too.
    fixed : dict of {str: float}, default=None
        Values of known parameters by name; these are not estimated.
    init : "auto" or array-like of shape (n_parameters,) or (n_voxels, n_parameters), default="auto"
        Seeds that replace the solver's own starting points. They are meant for reproductions of
        published fits: a single seed often leads to a local optimum.
    outliers : {"keep", "reject"}, default="keep"
        "reject": single measurements that no tissue explains, as of a volume with motion, lose
        their weight, and the voxel is fitted again. A measurement is one if its residual is so
        large that of faultless voxels at most 1 % would have any.
    n_starts : int, default=8
        Number of starting points per row, a power of 2. Those that cannot win are dropped early.
        Signal models with many local optima, and rows that do not converge, get 8 to 32 times as
        many.
    max_iter : int, default=100
        Largest number of iterations per row, and of rounds of learning the noise level.
    tol : float, default=1e-8
        Tolerance in nats. A row has converged when the predicted gain of its next step is smaller.
    n_jobs : int, default=None
        Number of processes, as in joblib; changes no bit of the result.
    device : str, default="cpu"
        Device that torch computes on, e.g. "cuda". Fitted attributes stay on the CPU.
    verbose : int, default=0
        Positive: show a progress bar.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : NoiseModel
    bounds_ : ndarray of shape (2, n_parameters)
        Lower and upper bounds of the estimates.
    sigma_ : float, ndarray of shape (1, n_measurements), or None
        Noise level, as given or as learnt. None if `fit` got one per row. NaN if it cannot be
        learnt and estimates do not depend on it, which is the case for Gaussian noise.
    sigma_error_ : float
        Standard error of a learnt noise level by the number of voxels. NaN if it was given. If the
        protocol repeats measurements, whose noise level is much smaller, a warning gives both.
    n_iter_ : int
        Number of rounds of learning the noise level, 0 if it was given.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    HybridLabelNetRegressor : A network trained on maximum-likelihood and true labels.

    Notes
    -----
    A noise level that maximises the likelihood together with the parameters is too small, because
    the parameters of every voxel fit part of its noise (Neyman and Scott). It is therefore learnt
    by comparing each voxel's squared residual with a chi-squared variable. Its degrees of freedom
    are the number of measurements minus the number of parameters not on a bound. The median over
    the voxels that have a signal counts.

    Standard deviations come from the Fisher information, averaged over the uncertainty of the
    estimate. At the estimate alone they would be too small where they grow with it. If another
    parameter of the voxel is on a bound, that parameter is treated as unknown, and the standard
    deviation is only reported if this makes little difference. Nominal 95 % intervals (+-1.96
    standard deviations) contain the truth in 94 % or more of the voxels of status OK, and in 84 %
    or more of those beside a bound, in the settings of the user guide.

    References
    ----------
    Neyman and Scott, Econometrica 1948;16:1.

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 100, snr=50, random_state=0)
    >>> MLEEstimator(model, sigma=1 / 50).fit(X).predict(X).shape
    (100, 4)
    """

    _per_measurement = True
    _takes_missing = True
    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel, None],
        "noise": NOISE,
        "sigma": SIGMA_PER_MEASUREMENT,
        "bounds": [dict, None],
        "fixed": [dict, None],
        "init": [StrOptions({"auto"}), "array-like"],
        "outliers": [StrOptions({"keep", "reject"})],
        "n_starts": [Options(Integral, {1, 2, 4, 8, 16, 32, 64})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        signal_model=None,
        *,
        noise="auto",
        sigma=None,
        bounds=None,
        fixed=None,
        init="auto",
        outliers="keep",
        n_starts=8,
        max_iter=100,
        tol=1e-8,
        n_jobs=None,
        device="cpu",
        verbose=0,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.bounds = bounds
        self.fixed = fixed
        self.init = init
        self.outliers = outliers
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.signal_model is None
        return tags

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Learn the noise level, and a linear signal model if none is given.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,), default=None
            True parameters, which are needed only without a signal model. Otherwise they are only
            checked, and rows where they are not finite are excluded.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Takes precedence over the parameter of the same name.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument or parameter is out of range or does not fit the signal model, no row is
            usable, or a noise level that estimates depend on cannot be learnt, because there are
            no more measurements than free parameters or residuals are as large as the signals.
        """
        rows = check_fit(self, X, y, sigma, y_needed=self.signal_model is None)
        self.bounds_ = check_bounds(self.bounds, self.signal_model_)
        # Only for its errors: `estimate` takes the values for its own rows.
        check_fixed(self.fixed, self.signal_model_, self.bounds_, len(rows.usable))
        if self.signal_model is not None:
            warn_of_unidentified(self.signal_model_, self.fixed or ())
        learnt = LearntLevel(np.nan, np.nan, 0)
        if rows.sigma is None:
            learnt = learn_level(self, rows)
        self.sigma_error_, self.n_iter_ = learnt.error, learnt.n_iter
        needed = self.noise_.estimates_need_sigma
        settle_sigma(self, rows, sigma, lambda: learnt.sigma, needed=needed)
        return self

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Maximum-likelihood estimates with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level; infinity where there is no measurement. None: the one of `fit`.
        fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
            Known parameters by name. They add to, or replace, those of the estimator's `fixed`.
            Voxels with NaN here have no estimate.
        return_std : bool, default=False
            Whether to return `std` too.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `nll` (negative
            log-likelihood in nats, with all constants except the infinite one of a measured 0 under
            Rician noise), `aic` and `bic`, `status` (see `Status`), `at_bound` (n_voxels,
            n_parameters), `n_iter`, `residual_rms` (units of X). With `return_std` there is also
            `std` (n_voxels, n_parameters), the standard deviations. They are NaN for parameters
            that are on a bound, fixed, or not identified by the measurement. In a voxel with a
            parameter on a bound they are also NaN for the others, unless the bound makes little
            difference to them. Without a noise level `nll`, `aic`, `bic` and `std` are NaN.
            With ``outliers="reject"`` there are also `outliers` (n_voxels, n_measurements), the
            measurements that were rejected, and `n_outliers`. Estimates are NaN for rows that are
            not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X, sigma, fixed or `init` do not fit the rows or the signal model, or no noise level
            is known for these rows.
        """
        return self._estimate(X, sigma, fixed, return_std)

    def _estimate(self, X, sigma, fixed, return_std, names=None):
        # Arguments take precedence over the parameter of the estimator.
        fixed = {**(self.fixed or {}), **(fixed or {})}
        rows = check_estimate(self, X, sigma=sigma, fixed=fixed)
        seeds = check_seeds(self.init, self.bounds_, len(rows.usable))
        seeds = take_rows(seeds, rows.usable)
        common = common_values(fixed, self.signal_model_)

        def compute(piece):
            some = rows.piece(piece)
            start = None if seeds is None else seeds[piece]
            results = optima(self, some, common, start, return_std)
            return {n: v for n, v in results.items() if names is None or n in {*names, "outliers"}}

        results = in_pieces(len(rows.X), _PIECE, compute)
        if "outliers" in results:
            warn_of_whole_measurements(results["outliers"], rows.sigma)
        warn_unless_converged(results["status"], self.max_iter)
        return scatter_results(rows.usable, **results)


def fit_sigma(signal_model, noise, X, verbose):
    """Noise level of X for other estimators, learnt by `MLEEstimator`."""
    return MLEEstimator(signal_model, noise=noise, verbose=verbose).fit(X).sigma_
