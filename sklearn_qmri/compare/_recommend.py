"""Recommendation of a label per parameter, from bias and variance along the alpha path."""

import numpy as np

from ..metrics import least_variance, quadratic


def recommend(rule, parameters, bias, variance):
    """Choose alpha for each parameter.

    Parameters
    ----------
    rule : least_weighted or least_variance
        Rule in units of the parameters' loss scales.
    parameters : sequence of Parameter
    bias, variance : ndarrays of shape (2, 2, n_parameters)
        Quadratic forms between networks on true and on maximum-likelihood labels, in the units of
        the parameters.

    Returns
    -------
    list of dict
        One record per parameter: `parameter`, `alpha`, `rule` and `reason`.
    """
    return [_recommend(rule, p, bias[..., j], variance[..., j]) for j, p in enumerate(parameters)]


def _recommend(rule, parameter, bias, variance):
    """Record of one parameter, from forms of shape (2, 2)."""
    scale = parameter.loss_scale
    record = {"parameter": parameter.name, "alpha": None, "rule": repr(rule)}
    try:
        alpha = rule.best_alpha(bias / scale**2, variance / scale**2)
    except ValueError as error:
        reason = f"{str(error).rstrip('.')} (both in units of {scale:g} {parameter.unit}".rstrip()
        return record | {"reason": reason + ")."}
    # RMS bias and noise at the chosen alpha and at both ends. An estimate of a squared bias may be
    # negative.
    figures = {
        a: f"{np.sqrt(max(quadratic(bias, a), 0)):.3g}/{np.sqrt(quadratic(variance, a)):.3g}"
        for a in (alpha, 0.0, 1.0)
    }
    if isinstance(rule, least_variance):
        limit = f"{rule.max_bias * scale:.3g} {parameter.unit}".rstrip()
        goal = f"the least noise of all whose RMS bias is within {limit}"
    else:
        goal = f"the least variance + {rule.weight:g} bias^2"
    unit = f" {parameter.unit}" if parameter.unit else ""
    reason = (
        f"At alpha {alpha:.2f} bias/noise is {figures[alpha]}{unit}, {goal}; true labels "
        f"give {figures[0.0]}, maximum-likelihood labels {figures[1.0]}."
    )
    return record | {"alpha": alpha, "reason": reason}
