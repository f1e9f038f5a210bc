"""Training of networks on blended labels, for one alpha and along the path of all."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from .._network import ScaledSquaredError, Task, train
from ..tissues import measure
from ._door import check_fit, settle_sigma
from ._labels import blend
from ._net import hold_out_tissues, learn_domain, make_inputs, network_settings

_LR = 0.02  # where the training settings have none
_MARGIN = 0.02  # of the range of the targets


def check_hybrid(estimator, net, X, y, sigma):
    """Check what `fit` was given against the parameters of `net`; settle what `estimator` learns.

    Parameters
    ----------
    estimator : estimator
        Gets the fitted attributes.
    net : HybridLabelNetRegressor
        Its parameters only are read.
    X, y, sigma
        The arguments of `fit`.

    Returns
    -------
    Rows
        With a noise level for each.
    """
    rows = check_fit(estimator, X, y, sigma, y_needed=True, settings=net)
    if net.normalize is not None and net.signal_model is None:
        raise ValueError("normalize='rms' needs a signal_model, to know the amplitudes.")
    if net.resample_noise is True and net.signal_model is None:
        raise ValueError("resample_noise=True needs a signal_model, to simulate y again.")
    network_settings(net)
    return settle_sigma(estimator, rows, sigma, settings=net)


def resamples(net, alpha):
    """Whether a network is trained on fresh noise every epoch, for alpha per parameter.

    "auto" is where it costs nothing: with a signal model to simulate y, and without labels, which
    belong to the noise that they were computed from.
    """
    if net.resample_noise == "auto":
        return net.signal_model is not None and not np.any(alpha)
    return bool(net.resample_noise)


def train_on_labels(net, signal_model, noise, labelled, alphas, mix):
    """Train a network on the blend of labels at each alpha.

    Parameters
    ----------
    net : HybridLabelNetRegressor
        Its parameters only are read.
    signal_model : SignalModel
    noise : NoiseModel
    labelled : LabelledRows
    alphas : ndarray of shape (n_labels, n_parameters)
        The first is that of the targets that get fresh noise, if any.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights with which the predictions for each are added.

    Returns
    -------
    FittedNetwork
    """
    network, training = network_settings(net)
    rng = check_random_state(net.random_state)
    X, y, sigma, labels = labelled
    inputs = make_inputs(net, network, signal_model, X, sigma)
    unit = inputs.parameter_scale(X)
    targets = np.stack([blend(y / unit, labels / unit, a, signal_model) for a in alphas])
    valid = hold_out_tissues(y, training.validation_fraction, rng)
    scale = error_scale(net.param_scale, signal_model, y, unit)
    heads = [
        shape_output(network.output, signal_model, alpha, target, scale)
        for alpha, target in zip(alphas, targets, strict=True)
    ]
    refresh = None
    if resamples(net, alphas[0]):
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
    task = Task(
        x, targets, valid, heads, mix, ScaledSquaredError(scale), refresh is not None, refresh
    )
    fitted = train(
        task, inputs, network, training, max_epochs=net.max_epochs, lr=_LR, rng=rng,
        verbose=net.verbose,
    )  # fmt: skip
    return learn_domain(fitted, signal_model, noise, X, sigma)


def error_scale(param_scale, signal_model, y, unit):
    """Scale of each parameter's error, in the units of the network's targets ``y / unit``.

    Where none is given, the signal model's; for an amplitude the mean of the training tissues, as
    the units of X must not matter.

    Raises
    ------
    ValueError
        If it is not one positive number per parameter.
    """
    if param_scale is None:
        scale = np.array([p.loss_scale for p in signal_model.parameters])
        amplitudes = np.array([p.amplitude for p in signal_model.parameters])
        return np.where(amplitudes, np.mean(np.abs(y) / unit, axis=0), scale)
    scale = np.asarray(param_scale, dtype=np.float64)
    n_parameters = len(signal_model.parameters)
    if scale.shape != (n_parameters,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(
            f"param_scale expects {n_parameters} positive numbers, got {param_scale!r}."
        )
    return scale * np.mean(1 / unit, axis=0)


def _measure_again(signal_model, noise, inputs, labelled, targets, rng):
    """Inputs and targets of an epoch: fresh noise for the truth, the old one for `targets`."""
    X = measure(signal_model, noise, labelled.y, labelled.sigma, rng)
    fresh = inputs.transform(X, labelled.sigma)
    if not len(targets):
        return fresh[None], (labelled.y / inputs.parameter_scale(X))[None]
    old = inputs.transform(labelled.X, labelled.sigma)
    truth = labelled.y / inputs.parameter_scale(X)
    return np.stack([fresh, *[old] * len(targets)]), np.stack([truth, *targets])


def shape_output(output, signal_model, alpha, target, scale):
    """Shape, offset and width of the last layer for each parameter, see `Head`."""
    low, high, spread = target.min(axis=0), target.max(axis=0), target.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    # Labels that sit on bounds must stay within reach of a sigmoid.
    margin = np.where(alpha > 0, _MARGIN * (high - low), 0.0)
    choices = {
        "sigmoid": (low - margin, np.maximum(high - low + 2 * margin, 1e-6 * spread)),
        "softplus": (low - margin, spread),
        "abs": (np.zeros_like(low), scale),
        "identity": (target.mean(axis=0), spread),
    }
    parameters = signal_model.parameters
    shapes = [
        _auto(p, a) if output == "auto" else output for p, a in zip(parameters, alpha, strict=True)
    ]
    columns = [[choices[shape][i][j] for j, shape in enumerate(shapes)] for i in (0, 1)]
    return tuple(shapes), *np.array(columns)


def _auto(parameter, alpha):
    """Squash where the targets have a box: true parameters do, estimates only between bounds."""
    low, high = parameter.bounds
    if not np.isfinite(low) and not np.isfinite(high):
        return "identity"
    return "sigmoid" if alpha == 0 or np.isfinite(high) else "softplus"
