"""Maximum-likelihood estimation, one optimum per voxel."""

import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._box import check_bounds, check_fixed, check_seeds
from ._fisher import fisher_information, standard_deviations
from ._identifiability import warn_of_unidentified
from ._sigma import learn_sigma, sigma_from_pairs
from ._solver import solve
from ._validation import (
    NOISE,
    SIGMA,
    Status,
    check_noise,
    check_parameters,
    check_sigma,
    check_signals,
    common_sigma,
    resolve_sigma,
    scatter_rows,
    take_rows,
    usable_rows,
    warn_of_bad_rows,
)
from .signal_models import LinearGaussian, SignalModel, resolve_model


class MLEEstimator(RegressorMixin, BaseEstimator):
    """Maximum-likelihood estimates of tissue parameters, "conventional fitting" done well.

    Each row of X is fitted on its own, from several starting points, to a converged optimum
    inside the signal model's bounds. `fit` only settles what rows have in common: the signal
    model if there is none, and the noise level if it is not given.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        None: signals linear in the parameters with Gaussian noise, estimated from X and y.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit` from the residuals, together with whatever else the model does not explain.
    bounds : dict of {str: (float, float)}, default=None
        Bounds by parameter name, in place of the signal model's.
    fixed : dict of {str: float}, default=None
        Parameters that are known, by name, and not estimated.
    init : "auto" or array-like of shape (n_parameters,) or (n_voxels, n_parameters), default="auto"
        Seeds, in place of the solver's own starting points. For reproductions: one seed often ends
        in a local optimum.
    n_starts : int, default=8
        Starting points per row, a power of 2; those that cannot win are dropped early.
    max_iter : int, default=100
        Most iterations per row, and most rounds of learning the noise level.
    tol : float, default=1e-8
        A row has converged where the next step, which is still taken, is predicted to gain less
        than this, in nats.
    n_jobs : int, default=None
        Number of processes, as in joblib; changes no bit of the result.
    device : str, default="cpu"
        Where torch computes, e.g. "cuda". What is learnt stays on the CPU.
    verbose : int, default=0
        Positive: show a progress bar.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : noise model
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    n_iter_ : int
        Rounds of learning the noise level, 0 if it was given.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    HybridLabelNetRegressor : A network trained on maximum-likelihood and true labels.

    Notes
    -----
    A noise level that maximised the likelihood along with the parameters would be too small, as
    every voxel spends parameters on its own noise (Neyman and Scott). So it is learnt by comparing
    each voxel's squared residual with a chi-squared variable of as many degrees of freedom as
    there are measurements less parameters not on a bound; the median over voxels with a signal
    above 5 sigma counts.

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

    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel, None],
        "noise": NOISE,
        "sigma": SIGMA,
        "bounds": [dict, None],
        "fixed": [dict, None],
        "init": [StrOptions({"auto"}), "array-like"],
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
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = self.signal_model is None
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X, y=None, *, sigma=None):
        """Learn what all rows share: noise level, and the linear model if there is no other.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,), default=None
            Needed only without a signal model; otherwise its columns are checked.
        sigma : float or array-like of shape (n_voxels,), default=None
            Takes precedence over the parameter of the same name.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument or parameter is out of range or does not fit the signal model, no row is
            usable, or the noise level cannot be learnt: from no more measurements than parameters,
            or no signal above 5 sigma.
        """
        self._validate_params()
        self._fitted = False  # until all of this is done
        model = self.signal_model
        X = check_signals(self, X, reset=True, signal_model=model)
        targets, self._single_output = [], False
        if y is not None or model is None:
            y, self._single_output = check_parameters(y, X, model)
            targets = [y] if model is None else []
        self.noise_ = check_noise(self.noise, model or LinearGaussian)
        usable = usable_rows(X, self.noise_, *targets)
        y = None if y is None else y[usable]
        self.signal_model_ = resolve_model(model, X[usable], y)
        self._bounds = check_bounds(self.bounds, self.signal_model_)
        check_fixed(self.fixed, self.signal_model_, len(X))
        if model is not None:
            warn_of_unidentified(model, self.fixed or ())
        sigma = self.sigma if sigma is None else sigma
        if sigma is None:
            self.sigma_, self.n_iter_ = self._learn_sigma(X[usable], y)
        else:
            check_sigma(sigma, len(X), usable)
            self.sigma_, self.n_iter_ = common_sigma(sigma), 0
        self._fitted = True
        return self

    def __sklearn_is_fitted__(self):
        return getattr(self, "_fitted", False)

    def _learn_sigma(self, X, y):
        """Noise level of usable rows, and the rounds that it took."""
        if self.signal_model is None:
            return sigma_from_pairs(self.signal_model_, self.noise_, X, y), 1
        n_free = len(self.signal_model_.parameters) - len(self.fixed or {})
        fixed = check_fixed(self.fixed, self.signal_model_, 1)

        def solve_some(X, sigma):  # seeds are for other rows
            rows = None if fixed is None else np.broadcast_to(fixed, (len(X), fixed.shape[1]))
            return self._solve(X, sigma, fixed=rows)

        return learn_sigma(
            solve_some, self.signal_model_, self.noise_, X, n_free, self.max_iter, self.verbose
        )

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Maximum-likelihood estimates with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the one of `fit`.
        fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
            More known parameters, or other values, than in the parameter of the same name. Voxels
            with NaN here get no estimate.
        return_std : bool, default=False
            Also return `std`.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `nll` (negative
            log-likelihood with all constants, nats), `aic` and `bic`, `status` (see `Status`),
            `at_bound` (n_voxels, n_parameters), `n_iter`, `residual_rms` (units of X). With
            `return_std` also `std` (n_voxels, n_parameters): standard deviations from the Fisher
            information at the estimate, NaN for parameters that are on a bound, fixed, or not
            identified by the measurement. NaN for rows that are not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X, sigma, fixed or `init` do not fit the rows or the signal model, or no noise level
            is known for these rows.
        """
        check_is_fitted(self)
        X = check_signals(self, X, reset=False)
        usable = self.noise_.is_valid(X)
        known = {**(self.fixed or {}), **(fixed or {})}
        fixed = check_fixed(known, self.signal_model_, len(X))
        for values in known.values():  # a map of B1, say, has no value outside of its mask
            usable &= ~np.isnan(np.asarray(values, dtype=np.float64))
        sigma = resolve_sigma(self, sigma, usable)
        warn_of_bad_rows(usable, "their estimates are NaN")
        seeds = check_seeds(self.init, self._bounds, len(X))
        X, sigma, fixed, seeds = (take_rows(a, usable) for a in (X, sigma, fixed, seeds))
        solution = self._solve(X, sigma, fixed=fixed, seeds=seeds, verbose=self.verbose)
        self._warn_unless_converged(solution)
        found = self._describe(solution, X.shape[1], fixed)
        if return_std:
            information = fisher_information(
                self.signal_model_, self.noise_, solution.parameters, sigma
            )
            free = ~solution.at_bound & (True if fixed is None else np.isnan(fixed))
            found.std = standard_deviations(information, free)
        fill = {"status": Status.BAD_INPUT, "at_bound": False, "n_iter": 0}
        return Bunch(
            **{
                name: scatter_rows(rows, usable, fill.get(name, np.nan))
                for name, rows in found.items()
            }
        )

    def predict(self, X, *, sigma=None, return_std=False):
        """Maximum-likelihood estimates.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the one of `fit`.
        return_std : bool, default=False
            Also return standard deviations, see `estimate`.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError, ValueError
            As of `estimate`.
        """
        found = self.estimate(X, sigma=sigma, return_std=return_std)
        results = [found.parameters, found.std] if return_std else [found.parameters]
        if self._single_output:
            results = [values[:, 0] for values in results]
        return tuple(results) if return_std else results[0]

    def _solve(self, X, sigma, fixed=None, seeds=None, verbose=0):
        return solve(
            self.signal_model_,
            self.noise_,
            X,
            sigma,
            self._bounds,
            fixed=fixed,
            seeds=seeds,
            n_starts=self.n_starts,
            max_iter=self.max_iter,
            tol=self.tol,
            n_jobs=self.n_jobs,
            device=self.device,
            verbose=verbose,
        )

    def _describe(self, solution, n_measurements, fixed):
        """Results of usable rows by name."""
        status = np.full(len(solution.nll), Status.OK, dtype=np.int8)
        status[solution.at_bound.any(axis=1)] = Status.AT_BOUND
        status[~solution.converged] = Status.NOT_CONVERGED
        n_free = solution.parameters.shape[1]
        if fixed is not None and len(fixed):
            n_free -= np.count_nonzero(np.isfinite(fixed[0]))
        return Bunch(
            parameters=solution.parameters,
            nll=solution.nll,
            aic=2 * solution.nll + 2 * n_free,
            bic=2 * solution.nll + np.log(n_measurements) * n_free,
            status=status,
            at_bound=solution.at_bound,
            n_iter=solution.n_iter,
            residual_rms=solution.residual_rms,
        )

    def _warn_unless_converged(self, solution):
        if not solution.converged.all():
            warnings.warn(
                f"{np.count_nonzero(~solution.converged)} of {len(solution.nll)} rows did not "
                f"converge in {self.max_iter} iterations; their status says so.",
                ConvergenceWarning,
                stacklevel=3,
            )
