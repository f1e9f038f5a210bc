"""The network's last layer and loss, in the units of the parameters."""

import numpy as np

_MARGIN = 0.02  # of the range of the targets
_MOST = 3.0  # times the largest true amplitude


def limit_amplitudes(labels, truth, signal_model):
    """Labels with amplitudes cut at 3 times the largest true one, in the units of the targets.

    Where a signal is all noise, a rapid decay with any amplitude may explain it best, a hundred
    thousand times the true one. A few such labels in a million would rule a squared error.

    Parameters
    ----------
    labels, truth : ndarrays of shape (n_rows, n_parameters)
    signal_model : SignalModel

    Returns
    -------
    ndarray of shape (n_rows, n_parameters)
    """
    most = _MOST * np.abs(truth).max(axis=0)
    limit = np.where([p.amplitude for p in signal_model.parameters], most, np.inf)
    return np.clip(labels, -limit, limit)


def shape_output(output, signal_model, alpha, target, scale):
    """Shape, offset and width of the last layer for each parameter, see `Head`.

    Parameters
    ----------
    output : {"auto", "sigmoid", "softplus", "abs", "identity"}
    signal_model : SignalModel
    alpha : ndarray of shape (n_parameters,)
    target : ndarray of shape (n_rows, n_parameters)
    scale : ndarray of shape (n_parameters,)
        Of the errors.

    Returns
    -------
    shapes : tuple of str
    low, width : ndarrays of shape (n_parameters,)
    """
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


def error_scale(param_scale, signal_model, y, unit, normalize):
    """Scale of each parameter's error, in the units of the network's targets ``y / unit``.

    The signal model's unless given; where rows are normalized, the mean of the training tissues
    stands in for the scale of an amplitude, as the units of X must not matter then.

    Raises
    ------
    ValueError
        If it is not one positive number per parameter.
    """
    if param_scale is None:
        scale = np.array([p.loss_scale for p in signal_model.parameters])
        if normalize is None:
            return scale
        amplitudes = np.array([p.amplitude for p in signal_model.parameters])
        return np.where(amplitudes, np.mean(np.abs(y) / unit, axis=0), scale)
    scale = np.asarray(param_scale, dtype=np.float64)
    n_parameters = len(signal_model.parameters)
    if scale.shape != (n_parameters,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(
            f"param_scale expects {n_parameters} positive numbers, got {param_scale!r}."
        )
    return scale * np.mean(1 / unit, axis=0)
