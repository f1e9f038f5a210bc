"""The functions that network regressors share, whatever they are trained on."""

import numpy as np

from .._network import MLP, Domain, NetworkInputs, Training
from .._torch import pieces
from .._warnings import warn
from ..noise import expected_measurement
from ..status import Status
from ..tissues import number_tissues
from ._door import check_estimate, refuse, scatter_results

_BLOCK = 65536  # rows that are predicted and described at once
_MANY = 0.1  # share of rows out of domain that is worth a warning


def network_settings(settings):
    """Architecture and training of an estimator, checked; the defaults where they are None."""
    network = MLP() if settings.network is None else settings.network
    training = Training() if settings.training is None else settings.training
    network.validate()
    training.validate()
    return network, training


def make_inputs(settings, network, signal_model, X, sigma):
    """Network inputs of an estimator, with the whitening of its training rows."""
    inputs = NetworkInputs(
        signal_model, settings.normalize, settings.sigma_input, network.standardize
    )
    return inputs.fit(X, sigma)


def hold_out_tissues(y, fraction, rng):
    """Rows of a validation set that shares no tissue (distinct row of y) with the rest."""
    tissue = number_tissues(y)
    n_tissues = tissue.max() + 1
    n_valid = max(1, round(fraction * n_tissues))
    if n_valid >= n_tissues:
        raise ValueError(
            f"validation_fraction={fraction} leaves nothing to train on: y has {n_tissues} "
            f"distinct tissue(s) in n_samples={len(y)} rows."
        )
    return np.isin(tissue, rng.permutation(n_tissues)[:n_valid])


def learn_domain(network, signal_model, noise, X, sigma):
    """The trained network that knows its domain, which is that of its training rows."""
    predicted = network.predict(X, sigma)
    expected = expected_measurement(signal_model, noise, predicted, sigma)
    return network.with_domain(Domain(network.inputs).fit(X, sigma, expected, predicted))


def estimate_by_network(estimator, X, sigma, fixed, return_std):
    """Result of `estimate` of an estimator with a fitted `network_`.

    Rows are predicted block by block, so that little memory is needed beyond the results.
    """
    refuse(estimator, fixed=fixed)
    rows = check_estimate(estimator, X, sigma=sigma)
    network = estimator.network_
    if return_std and network.n_members < 2:
        raise ValueError(
            "return_std=True needs an ensemble, Training(ensemble=True, n_init=2) or more."
        )
    n_rows, n_parameters = len(rows.X), network.mix.shape[1]
    found = {
        "parameters": np.empty((n_rows, n_parameters)),
        "status": np.empty(n_rows, dtype=np.int8),
        "at_bound": np.zeros((n_rows, n_parameters), dtype=bool),
        "residual_rms": np.empty(n_rows),
    }
    if return_std:
        found["std"] = np.empty((n_rows, n_parameters))
    for block in pieces(n_rows, _BLOCK):
        x, level = rows.X[block], rows.sigma[block]
        members = network.members(x, level)
        predicted = members.mean(axis=0)
        expected = expected_measurement(estimator.signal_model_, estimator.noise_, predicted, level)
        covered = network.covers(x, level, expected, predicted)
        found["parameters"][block] = predicted
        found["status"][block] = np.where(covered, Status.OK, Status.OUT_OF_DOMAIN)
        found["residual_rms"][block] = np.sqrt(np.mean((x - expected) ** 2, axis=1))
        if return_std:
            found["std"][block] = members.std(axis=0, ddof=1)
    n_outside = np.count_nonzero(found["status"] == Status.OUT_OF_DOMAIN)
    if n_outside > _MANY * n_rows:
        warn(
            f"{n_outside} of {n_rows} rows are unlike what the network was trained on; their "
            "status says so."
        )
    return scatter_results(rows.usable, **found)
