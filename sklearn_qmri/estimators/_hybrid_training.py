"""Training of networks on blended labels, for one alpha or for the whole path."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from .._network import LabelTask, ScaledSquaredError, train
from ..tissues import measure
from ._labels import blend
from ._net import check_training, hold_out_tissues, learn_domain, make_inputs, network_settings
from ._outputs import error_scale, shape_output

# Learning rate if the training settings have none.
_LR = 0.02


def check_hybrid(estimator, net, X, y, sigma):
    """Check what `fit` was given, same as `check_training`, and whether noise can be resampled."""
    rows = check_training(estimator, net, X, y, sigma)
    if net.resample_noise is True and net.signal_model is None:
        raise ValueError("resample_noise=True needs a signal_model, to simulate the signals of y.")
    return rows


def resamples(net, alpha):
    """Whether noise is resampled every epoch, for targets with this alpha per parameter.

    "auto" means yes for targets that are the truth alone, if there is a signal model to simulate
    them. Maximum-likelihood labels belong to the noise that they were computed from.
    """
    if net.resample_noise == "auto":
        return net.signal_model is not None and not np.any(alpha)
    return bool(net.resample_noise)


def train_on_labels(net, signal_model, noise, labelled, alphas, mix):
    """Train a network on the blend of labels at each alpha.

    Parameters
    ----------
    net : HybridLabelNetRegressor
        Network of which only the parameters are read.
    signal_model : SignalModel
    noise : NoiseModel
    labelled : LabelledRows
    alphas : ndarray of shape (n_labels, n_parameters)
        Alpha of each kind of label. Only the targets of the first can get fresh noise.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights of the predictions for each kind of label in their sum.

    Returns
    -------
    FittedNetwork
    """
    network, training = network_settings(net)
    rng = check_random_state(net.random_state)
    X, y, sigma, labels = labelled
    inputs = make_inputs(net, network, signal_model, X, sigma)
    # The network predicts amplitudes relative to its normalised inputs, so that targets are too.
    unit = inputs.parameter_scale(X)
    targets = np.stack([blend(y / unit, labels / unit, a, signal_model) for a in alphas])
    valid = hold_out_tissues(y, training.validation_fraction, rng)
    scale = error_scale(net.param_scale, signal_model, y, unit)
    heads = [
        shape_output(network.output, signal_model, alpha, target, scale)
        for alpha, target in zip(alphas, targets, strict=True)
    ]
    refresh = None
    if resamples(net, alphas):
        # Validation rows keep their noise, so that epochs can be compared.
        refresh = partial(
            _measure_again,
            signal_model,
            noise,
            inputs,
            labelled.take(~valid),
            targets[1:, ~valid],
            rng,
        )
    x = inputs.transform(X, sigma)
    task = LabelTask(
        x, targets, valid, heads, mix, ScaledSquaredError(scale), refresh is not None, refresh
    )
    fitted = train(
        task, inputs, network, training, max_epochs=net.max_epochs, lr=_LR, rng=rng,
        verbose=net.verbose,
    )  # fmt: skip
    return learn_domain(fitted, signal_model, noise, X, sigma, tissues=y)


def _measure_again(signal_model, noise, inputs, labelled, targets, rng):
    """Inputs and targets of an epoch: fresh noise for the truth, the measured X for `targets`.

    Inputs are (n_labels, n_rows, n_inputs), and targets are (n_labels, n_rows, n_parameters).
    """
    X = measure(signal_model, noise, labelled.y, labelled.sigma, rng)
    # With normalize="rms" the unit of a row is the root mean square of its fresh measurement, for
    # inputs and targets alike.
    fresh = inputs.transform(X, labelled.sigma)
    if not len(targets):
        return fresh[None], (labelled.y / inputs.parameter_scale(X))[None]
    old = inputs.transform(labelled.X, labelled.sigma)
    truth = labelled.y / inputs.parameter_scale(X)
    return np.stack([fresh, *[old] * len(targets)]), np.stack([truth, *targets])
