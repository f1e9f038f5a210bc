"""Posterior means: what no other estimator has a smaller mean squared error than."""

from functools import partial
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from tqdm import tqdm

from .._torch import single_thread
from .._warnings import warn
from ..dictionary import Interpolation
from ..noise import expected_measurement
from ..signal_models import SignalModel
from ..status import Status
from ..tissues import draw_tissues, prior_ranges
from ._door import NOISE, SIGMA, check_estimate, check_fit, settle_sigma
from ._mle import fit_sigma
from ._refine import Refinement, tempered_moments, weighted_moments
from ._regressor import TissueRegressorMixin, all_or_nothing, refuse
from ._rows import scatter_results

_LEAST_SIZE = 10  # effective sample size below which the mean over atoms is a matter of luck
_REFINED_SIZE = 200  # effective sample size below which a voxel gets atoms of its own
_COOLED = 0.25  # power of the likelihood that says where those atoms are drawn first ...
_BROAD_SIZE = 100  # ... or less, until this is the effective sample size
_WHOLE_ROWS = 8  # rows are weighed in multiples of this many
_WEIGHTS = 2**22  # of voxels and atoms, held at once


class PosteriorMeanEstimator(TissueRegressorMixin, BaseEstimator):
    """Mean of the tissues that could have given a measurement, under a prior.

    Each tissue of a large sample from the prior (an atom) is weighted by the likelihood of the
    measurement. Where few atoms are left with any weight, as at high signal-to-noise ratios, and
    the prior is one of ranges, the voxel gets atoms of its own.

    On tissues drawn from the prior no other estimator has a smaller mean squared error, per
    parameter; networks trained on true parameters tend to it. On other tissues it is biased
    towards the mean of the prior, as those are.

    Parameters
    ----------
    signal_model : SignalModel
        What a tissue would measure without noise.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, from the signals of y where given, else as `MLEEstimator` does.
    prior : dict, array-like of shape (n, n_parameters) or callable, default=None
        As in `make_signals`: ranges by parameter name in place of the signal model's, samples, or
        ``prior(n_samples, rng)``. Amplitudes are in the units of X.
    n_atoms : int, default=16384
        Tissues drawn from the prior. A voxel that few of them are like gets 1/16 as many of its
        own, but at least 1024.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show a progress bar.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : noise model
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
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

    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel],
        "noise": NOISE,
        "sigma": SIGMA,
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
        """Draw and simulate the atoms; learn the noise level where it is not known.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters), default=None
            Helps to learn the noise level; not a prior (for that, give it as one).
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
            usable, or the noise level cannot be learnt, see `MLEEstimator.fit`.
        """
        rows = check_fit(self, X, y, sigma, y_needed=False)
        learn = partial(fit_sigma, self.signal_model_, self.noise_, rows.X, self.verbose)
        # Where y is given, its signals tell the noise level, which is faster and surer.
        rows = settle_sigma(self, rows, sigma, None if rows.y is not None else learn)
        rng = check_random_state(self.random_state)
        drawn = draw_tissues(self.signal_model_, self.n_atoms, self.prior, rng, quasi=True)
        # Copies of a tissue, as samples give them, are one atom that weighs more: they must not
        # count as so many independent ones.
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
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            None: the one of `fit`.
        fixed : None
            Known parameters are refused; a prior with a narrow range says the same.
        return_std : bool, default=False
            The standard deviation of the posterior, `std`, is returned in any case.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters`, the mean of the posterior (n_voxels,
            n_parameters); `effective_sample_size`, the number of equally weighted atoms that would
            be as good; `status` (see `Status`), which says where there are fewer than 10;
            `at_bound` (n_voxels, n_parameters), False throughout; `residual_rms` (units of X); and
            `std`, which costs nothing more. NaN for rows that are not
            possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X or sigma do not fit the signal model, or no noise level is known for these rows.
        """
        refuse(self, fixed=fixed)
        rows = check_estimate(self, X, sigma=sigma)
        mean, std, size = self._moments(rows.X, rows.sigma)
        residual = rows.X - expected_measurement(self.signal_model_, self.noise_, mean, rows.sigma)
        lost = ~np.isfinite(mean).all(axis=1)
        mean[lost], std[lost] = np.nan, np.nan
        few = lost | (size < _LEAST_SIZE)
        if few.any():
            warn(
                f"{np.count_nonzero(few)} of {len(few)} rows have an effective sample size below "
                f"{_LEAST_SIZE}, as their status says: more n_atoms would help."
            )
        status = np.where(few, Status.TOO_FEW_ATOMS, Status.OK).astype(np.int8)
        found = {
            "parameters": mean,
            "status": status,
            "at_bound": np.zeros(mean.shape, dtype=bool),
            "residual_rms": np.sqrt(np.mean(residual**2, axis=1)),
            "effective_sample_size": size,
            "std": std,
        }
        return scatter_results(rows.usable, **found)

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
        # How a matrix product rounds depends on its number of rows, if there are but a few.
        n_rows, missing = len(X), -len(X) % _WHOLE_ROWS
        X, sigma = (np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for a in (X, sigma))
        center, scale = self.atoms_.mean(axis=0), self.atoms_.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        unit = torch.from_numpy(((self.atoms_ - center) / scale).astype(np.float32))
        factors = torch.from_numpy(self._interpolation_.of_data(X, sigma))
        log_weights = factors @ torch.from_numpy(self._atom_features_)
        log_weights += torch.from_numpy(np.log(self.atom_weights_).astype(np.float32))
        # A measurement beyond single precision is like no atom at all.
        log_weights.nan_to_num_(nan=-torch.inf, posinf=-torch.inf)
        log_weights -= log_weights.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float32).min)
        mean, covariance, size = weighted_moments(log_weights.exp(), unit)
        few = np.flatnonzero(size < _REFINED_SIZE)
        if self._refinement_ is not None and len(few):
            broad = tempered_moments(log_weights[few] * _COOLED, unit, _BROAD_SIZE)
            found = self._refinement_(X[few], sigma[few], *broad[:2], center, scale)
            better = found[2] > size[few]
            for old, new in zip((mean, covariance, size), found, strict=True):
                old[few[better]] = new[better]
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        std = scale * np.sqrt(np.maximum(variance, 0.0))
        return tuple(part[:n_rows] for part in (center + scale * mean, std, size))
