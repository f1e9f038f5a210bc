"""The network for any protocol, which comes trained."""

from functools import partial
from numbers import Real
from os import PathLike
from typing import ClassVar

import numpy as np
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from .._network import ProtocolFreeNetwork
from ..signal_models import SignalModel
from ..status import Status
from ._bias_constrained_training import check_bias_weight
from ._door import NOISE, SIGMA_PER_MEASUREMENT, check_estimate, check_fit, settle_sigma
from ._mle import fit_sigma
from ._net import expected_within_bounds, warn_of_domain
from ._pretraining import name_of
from ._protocol_ranges import check_protocol
from ._regressor import TissueRegressorMixin, all_or_nothing, predicted, refuse
from ._rows import in_pieces, scatter_results
from ._weights import packaged_weights, read_weights

_BLOCK = 65536  # rows that are predicted and described at once, to limit memory
_ALARMS = 0.006  # share of rows without any fault that are out of domain by their misfit


class PretrainedNetRegressor(TissueRegressorMixin, BaseEstimator):
    """Network for any protocol and noise level, which needs no training.

    Estimates have little variance + w * squared bias, for any weight w of the bias, as those of
    `BiasConstrainedNetRegressor`. The protocol is that of the signal model. The network sees a
    measurement only through its likelihoods under a thousand simulated tissues, which are computed
    for the protocol, the noise model and the noise level at hand.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        Signals of tissues without noise. It has to be given.
    bias_weight : float or array-like of shape (n_parameters,), default=10.0
        Weight w of the squared bias, at least 1: about the number of voxels that are averaged. At 1
        estimates are means of the posterior.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit` by maximum likelihood.
    weights : ProtocolFreeNetwork or path-like, default=None
        A network from `pretrain`, or a file with one. None: the one that comes with the package for
        this signal model.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float, ndarray of shape (1, n_measurements), or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    network_ : ProtocolFreeNetwork
        The network. Its `about` has the tissues, protocols and noise levels of its training.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    pretrain : Trains such a network for a signal model of your own.
    BiasConstrainedNetRegressor : A network for one protocol, trained on tissues of your choice.

    Notes
    -----
    The tissues of the training are wider than the prior of the signal model; the network's
    ``about["prior"]`` has their ranges. The trade of bias for variance is the best on average over
    these, not for each tissue.

    Examples
    --------
    >>> from sklearn_qmri import PretrainedNetRegressor
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 50, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 200, snr=40, random_state=0)
    >>> net = PretrainedNetRegressor(model, sigma=1 / 40).fit(X)
    >>> net.predict(X, bias_weight=4).shape
    (200, 4)
    """

    _per_measurement = True
    _takes_missing = True
    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel, None],
        "bias_weight": [Interval(Real, 1, None, closed="left"), "array-like"],
        "noise": NOISE,
        "sigma": SIGMA_PER_MEASUREMENT,
        "weights": [ProtocolFreeNetwork, str, PathLike, None],
    }

    def __init__(
        self, signal_model=None, *, bias_weight=10.0, noise="auto", sigma=None, weights=None
    ):
        self.signal_model = signal_model
        self.bias_weight = bias_weight
        self.noise = noise
        self.sigma = sigma
        self.weights = weights

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Check the protocol, and learn the noise level if none is given.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        y : array-like of shape (n_voxels, n_parameters), default=None
            Not needed. It is only checked.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Takes precedence over the parameter of the same name.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument or parameter is out of range, there is no signal model or no network for
            it, its protocol is outside the range of the training, no row is usable, or the noise
            level cannot be learnt.
        """
        if self.signal_model is None:
            raise ValueError("PretrainedNetRegressor expects a signal_model, got None.")
        rows = check_fit(self, X, y, sigma, y_needed=False)
        model = self.signal_model_
        network = _find(self.weights, model)
        check_protocol(model, network.about["protocols"])
        largest = network.about["max_bias_weight"]
        check_bias_weight(self.bias_weight, len(model.parameters), largest)
        learn = partial(fit_sigma, model, self.noise_, rows.measured, False)
        settle_sigma(self, rows, sigma, learn)
        self.network_ = network
        return self

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False, bias_weight=None):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level; infinity where there is no measurement. None: the one of `fit`.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            True is refused.
        bias_weight : float or array-like of shape (n_parameters,), default=None
            Weight of the squared bias. None: the parameter of the same name.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`; out of domain if no tissue of the training has such a signal, or sigma is
            outside the training), `at_bound` (n_voxels, n_parameters), always False, and
            `residual_rms` (units of X). Values are NaN for rows that are not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X, sigma or the weight do not fit, no noise level is known for these rows, `fixed` is
            given or `return_std` is True.
        """
        return self._results(X, sigma, fixed, return_std, bias_weight, self._describe)

    def predict(self, X, *, sigma=None, fixed=None, return_std=False, bias_weight=None):
        """Predict tissue parameters, which are the `parameters` of `estimate`.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level; infinity where there is no measurement. None: the one of `fit`.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            True is refused.
        bias_weight : float or array-like of shape (n_parameters,), default=None
            Weight of the squared bias, see `estimate`.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters)
            NaN for rows that are not possible measurements.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`.
        """
        # Without `_describe`, whose residuals need the signals of all predictions.
        results = self._results(X, sigma, fixed, return_std, bias_weight, self._predict)
        return predicted(self, results, False)

    def _results(self, X, sigma, fixed, return_std, bias_weight, compute):
        """Results of `estimate` or `predict`; `compute` returns those of usable rows."""
        check_is_fitted(self)
        refuse(self, fixed=fixed, return_std=return_std)
        rows = check_estimate(self, X, sigma=sigma)
        weight = self.bias_weight if bias_weight is None else bias_weight
        n_parameters, largest = len(self.signal_model_.parameters), self._largest_weight
        weight = check_bias_weight(weight, n_parameters, largest)

        def of_piece(piece):
            some = rows.piece(piece)
            return compute(some.X, some.sigma_of_measurements(), weight)

        results = in_pieces(len(rows.X), _BLOCK, of_piece)
        warn_of_domain(results["status"], len(rows.X))
        return scatter_results(rows.usable, **results)

    @property
    def _largest_weight(self):
        return self.network_.about["max_bias_weight"]

    def _predict(self, X, sigma, weight):
        """Parameters and status of usable rows."""
        network = self.network_
        parameters, misfit = network.predict(self.signal_model_, self.noise_, X, sigma, weight)
        # Around the optimum the squared residuals have a chi-squared distribution.
        n_present = np.count_nonzero(np.isfinite(sigma), axis=1)
        freedom = np.maximum(n_present - parameters.shape[1], 1)
        limits = chi2.isf(_ALARMS, np.arange(1, X.shape[1] + 1))  # by degrees of freedom
        inside = misfit <= limits[freedom - 1]
        # Of measurements that differ in noise, the level of one that tells as much as their mean.
        level = np.sqrt(n_present / np.sum(1 / sigma**2, axis=1))
        snr = parameters[:, network.atoms.amplitude] / level
        least, most = network.about["snr"]
        inside &= (snr >= least) & (snr <= most)
        status = np.where(inside, Status.OK, Status.OUT_OF_DOMAIN).astype(np.int8)
        return {"parameters": parameters, "status": status}

    def _describe(self, X, sigma, weight):
        """Columns of the results of usable rows."""
        results = self._predict(X, sigma, weight)
        parameters = results["parameters"]
        expected = expected_within_bounds(self.signal_model_, self.noise_, parameters, sigma)
        return results | {
            "at_bound": np.zeros(parameters.shape, dtype=bool),
            "residual_rms": np.sqrt(np.nanmean((X - expected) ** 2, axis=1)),
        }


def _find(weights, signal_model):
    """The network to use for a signal model; an error if it was trained for another one."""
    if weights is None:
        return packaged_weights(signal_model)
    network = weights if isinstance(weights, ProtocolFreeNetwork) else read_weights(weights)
    if network.about["model"] != name_of(signal_model):
        raise ValueError(
            f"weights expects a network for {name_of(signal_model)}, got one for "
            f"{network.about['model']}."
        )
    return network
