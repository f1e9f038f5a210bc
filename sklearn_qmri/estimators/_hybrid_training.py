"""Training of networks on blended labels, for one alpha or for the whole path."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from .._network import LabelTask, ScaledSquaredError, train
from ..tissues import measure
from ._door import check_fit, settle_sigma
from ._labels import blend
from ._net import check_normalize, hold_out_tissues, learn_domain, make_inputs, network_settings

# Learning rate if the training settings have none.
_LR = 0.02
# Margin of a sigmoid's range beyond the targets, as a share of their range.
_MARGIN = 0.02


def check_hybrid(estimator, net, X, y, sigma):
    """Check the arguments of `fit` and the parameters of `net`, and determine the noise level.

    Parameters
    ----------
    estimator : estimator
        Estimator that gets the fitted attributes.
    net : HybridLabelNetRegressor
        Network of which only the parameters are read.
    X, y, sigma
        Arguments of `fit`.

    Returns
    -------
    Rows
        Usable rows, with a noise level for each.
    """
    rows = check_fit(estimator, X, y, sigma, y_needed=True, settings=net)
    check_normalize(net)
    if net.resample_noise is True and net.signal_model is None:
        raise ValueError("resample_noise=True needs a signal_model, to simulate the signals of y.")
    network_settings(net)
    return settle_sigma(estimator, rows, sigma, settings=net)


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
    return learn_domain(fitted, signal_model, noise, X, sigma)


def error_scale(param_scale, signal_model, y, unit):
    """Scale of each parameter's error, in the units of the network's targets ``y / unit``.

    The default is the loss scale of the signal model. For an amplitude it is the mean of the
    training tissues, so that the result does not depend on the units of X.

    Raises
    ------
    ValueError
        If `param_scale` is not one positive number per parameter.
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
    # With normalize="rms" each row has a unit of its own. The mean of 1 / unit converts the scale.
    return scale * np.mean(1 / unit, axis=0)


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


def shape_output(output, signal_model, alpha, target, scale):
    """Shape, offset and width of the last layer for each parameter, see `Head`."""
    low, high, spread = target.min(axis=0), target.max(axis=0), target.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    # A sigmoid only approaches the ends of its range. Many labels can be exactly on bounds, so the
    # range is wider than theirs. True tissues are rarely at the ends and need no margin.
    margin = np.where(alpha > 0, _MARGIN * (high - low), 0.0)
    # For each shape the offset and the width. A sigmoid's width must not be 0 where all targets are
    # the same.
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
    """Shape of the output where the user leaves the choice."""
    low, high = parameter.bounds
    # True parameters are within the range of the training tissues. Estimates are only limited by
    # the bounds of their parameter, which may have no upper end.
    if not np.isfinite(low) and not np.isfinite(high):
        return "identity"
    return "sigmoid" if alpha == 0 or np.isfinite(high) else "softplus"
