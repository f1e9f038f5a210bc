"""Posterior means, the estimates with the smallest mean squared error under a prior."""

from functools import partial
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from tqdm import tqdm

from .._solver import out_of_range
from .._torch import single_thread
from .._warnings import warn
from ..dictionary import Interpolation
from ..noise import columns_of, expected_measurement
from ..signal_models import SignalModel
from ..status import Status
from ..tissues import draw_tissues, prior_ranges
from ._door import NOISE, SIGMA_PER_MEASUREMENT, check_estimate, check_fit, settle_sigma
from ._mle import fit_sigma
from ._refine import Refinement, tempered_moments, weighted_moments
from ._regressor import TissueRegressorMixin, all_or_nothing, refuse
from ._rows import scatter_results

# Effective sample size below which the mean over atoms is too uncertain, and the status says so.
_LEAST_SIZE = 10
# Effective sample size below which a voxel gets atoms of its own.
_REFINED_SIZE = 200
# A voxel's own atoms are first drawn by the moments under this power of its weights, or a lower
# power if the effective sample size is less than _BROAD_SIZE: too wide is better than too narrow.
_COOLED = 0.25
_BROAD_SIZE = 100
# Rows are weighted in multiples of this many, see _block_moments.
_WHOLE_ROWS = 8
# Weights (pairs of a voxel and an atom) that are held at once.
_WEIGHTS = 2**22


class PosteriorMeanEstimator(TissueRegressorMixin, BaseEstimator):
    """Posterior mean of the tissue parameters, under a prior.

    Each tissue of a large sample from the prior (an atom) is weighted by the likelihood of the
    measurement. At high signal-to-noise ratios few atoms may have a relevant weight. If the prior
    consists of ranges, the voxel then gets atoms of its own.

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
        Number of tissues drawn from the prior. A voxel that resembles few of them gets 1/16 as many
        of its own, but at least 1024.
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
        "prior": [dict, "array-like", callable, None],
        "n_atoms": [Interval(Integral, 1, None, closed="left")],
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
        random_state=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.prior = prior
        self.n_atoms = n_atoms
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
        rng = check_random_state(self.random_state)
        drawn = draw_tissues(self.signal_model_, self.n_atoms, self.prior, rng, quasi=True)
        # Draws from samples contain copies of a tissue. They are one atom with a larger weight: as
        # separate atoms they would raise the effective sample size without adding information.
        self.atoms_, copies = np.unique(drawn, axis=0, return_counts=True)
        self.atom_weights_ = copies / len(drawn)
        signals = self.signal_model_.simulate(self.atoms_)
        self._interpolation_ = Interpolation(self.noise_, signals, float(rows.sigma.min()))
        self._atom_features_ = self._interpolation_.of_atoms(signals)
        self._refinement_ = None
        if self.prior is None or isinstance(self.prior, dict):
            ranges = prior_ranges(self.signal_model_, self.prior)
            self._refinement_ = Refinement(
                self.signal_model_, self.noise_, ranges, max(1024, self.n_atoms // 16), rng
            )
        return self

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
            `effective_sample_size`, the number of equally weighted atoms that would be as precise;
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
        rows = check_estimate(self, X, sigma=sigma)
        sigma = rows.sigma if rows.missing is None else rows.sigma_of_measurements()
        mean, std, size = self._moments(rows.X, sigma)
        expected = expected_measurement(self.signal_model_, self.noise_, mean, sigma)
        residual = np.where(np.isinf(columns_of(sigma)), 0.0, rows.X - expected)
        lost = ~np.isfinite(mean).all(axis=1) | out_of_range(rows.X, sigma)
        mean[lost], std[lost] = np.nan, np.nan
        few = lost | (size < _LEAST_SIZE)
        if few.any():
            warn(
                f"{np.count_nonzero(few)} of {len(few)} rows have an effective sample size below "
                f"{_LEAST_SIZE}, as their status says: use more n_atoms."
            )
        status = np.where(few, Status.TOO_FEW_ATOMS, Status.OK).astype(np.int8)
        results = {
            "parameters": mean,
            "status": status,
            "at_bound": np.zeros(mean.shape, dtype=bool),
            "residual_rms": np.sqrt(np.sum(residual**2, axis=1) / rows.n_present),
            "effective_sample_size": size,
            "std": std,
        }
        return scatter_results(rows.usable, **results)

    def _moments(self, X, sigma):
        """Posterior mean, standard deviation and effective sample size of usable rows."""
        rows = max(_WHOLE_ROWS, _WEIGHTS // len(self.atoms_) // _WHOLE_ROWS * _WHOLE_ROWS)
        blocks = []
        with (
            single_thread(),
            tqdm(total=len(X), desc="posterior", unit=" voxels", disable=not self.verbose) as bar,
        ):
            for i in range(0, len(X), rows):
                blocks.append(self._block_moments(X[i : i + rows], sigma[i : i + rows]))
                bar.update(len(blocks[-1][0]))
        if not blocks:
            empty = np.empty((0, self.atoms_.shape[1]))
            return empty, empty, np.empty(0)
        return tuple(np.concatenate(parts) for parts in zip(*blocks, strict=True))

    def _block_moments(self, X, sigma):
        """`_moments` of one block of rows, (n_rows, n_parameters)."""
        # The rounding of a matrix product of few rows depends on their number. Repeats of the last
        # row complete a multiple, so that a row's result does not depend on the rows beside it.
        n_rows, missing = len(X), -len(X) % _WHOLE_ROWS
        X, sigma = (np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for a in (X, sigma))
        # Standardised atoms, so that moments in single precision lose few digits to cancellation.
        center, scale = self.atoms_.mean(axis=0), self.atoms_.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        unit = torch.from_numpy(((self.atoms_ - center) / scale).astype(np.float32))
        # Log-likelihoods of all pairs, (n_rows, n_atoms), as one matrix product. Terms that are the
        # same for all atoms are missing, which does not change normalised weights.
        factors = torch.from_numpy(self._interpolation_.of_data(X, sigma))
        log_weights = factors @ torch.from_numpy(self._atom_features_)
        log_weights += torch.from_numpy(np.log(self.atom_weights_).astype(np.float32))
        # NaN and +inf arise where measurements overflow single precision; such pairs get no weight.
        # The largest weight of a row becomes 1, so that exp neither overflows nor gives only zeros.
        log_weights.nan_to_num_(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        log_weights -= log_weights.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).min)
        mean, covariance, size = weighted_moments(log_weights.exp(), unit)
        few = np.flatnonzero(size < _REFINED_SIZE)
        if self._refinement_ is not None and len(few):
            # Where few atoms have weight, their own covariance is too small to draw from.
            broad = tempered_moments(log_weights[few] * _COOLED, unit, _BROAD_SIZE)
            refined = self._refinement_(X[few], sigma[few], *broad[:2], center, scale)
            better = refined[2] > size[few]
            for old, new in zip((mean, covariance, size), refined, strict=True):
                old[few[better]] = new[better]
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        std = scale * np.sqrt(np.maximum(variance, 0.0))
        return tuple(part[:n_rows] for part in (center + scale * mean, std, size))
