"""Posterior means, the estimates with the smallest mean squared error under a prior."""

from functools import partial
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from .._solver import out_of_range
from .._warnings import warn
from ..dictionary import WeightedPrior, can_draw
from ..noise import columns_of, expected_measurement, level_of_rows
from ..signal_models import SignalModel
from ..status import Status
from ..tissues import draw_tissues, prior_ranges
from ._door import NOISE, SIGMA_PER_MEASUREMENT, check_fit, settle_sigma
from ._mle import fit_sigma
from ._posterior_samples import PosteriorSamplesMixin, levels_of
from ._regressor import TissueRegressorMixin, all_or_nothing, refuse
from ._rows import in_pieces, scatter_results
from ._sampling import (
    AtomSampler,
    MixedSampler,
    constants_of,
    sampler_of_ranges,
)

# Effective sample size below which the mean over atoms is too uncertain, and the status says so.
_LEAST_SIZE = 10
_PIECE = 2**16  # most rows whose residuals are computed at once
# Residual, in noise levels, of a row that no tissue of the prior explains.
_FAR = 5.0


class PosteriorMeanEstimator(PosteriorSamplesMixin, TissueRegressorMixin, BaseEstimator):
    """Posterior mean of the tissue parameters, under a prior.

    Under a prior of ranges, some hundred tissues are drawn for each voxel from an approximation of
    its posterior, and weighted by the exact likelihood of the measurement. Under any other prior,
    all voxels share a large sample from it (atoms). The effective sample size tells for each voxel
    how many equally weighted tissues would be as precise.

    On tissues drawn from the prior no other estimator has a smaller mean squared error of any
    parameter. Networks trained on true parameters approach it. On other tissues it is biased
    towards the mean of the prior, and so are those networks.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, from the signals of y if it is given, else as in `MLEEstimator`.
    prior : dict, array-like of shape (n, n_parameters) or callable, default=None
        Same as in `make_signals`: ranges by parameter name in place of the signal model's, samples,
        or ``prior(n_samples, rng)``. Amplitudes are in the units of X.
    n_atoms : int, default=16384
        Number of tissues drawn from a prior that does not consist of ranges.
    n_points : int, default=320
        Number of tissues drawn for each voxel under a prior of ranges, rounded up to a multiple of
        64. A voxel in which less than 200 are effective gets 2 to 16 times as many. Signal models
        with several amplitudes, or with three or more parameters in which the signal is neither
        proportional nor affine, use atoms first, and at least 1024 tissues where few atoms resemble
        the voxel.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show a progress bar.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : noise model
    sigma_ : float or None
        Noise level, as given or as learnt. None if `fit` got one per row.
    atoms_ : ndarray of shape (n_distinct, n_parameters)
        Distinct tissues among those drawn from the prior.
    atom_weights_ : ndarray of shape (n_distinct,)
        Shares of the draws, which add up to 1.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    MLEEstimator : Unbiased where that is possible, with more variance.

    Examples
    --------
    >>> from sklearn_qmri import PosteriorMeanEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 100, snr=30, random_state=0)
    >>> PosteriorMeanEstimator(model, sigma=1 / 30, random_state=0).fit(X).predict(X).shape
    (100, 4)
    """

    _per_measurement = True
    _takes_missing = True
    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel],
        "noise": NOISE,
        "sigma": SIGMA_PER_MEASUREMENT,
        "prior": [dict, WeightedPrior, "array-like", callable, None],
        "n_atoms": [Interval(Integral, 1, None, closed="left")],
        "n_points": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        signal_model,
        *,
        noise="auto",
        sigma=None,
        prior=None,
        n_atoms=16384,
        n_points=320,
        random_state=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.prior = prior
        self.n_atoms = n_atoms
        self.n_points = n_points
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Draw and simulate the atoms; learn the noise level if it is unknown.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters), default=None
            True parameters, from which the noise level is learnt. They are no prior; pass them as
            `prior` if they should be one.
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
            usable, or the noise level cannot be learnt, see `MLEEstimator.fit`.
        """
        rows = check_fit(self, X, y, sigma, y_needed=False)
        learn = partial(fit_sigma, self.signal_model_, self.noise_, rows.measured, self.verbose)
        # With y, the noise level is learnt from X and the signals of y, which is faster and more
        # reliable than fitting.
        rows = settle_sigma(self, rows, sigma, None if rows.y is not None else learn)
        self._sampler_ = self._make_sampler(float(np.min(rows.sigma)))
        return self

    def _make_sampler(self, sigma):
        """Draw the atoms, and choose how posteriors are sampled."""
        model, noise, rng = self.signal_model_, self.noise_, check_random_state(self.random_state)
        self._ranges_ = None
        if isinstance(self.prior, WeightedPrior) and can_draw(model, noise):
            self.atoms_, self.atom_weights_, _ = self.prior.checked(model)
            seed = int(rng.randint(np.iinfo(np.int32).max))
            return MixedSampler(model, noise, self.prior, self.n_points, seed)
        drawn = draw_tissues(model, self.n_atoms, self.prior, rng, quasi=True)
        # Draws from samples contain copies of a tissue. They are one atom with a larger weight: as
        # separate atoms they would raise the effective sample size without adding information.
        self.atoms_, copies = np.unique(drawn, axis=0, return_counts=True)
        self.atom_weights_ = copies / len(drawn)
        if self.prior is not None and not isinstance(self.prior, dict):
            return AtomSampler(model, noise, self.atoms_, self.atom_weights_, sigma)
        self._ranges_ = prior_ranges(model, self.prior)
        return sampler_of_ranges(
            model, noise, self._ranges_, self.atoms_, sigma, self.n_points, rng
        )

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Posterior means with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level; infinity where there is no measurement. None: the one of `fit`.
        fixed : None
            Known parameters are refused. A prior with a narrow range has the same effect.
        return_std : bool, default=False
            Has no effect: `std`, the standard deviation of the posterior, is always returned.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters`, the mean of the posterior (n_voxels,
            n_parameters), and `std`, its standard deviation, of the same shape;
            `effective_sample_size`, the number of equally weighted tissues that would be as
            precise; `log_evidence`, the logarithm of the probability density of the measurement
            under the prior, comparable between signal models (see `model_probabilities`);
            `status` (see `Status`), which marks effective sample sizes below 10; `at_bound`
            (n_voxels, n_parameters), always False; and `residual_rms` (units of X). Values are NaN
            for rows that are not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X or sigma do not fit the signal model, or no noise level is known for these rows.
        """
        refuse(self, fixed=fixed)
        rows, found = self._summaries(X, sigma, _describe)
        sigma = levels_of(rows)
        mean, std, size = (found[name] for name in ("parameters", "std", "effective_sample_size"))
        lost = ~np.isfinite(mean).all(axis=1) | out_of_range(rows.X, sigma)
        if self._ranges_ is not None:
            # Single precision may leave the ranges by its rounding.
            np.clip(mean, *self._ranges_, out=mean)
        mean[lost], std[lost] = np.nan, np.nan
        few = lost | (size < _LEAST_SIZE)
        if few.any():
            warn(
                f"{np.count_nonzero(few)} of {len(few)} rows have an effective sample size below "
                f"{_LEAST_SIZE}, as their status says: use more n_atoms or n_points."
            )
        found["status"] = np.where(few, Status.TOO_FEW_ATOMS, Status.OK).astype(np.int8)
        found["at_bound"] = np.zeros(mean.shape, dtype=bool)
        constants = in_pieces(len(mean), _PIECE, partial(self._beside, rows.X, sigma, mean))
        found["residual_rms"] = constants["residual_rms"]
        _warn_of_contradiction(found["residual_rms"][~lost], level_of_rows(sigma)[~lost])
        found["log_evidence"] += constants["log_constant"]
        found["log_evidence"][lost] = np.nan
        return scatter_results(rows.usable, **found)

    def _beside(self, X, sigma, mean, piece):
        """Residuals of some rows, and the part of the evidence that is the same for all tissues."""
        X, sigma, mean = X[piece], sigma[piece], mean[piece]
        expected = expected_measurement(self.signal_model_, self.noise_, mean, sigma)
        present = np.broadcast_to(~np.isinf(columns_of(sigma)), X.shape)
        squares = np.where(present, (X - expected) ** 2, 0.0).sum(axis=1)
        return {
            "residual_rms": np.sqrt(squares / present.sum(axis=1)),
            "log_constant": constants_of(self.noise_, X, sigma),
        }


def _warn_of_contradiction(residual_rms, sigma):
    """Warn if most rows are far from every tissue of the prior."""
    far = residual_rms > _FAR * sigma
    if far.any() and far.mean() > 0.5:
        warn(
            f"{np.count_nonzero(far)} of {len(far)} rows are far from every tissue of the prior: "
            f"the median residual is {np.median(residual_rms / sigma):.0f} sigma. Check the units "
            "of X and of sigma, the protocol, and the ranges of the prior, also of the amplitude."
        )


def _describe(tissues):
    mean, std, size = tissues.moments()
    return {
        "parameters": mean,
        "std": std,
        "effective_sample_size": size,
        "log_evidence": tissues.log_evidence(),
    }
