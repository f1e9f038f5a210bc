"""What maps have to know of an estimator: its signal model, and how to describe it."""

import numpy as np

_NAMELESS = "{!r} has no signal model, so its maps have no names."
_INNER = ("estimator_", "best_estimator_")  # of estimators that hold others


def core(estimator):
    """The estimator that a pipeline, a search or the like ends in."""
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


def describe(estimator):
    """What makes an estimator's maps what they are, ready for JSON."""
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
