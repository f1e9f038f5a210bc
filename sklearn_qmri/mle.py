"""Maximum-likelihood estimation, one optimum per voxel."""

import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.validation import check_is_fitted

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
    resolve_sigma,
    scatter_rows,
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
    n_starts : int, default=8
        Starting points per row, a power of 2.
    max_iter : int, default=100
        Most iterations per row, and most rounds of learning the noise level.
    tol : float, default=1e-9
        A row has converged where the next step is predicted to gain less than this, in nats.
    n_jobs : int, default=None
        Number of processes, as in joblib; changes no bit of the result.
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
        "n_starts": [Options(Integral, {1, 2, 4, 8, 16, 32, 64})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        signal_model=None,
        *,
        noise="auto",
        sigma=None,
        bounds=None,
        n_starts=8,
        max_iter=100,
        tol=1e-9,
        n_jobs=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.bounds = bounds
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
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
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,), default=None
            Needed only without a signal model; otherwise its columns are checked.
        sigma : float or array-like of shape (n_voxels,), default=None
            Takes precedence over the parameter of the same name.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If X, y, sigma or bounds do not fit the signal model, or no row is usable.
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
        sigma = self.sigma if sigma is None else sigma
        if sigma is None:
            self.sigma_, self.n_iter_ = self._learn_sigma(X[usable], y)
        else:
            check_sigma(sigma, len(X), usable)
            self.sigma_, self.n_iter_ = (float(sigma) if np.ndim(sigma) == 0 else None), 0
        self._fitted = True
        return self

    def __sklearn_is_fitted__(self):
        return getattr(self, "_fitted", False)

    def _learn_sigma(self, X, y):
        """Noise level of usable rows, and the rounds that it took."""
        if self.signal_model is None:
            return sigma_from_pairs(self.signal_model_, self.noise_, X, y), 1
        return learn_sigma(
            self._solve, self.signal_model_, self.noise_, X, self.max_iter, self.verbose
        )

    def estimate(self, X, *, sigma=None):
        """Maximum-likelihood estimates with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the parameter of the same name, else what `fit` learnt.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `nll` (negative
            log-likelihood with all constants, nats), `status` (see `Status`), `at_bound`
            (n_voxels, n_parameters), `n_iter`, `residual_rms` (units of X). NaN for rows that are
            not possible measurements.
        """
        check_is_fitted(self)
        X = check_signals(self, X, reset=False)
        usable = self.noise_.is_valid(X)
        sigma = resolve_sigma(self, sigma, usable)
        warn_of_bad_rows(usable, "their estimates are NaN")
        solution = self._solve(X[usable], sigma[usable], verbose=self.verbose)
        status = np.where(solution.at_bound.any(axis=1), Status.AT_BOUND, Status.OK)
        status[~solution.converged] = Status.NOT_CONVERGED
        if not solution.converged.all():
            warnings.warn(
                f"{np.count_nonzero(~solution.converged)} of {len(X)} rows did not converge in "
                f"{self.max_iter} iterations; their status says so.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return Bunch(
            parameters=scatter_rows(solution.parameters, usable),
            nll=scatter_rows(solution.nll, usable),
            status=scatter_rows(status.astype(np.int8), usable, Status.BAD_INPUT),
            at_bound=scatter_rows(solution.at_bound, usable, False),
            n_iter=scatter_rows(solution.n_iter, usable, 0),
            residual_rms=scatter_rows(solution.residual_rms, usable),
        )

    def predict(self, X, *, sigma=None):
        """Maximum-likelihood estimates.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the parameter of the same name, else what `fit` learnt.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        """
        parameters = self.estimate(X, sigma=sigma).parameters
        return parameters[:, 0] if self._single_output else parameters

    def _solve(self, X, sigma, verbose=0):
        return solve(
            self.signal_model_,
            self.noise_,
            X,
            sigma,
            self._bounds,
            n_starts=self.n_starts,
            max_iter=self.max_iter,
            tol=self.tol,
            n_jobs=self.n_jobs,
            verbose=verbose,
        )


def check_bounds(bounds, signal_model):
    """Bounds as an array of shape (2, n_parameters), the signal model's where not given.

    Raises
    ------
    ValueError
        For a name that is no parameter, or bounds that are not a pair low < high.
    """
    names = signal_model.parameter_names
    merged = {p.name: p.bounds for p in signal_model.parameters} | dict(bounds or {})
    if unknown := sorted(set(merged) - set(names)):
        raise ValueError(f"bounds names {unknown}, but the parameters are {list(names)}.")
    array = np.empty((2, len(names)))
    for j, parameter in enumerate(signal_model.parameters):
        pair = merged[parameter.name]
        if np.shape(pair) != (2,) or not all(isinstance(v, Real) for v in pair):
            raise ValueError(f"bounds[{parameter.name!r}] expects two numbers, got {pair!r}.")
        if not pair[0] < pair[1]:
            raise ValueError(f"bounds[{parameter.name!r}] expects (low, high), got {pair!r}.")
        if parameter.log and not pair[0] > 0:
            raise ValueError(f"bounds[{parameter.name!r}] expects low > 0, got {pair!r}.")
        array[:, j] = pair
    return array
