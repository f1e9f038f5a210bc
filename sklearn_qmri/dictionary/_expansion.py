"""Least squares that have nearly the likelihood of the noise model around each voxel's optimum."""

import numpy as np
import torch

_AWAY = 1.5  # distance between signals, in standard deviations, over which a curvature is measured
_STRONG = 1e4  # signal, in units of sigma, at which all noise is normal


def least_squares(noise, x, precision, fit):
    """Weights and data of least squares with the likelihood of the noise model, to second order.

    Parameters
    ----------
    noise : NoiseModel
    x, precision : tensor of shape (n_voxels, n_measurements)
        Measurements, and 1 / sigma of each; 0 where there is none.
    fit : callable
        Function of weights w and of w times data. It returns signals a near the optimum, of the
        same shape, around which the likelihood is expanded.

    Returns
    -------
    weight, pull : tensor of shape (n_voxels, n_measurements)
        Weights, and weights times data.
    """
    # First without second derivatives: least squares of the measurements without their bias.
    scaled, weight = x * precision, precision.square()
    signal = fit(weight, noise.without_bias(scaled) * precision)
    # With the gradient g of the loss and a curvature h, the loss of a signal s is
    # g (s - a) + h (s - a)^2 / 2 and a constant. It is that of least squares with the weight h and
    # the data a - g / h.
    gradient, curvature = _expand(noise, scaled, signal * precision)
    weight = weight * curvature
    return weight, weight * signal - gradient * precision


def _expand(noise, x, signal):
    """Gradient and curvature of the loss at signals in units of sigma.

    The curvature is the expected information. Where a magnitude is at the noise floor, that is 0,
    although much larger signals are unlikely. Then it is the curvature of the parabola through the
    loss at the signal and `_AWAY` above it.
    """
    loss, gradient, _ = noise.derivatives(x, signal)
    # Of a strong signal, whose noise is normal; 1 for all noise models but those of averages.
    most = torch.as_tensor(noise.information(np.full(x.shape[-1], _STRONG)), dtype=x.dtype)
    away = _AWAY / most.sqrt()
    above = noise.derivatives(x, signal + away)[0]
    secant = 2 * (above - loss - gradient * away) / away**2
    information = torch.as_tensor(noise.information(signal.numpy()), dtype=x.dtype)
    # No noise model bends more than a normal one: a larger curvature comes from rounding.
    return gradient, torch.maximum(information, torch.minimum(secant, most))
