"""Base of network regressors, independent of the training."""

from functools import partial
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._network import MLP, Domain, NetworkInputs, Training
from .._warnings import warn
from ..noise import expected_measurement
from ..signal_models import SignalModel
from ..status import Status
from ..tissues import number_tissues
from ._door import NOISE, SIGMA_PER_MEASUREMENT, check_estimate, check_fit, settle_sigma
from ._regressor import TissueRegressorMixin, predicted, refuse
from ._rows import in_pieces, scatter_results

# Rows that are predicted and described at once, to limit memory.
_BLOCK = 65536
# Rows that `predict` compares with the training, evenly spaced: it only warns, and all would take
# longer than the predictions.
_CHECKED = 2048
# Share of rows out of domain above which there is a warning. A few are to be expected in any scan.
_MANY = 0.1


# Constraints of the parameters that estimators with a trained network have in common.
NETWORK = {
    "signal_model": [SignalModel, None],
    "noise": NOISE,
    "sigma": SIGMA_PER_MEASUREMENT,
    "normalize": [StrOptions({"rms"}), None],
    "sigma_input": ["boolean"],
    "network": [MLP, None],
    "max_epochs": [Interval(Integral, 1, None, closed="left")],
    "training": [Training, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


class NetworkRegressorMixin(TissueRegressorMixin):
    """Methods `estimate` and `predict` of regressors with a fitted `network_`."""

    # Its inputs are all measurements, so that none may be missing.
    _per_measurement = True

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level. None: the one of `fit`.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Whether to return `std` too, the standard deviation over the members of an ensemble. It
            measures how much networks with different initial weights disagree. It contains neither
            the effect of noise in X nor the bias that all members share.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`; out of domain if no tissue has such a signal, or the noise level or the
            prediction is beyond the range of the training), `at_bound` (n_voxels, n_parameters),
            always False, `residual_rms` (units of X), and with `return_std` also `std`. Values are
            NaN for rows that are not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X or sigma do not fit the training, no noise level is known for these rows, `fixed`
            is given, or `return_std` is True without an ensemble.
        """
        check_is_fitted(self)
        return estimate_by(self, self.network_, X, sigma, fixed, return_std)

    def predict(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predict tissue parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level. None: the one of `fit`.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            Whether to return the standard deviation of an ensemble too, see `estimate`.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`.
        """
        check_is_fitted(self)
        return predict_by(self, self.network_, X, sigma, fixed, return_std)


def estimate_by(estimator, network, X, sigma, fixed, return_std):
    """Results of `NetworkRegressorMixin.estimate`, by a network of a fitted estimator."""
    rows = _check(estimator, network, X, sigma, fixed, return_std)
    describe = partial(_describe, network, estimator.signal_model_, estimator.noise_)
    results = _predict_rows(network, rows, return_std, describe)
    warn_of_domain(results["status"], len(rows.X))
    results["at_bound"] = np.zeros(results["parameters"].shape, dtype=bool)
    return scatter_results(rows.usable, **results)


def warn_of_domain(status, n_rows):
    """Warn if many rows are out of the domain of a network.

    Parameters
    ----------
    status : ndarray of shape (n_checked,)
        Status of each row, or of evenly spaced rows.
    n_rows : int
        Number of all rows.
    """
    n_outside = np.count_nonzero(status == Status.OUT_OF_DOMAIN)
    if n_outside > _MANY * len(status):
        checked = "" if len(status) == n_rows else f" that were checked (of {n_rows})"
        warn(
            f"{n_outside} of {len(status)} rows{checked} are unlike what the network was trained "
            "on; the status from `estimate` says which."
        )


def predict_by(estimator, network, X, sigma, fixed, return_std):
    """Results of `NetworkRegressorMixin.predict`, by a network of a fitted estimator."""
    # Without `estimate_by`, whose status and residual take longer than the predictions.
    rows = _check(estimator, network, X, sigma, fixed, return_std)
    results = _predict_rows(network, rows, return_std)
    if (n := len(rows.X)) > 0:
        some = np.unique(np.linspace(0, n - 1, min(n, _CHECKED)).astype(int))
        parts = rows.X[some], rows.sigma[some], results["parameters"][some]
        found = _describe(network, estimator.signal_model_, estimator.noise_, *parts)
        warn_of_domain(found["status"], n)
    return predicted(estimator, scatter_results(rows.usable, **results), return_std)


def _check(estimator, network, X, sigma, fixed, return_std):
    """Usable rows of X, after a check of the arguments."""
    refuse(estimator, fixed=fixed)
    rows = check_estimate(estimator, X, sigma=sigma)
    if return_std and network.n_members < 2:
        raise ValueError(
            "return_std=True needs an ensemble, Training(ensemble=True, n_init=2) or more."
        )
    return rows


def network_settings(settings):
    """Checked settings of architecture and training, with defaults in place of None."""
    network = MLP() if settings.network is None else settings.network
    training = Training() if settings.training is None else settings.training
    network.validate()
    training.validate()
    return network, training


def check_training(estimator, net, X, y, sigma):
    """Check what `fit` was given, and the settings of `net`; settle what `estimator` learns.

    Parameters
    ----------
    estimator : estimator
        Gets the fitted attributes.
    net : estimator
        Its parameters only are read: the network that a search is over, or `estimator` itself.
    X, y, sigma
        The arguments of `fit`.

    Returns
    -------
    Rows
        With a noise level for each.
    """
    rows = check_fit(estimator, X, y, sigma, y_needed=True, settings=net)
    if net.normalize is not None and net.signal_model is None:
        raise ValueError("normalize='rms' needs a signal_model, which defines the amplitudes.")
    network_settings(net)
    return settle_sigma(estimator, rows, sigma, settings=net)


def make_inputs(settings, network, signal_model, X, sigma):
    """Network inputs of an estimator, with the whitening learnt from its training rows."""
    inputs = NetworkInputs(
        signal_model, settings.normalize, settings.sigma_input, network.standardize
    )
    return inputs.fit(X, sigma)


def hold_out_tissues(y, fraction, rng):
    """Whether each row is held out for validation; tissues (distinct rows of y) are not split."""
    tissue = number_tissues(y)
    n_tissues = tissue.max() + 1
    n_valid = max(1, round(fraction * n_tissues))
    if n_valid >= n_tissues:
        raise ValueError(
            f"validation_fraction={fraction} leaves nothing to train on: y has {n_tissues} "
            f"distinct tissue(s) in n_samples={len(y)} rows."
        )
    return np.isin(tissue, rng.permutation(n_tissues)[:n_valid])


def learn_domain(network, signal_model, noise, X, sigma, *, tissues=None, variants=None):
    """Trained network with its domain, which is learnt from the training rows.

    Parameters
    ----------
    network : FittedNetwork
    signal_model : SignalModel
    noise : NoiseModel
    X, sigma, tissues : ndarray
        Training rows; see `Domain`.
    variants : list of FittedNetwork, default=None
        Each row counts with the predictions of all variants of the network. None: of itself.
    """
    variants = [network] if variants is None else variants
    predicted = np.stack([variant.predict(X, sigma) for variant in variants])
    expected = np.stack(
        [expected_within_bounds(signal_model, noise, each, sigma) for each in predicted]
    )
    domain = Domain(network.inputs, signal_model, noise)
    return network.with_domain(domain.fit(X, sigma, expected, predicted, tissues))


def _predict_rows(network, rows, return_std, describe=None):
    """Columns of results by name."""

    def predict(block):
        X, sigma = rows.X[block], rows.sigma[block]
        members = network.members(X, sigma)  # (n_members, n_rows, n_parameters)
        results = {"parameters": members.mean(axis=0)}
        if return_std:
            results["std"] = members.std(axis=0, ddof=1)
        if describe is not None:
            results |= describe(X, sigma, results["parameters"])
        return results

    return in_pieces(len(rows.X), _BLOCK, predict)


def _describe(network, signal_model, noise, X, sigma, parameters):
    """Status and residual of predicted rows."""
    expected = expected_within_bounds(signal_model, noise, parameters, sigma)
    covered = network.covers(X, sigma, expected, parameters)
    return {
        "status": np.where(covered, Status.OK, Status.OUT_OF_DOMAIN).astype(np.int8),
        "residual_rms": np.sqrt(np.mean((X - expected) ** 2, axis=1)),
    }


def expected_within_bounds(signal_model, noise, parameters, sigma):
    """Measurements to be expected of predicted tissues, or of the nearest possible ones.

    A network may predict T2 < 0, of which the signal exp(-TE / T2) has no bound: one such training
    row would make the range of residuals infinite, or NaN and every row outside it.
    """
    low, high = np.transpose([p.bounds for p in signal_model.parameters])
    return expected_measurement(signal_model, noise, parameters.clip(low, high), sigma)
