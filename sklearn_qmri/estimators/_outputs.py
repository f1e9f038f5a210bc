"""Outputs of networks that are trained on tissues: the scale of their errors, their shape."""

import numpy as np

# Margin of a sigmoid's range beyond the targets, as a share of their range.
_MARGIN = 0.02


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
