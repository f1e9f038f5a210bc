"""Training of networks on bias and variance, for all weights of the bias at once."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from .._network import BiasWeights, OneBiasWeight, RepeatTask, train
from ..information import bayesian_deviations, fisher_information, standard_deviations
from ._net import hold_out_tissues, learn_domain, make_inputs, network_settings
from ._outputs import error_scale, shape_output
from ._repeats import FreshRepeats, StoredRepeats

_LR = 0.01  # where the training settings have none
_STORED, _FRESH = 4, 2  # repeats of a tissue in a step, where the estimator has none
# Weights beyond those that can be asked for are trained too, up to this factor: networks are worse
# at the ends of their range.
_BEYOND = 2.0
# Standard deviation of the training tissues, as a share of the loss scale, below which they count
# as one value.
_LEAST_SPREAD = 1e-3


def check_bias_weight(bias_weight, n_parameters, largest):
    """Weight of the squared bias per parameter.

    Raises
    ------
    ValueError
        If it is not one number, or one per parameter, from 1 on and up to `largest`, unless that is
        None.
    """
    try:
        values = np.asarray(bias_weight)
        values = values.astype(np.float64, casting="same_kind")
    except TypeError:
        values = np.empty((0, 0))
    if values.shape not in ((), (n_parameters,)):
        raise ValueError(
            f"bias_weight expects a number or one per parameter ({n_parameters}), got "
            f"{bias_weight!r}."
        )
    if largest is None and not ((values >= 1) & np.isfinite(values)).all():
        raise ValueError(f"bias_weight expects finite values of at least 1, got {bias_weight!r}.")
    if largest is not None and not ((values >= 1) & (values <= largest)).all():
        raise ValueError(
            f"bias_weight expects values in [1, {largest:g}], the range of the training "
            f"(max_bias_weight), got {bias_weight!r}."
        )
    return np.broadcast_to(values, n_parameters).copy()  # torch refuses arrays that are read-only


def network_at(network, weight, largest):
    """Network at weights (n_parameters,), if it was trained for all up to `largest`."""
    return network.at(_trained_range(largest).inputs(weight))


def _trained_range(largest):
    """Weights that are trained, if those from 1 to `largest` can be asked for."""
    return BiasWeights(1 / _BEYOND, _BEYOND * largest)


def train_on_bias(net, signal_model, noise, rows):
    """Train a network on the bias and variance of its predictions over noise repeats.

    Parameters
    ----------
    net : BiasConstrainedNetRegressor
        Its parameters only are read.
    signal_model : SignalModel
    noise : NoiseModel
    rows : Rows
        With a noise level for each.

    Returns
    -------
    FittedNetwork
        Its last inputs are the weights, one per parameter, unless there is just one of each; see
        `network_at`.
    """
    network, training = network_settings(net)
    rng = check_random_state(net.random_state)
    inputs = make_inputs(net, network, signal_model, rows.X, rows.sigma)
    repeats = _repeats(net, signal_model, noise, rows, rng)
    y = repeats.y
    deviation = error_deviation(
        net.loss_weight, signal_model, noise, y, repeats.sigma, net.normalize
    )
    unit = inputs.parameter_scale(rows.X)
    scale = error_scale(None, signal_model, rows.y, unit)
    everywhere = np.ones(y.shape[1])  # shapes are those of estimates, not of true parameters
    shape = "identity" if network.output == "auto" else network.output
    largest = net.max_bias_weight
    if largest is None:
        span = OneBiasWeight(check_bias_weight(net.bias_weight, y.shape[1], None))
    else:
        span = _trained_range(largest)
    task = RepeatTask(
        partial(_draw, inputs, repeats, deviation),
        hold_out_tissues(y, training.validation_fraction, rng),
        inputs.transform(rows.X[:1], rows.sigma[:1]).shape[1],
        repeats.n_repeats,
        span,
        [shape_output(shape, signal_model, everywhere, rows.y / unit, scale)],
        net.free_variance,
    )
    fitted = train(
        task, inputs, network, training, max_epochs=net.max_epochs, lr=_LR, rng=rng,
        verbose=net.verbose,
    )  # fmt: skip
    ends = [fitted]
    if largest is not None:
        # From the least to the largest weight, predictions are less biased and vary more.
        ends = [network_at(fitted, np.full(y.shape[1], w), largest) for w in (1.0, largest)]
    return learn_domain(
        fitted, signal_model, noise, rows.X, rows.sigma, tissues=rows.y, variants=ends
    )


def _repeats(net, signal_model, noise, rows, rng):
    """Noise repeats of the training tissues: stored rows if there is no model to simulate them."""
    if net.signal_model is None:
        return StoredRepeats(rows, net.n_repeats or _STORED, rng)
    spread = _spread(signal_model, rows.y, net.normalize)
    return FreshRepeats(signal_model, noise, rows, net.n_repeats or _FRESH, spread, rng)


def error_deviation(loss_weight, signal_model, noise, y, sigma, normalize=None):
    """Divisor of the errors of each tissue and parameter in the loss, (n_tissues, n_parameters).

    With "information" it is the tissue's own: the standard deviation of an efficient estimate that
    knows the prior. With None, all tissues have the root mean square of these, so that parameters
    have comparable losses. A number between 0 (None) and 1 ("information") is the power of the
    first in their weighted geometric mean. "cramer_rao" is the tissue's own without the prior, and
    infinity where the measurement does not identify a parameter.

    Raises
    ------
    ValueError
        If "cramer_rao" is infinite in all tissues for a parameter.
    """
    if loss_weight == "cramer_rao":
        return _cramer_rao_deviation(signal_model, noise, y, sigma)
    information = fisher_information(signal_model, noise, y, sigma)
    own = bayesian_deviations(information, _spread(signal_model, y, normalize) ** 2)
    return temper(own, {"information": 1.0, None: 0.0}.get(loss_weight, loss_weight))


def temper(own, power):
    """Geometric mean of each tissue's deviation, with a power, and of that of all tissues."""
    return own**power * np.sqrt(np.mean(own**2, axis=0)) ** (1 - power)


def _spread(signal_model, y, normalize):
    """Standard deviation of each parameter that a network can learn from the training tissues.

    If all have one value there is none, and an error divided by it would rule the loss: the loss
    scale, or the size of an amplitude, takes its place. With ``normalize="rms"`` the spread of an
    amplitude is unknown to the network, which predicts it relative to the row.
    """
    parameters = signal_model.parameters
    amplitude = np.array([p.amplitude for p in parameters])
    scale = np.where(amplitude, np.abs(y).mean(axis=0), [p.loss_scale for p in parameters])
    std = y.std(axis=0)
    alike = std <= _LEAST_SPREAD * scale
    if normalize is not None:
        alike |= amplitude & (std < scale)
    return np.where(alike, scale, std)


def _cramer_rao_deviation(signal_model, noise, y, sigma):
    """Square root of the Cramer-Rao bound (n_tissues, n_parameters), infinity where there is none.

    An error divided by infinity is 0: such a tissue does not count.
    """
    information = fisher_information(signal_model, noise, y, sigma)
    bound = standard_deviations(information, np.ones(y.shape, dtype=bool))
    unknown = np.isnan(bound)
    if unknown.all(axis=0).any():
        names = [p.name for p, u in zip(signal_model.parameters, unknown.T, strict=True) if u.all()]
        raise ValueError(
            f"loss_weight='cramer_rao' divides errors by the Cramer-Rao bound, which no training "
            f"tissue has for {', '.join(names)}. Pass loss_weight='information'."
        )
    return np.where(unknown, np.inf, bound)


def _draw(inputs, repeats, deviation, tissues):
    """Network inputs and targets of noise repeats of tissues, see `RepeatTask`."""
    X, control = repeats.draw(tissues)
    rows = np.repeat(tissues, repeats.n_repeats)
    # Predictions p are in units of the row: its estimate is p * unit, and the error divided by the
    # deviation is (p - y / unit) * unit / deviation.
    unit = inputs.parameter_scale(X)
    control = control / deviation[rows]
    target = np.hstack([repeats.y[rows] / unit, unit / deviation[rows], control])
    return inputs.transform(X, repeats.sigma[rows]), target.astype(np.float32)
