"""The signal model of an estimator, what its `predict` takes, and how to describe it."""

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from ..estimators import entry_of

_NAMELESS = "{!r} has no signal model, so its maps have no names."
_INNER = ("best_estimator_", "estimator_")  # of estimators that hold others


def core(estimator):
    """Estimator with a signal model that a pipeline, a search or the like ends in."""
    while not _has_model(estimator):
        inner = [getattr(estimator, name) for name in _INNER if hasattr(estimator, name)]
        if not inner and not hasattr(estimator, "steps"):
            raise ValueError(_NAMELESS.format(estimator))
        estimator = inner[0] if inner else estimator[-1]
    return estimator


def signal_model_of(estimator):
    """Fitted signal model of an estimator, which names its maps."""
    inner = core(estimator)
    for holder in (inner, getattr(inner, "label_estimator", None)):
        for name in ("signal_model_", "signal_model"):
            if getattr(holder, name, None) is not None:
                return getattr(holder, name)
    raise ValueError(_NAMELESS.format(estimator))


def takes(estimator, argument):
    """Whether `predict` of an estimator takes an argument: "sigma" or "std" (``return_std``).

    Estimators of this package are in the table. A pipeline hands arguments on to its last step. Any
    other estimator tells by its metadata requests; a router (a search, say) hands on none.
    """
    if (entry := entry_of(estimator)) is not None:
        return argument in entry.takes
    if hasattr(estimator, "steps"):
        return takes(estimator[-1], argument)
    routing = get_routing_for_object(estimator)
    name = {"std": "return_std"}.get(argument, argument)
    return isinstance(routing, MetadataRequest) and name in routing.predict.requests


def describe(estimator):
    """Method, signal model, noise and seed behind an estimator's maps, ready for JSON."""
    inner, model = core(estimator), signal_model_of(estimator)
    alpha, seed = getattr(inner, "alpha", None), getattr(inner, "random_state", None)
    acquisition = {name: np.asarray(value).tolist() for name, value in model.get_params().items()}
    return {
        "Method": type(inner).__name__,
        "Estimator": " ".join(repr(estimator).split()),
        "SignalModel": {"Name": type(model).__name__} | acquisition,
        "Noise": repr(getattr(inner, "noise_", None)),
        "Sigma": getattr(inner, "sigma_", None),
        "Alpha": None if alpha is None else np.asarray(alpha, dtype=float).tolist(),
        "Seed": int(seed) if isinstance(seed, (int, np.integer)) else None,
    }


def _has_model(estimator):
    return hasattr(estimator, "signal_model_") or hasattr(estimator, "label_estimator")
