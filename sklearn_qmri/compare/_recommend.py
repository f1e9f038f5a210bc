"""Recommendation of a method per parameter, and of one for all parameters."""

from typing import NamedTuple

import numpy as np

from ..metrics import least_variance, least_weighted, roi_error

# Names of settings in sentences.
_WORDS = {"alpha": "alpha", "bias_weight": "bias weight"}


class _Ranked(NamedTuple):
    """Method, its settings by argument and parameter, its loss, and its description."""

    method: str
    settings: dict
    loss: float
    words: str


def recommend(rule, parameters, candidates, known, command):
    """Choose a method for each parameter, and the best one for all of them.

    Parameters
    ----------
    rule : BiasVarianceRule
        In units of the parameters' loss scales.
    parameters : sequence of Parameter
    candidates : sequence of GridOfSettings or LineOfAlphas
        One per method.
    known : container of str
        Names of parameters that are not estimated.
    command : callable
        Takes a method and its settings by argument and parameter, and returns a text or None.

    Returns
    -------
    recommendation : list of dict
        One record per parameter.
    overall : dict
        Record of the method with the least mean loss of the parameters.
    """
    records, choices = [], {}
    for j, p in enumerate(parameters):
        if p.name in known:
            records.append(_none(p.name, rule, f"{p.name} is known and not estimated."))
            continue
        choices[p.name] = _meeting(rule, candidates, j)
        if not choices[p.name]:
            records.append(_none(p.name, rule, _why_none(rule, candidates, p, j)))
            continue
        ranked = sorted((_of_one(c, p) for c in choices[p.name].values()), key=lambda r: r.loss)
        goal = _goal(rule, ranked[0].loss, p)
        record = _record(p.name, rule, ranked, goal, command)
        best = choices[p.name][ranked[0].method]
        figures = {"rms_bias": np.sqrt(best.squared_bias), "std": np.sqrt(best.variance)}
        figures = {name: float(value * p.loss_scale) for name, value in figures.items()}
        records.append(record | {"setting": best.setting} | figures)
    return records, _overall(rule, choices, command)


def _meeting(rule, candidates, j):
    """Choice of each method for a parameter, without methods of which no setting meets the rule."""
    found = {}
    for candidate in candidates:
        try:
            found[candidate.method] = candidate.best(rule, j)
        except ValueError:  # the rule is checked by now, so that this only says that none meets it
            continue
    return found


def _of_one(choice, parameter):
    """Choice of one parameter, ready to be ranked."""
    scale = parameter.loss_scale
    bias, std = (scale * np.sqrt(square) for square in (choice.squared_bias, choice.variance))
    at = "".join(f" at {_WORDS[name]} {value:.3g}" for name, value in choice.setting.items())
    words = f"{choice.method}{at} (RMS bias {bias:.3g}, noise {_with_unit(std, parameter)})"
    settings = {name: {parameter.name: value} for name, value in choice.setting.items()}
    return _Ranked(choice.method, settings, choice.loss, words)


def _overall(rule, choices, command):
    """Record of the best method for all parameters together."""
    ranked = []
    for method in dict.fromkeys(method for found in choices.values() for method in found):
        # A method that misses the limit of a rule for one parameter does not serve for all.
        if not all(method in found for found in choices.values()):
            continue
        settings = {}
        for name, found in choices.items():
            for argument, value in found[method].setting.items():
                settings.setdefault(argument, {})[name] = value
        loss = float(np.mean([found[method].loss for found in choices.values()]))
        ranked.append(_Ranked(method, settings, loss, method))
    if not ranked:
        return _none("all", rule, "No single method meets the rule for all parameters.")
    ranked.sort(key=lambda r: r.loss)
    return _record("all", rule, ranked, "Least mean loss over the parameters", command)


def _record(name, rule, ranked, goal, command):
    """Record of the first of ranked methods."""
    best, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    record = _none(name, rule, f"{goal}: {best.words}")
    if second is None:
        record["reason"] += "."
    else:
        margin = 100 * (1 - best.loss / second.loss) if second.loss > 0 else 0.0
        record |= {"runner_up": second.method, "runner_up_loss": second.loss, "margin": margin}
        record["reason"] += f"; its loss is {margin:.2g} % below that of {second.words}."
    return record | {
        "method": best.method,
        "setting": best.settings,
        "loss": best.loss,
        "command": command(best.method, best.settings),
    }


def _none(name, rule, reason):
    """Record without a method."""
    empty = ("method", "loss", "runner_up", "runner_up_loss", "margin", "command")
    record = {"parameter": name, "setting": {}, "rule": repr(rule), "reason": reason}
    return record | dict.fromkeys(empty)


def _goal(rule, loss, parameter):
    """Goal of a rule, with the figure that the least loss stands for, if it has a unit."""
    scale = parameter.loss_scale
    if isinstance(rule, roi_error):
        error = _with_unit(scale * np.sqrt(loss), parameter)
        return f"Least error of a mean over {rule.n_voxels} voxels, {error}"
    if isinstance(rule, least_variance):
        return f"Least noise with an RMS bias within {_with_unit(rule.max_bias * scale, parameter)}"
    if isinstance(rule, least_weighted):
        return f"Least variance + {rule.weight:g} * bias^2"
    return f"Best by {rule!r}"


def _why_none(rule, candidates, parameter, j):
    """Reason why no method meets a rule."""
    squared_bias, method = min((c.least_bias(j), c.method) for c in candidates)
    bias = _with_unit(parameter.loss_scale * np.sqrt(max(squared_bias, 0.0)), parameter)
    return (
        f"No method meets {rule!r} in units of {_with_unit(parameter.loss_scale, parameter)}; the "
        f"smallest RMS bias is {bias}, of {method}."
    )


def _with_unit(value, parameter):
    return f"{value:.3g} {parameter.unit}".rstrip()
