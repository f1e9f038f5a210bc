"""Facts about an estimator: its signal model, arguments of its `predict`, its description."""

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from ..estimators import entry_of

_NAMELESS = "{!r} has no signal model, so its maps have no names."
_INNER = ("best_estimator_", "estimator_")  # attributes of searches and meta-estimators


def core(estimator):
    """Estimator with a signal model inside of a pipeline, a search or another meta-estimator."""
    while not _has_model(estimator):
        inner = [getattr(estimator, name) for name in _INNER if hasattr(estimator, name)]
        if not inner and not hasattr(estimator, "steps"):
            raise ValueError(_NAMELESS.format(estimator))
        estimator = inner[0] if inner else estimator[-1]
    return estimator


def signal_model_of(estimator):
    """Fitted signal model of an estimator, which names its maps."""
    inner = core(estimator)
    # A regressor of hybrid labels has no signal model of its own: its label estimator has it. The
    # fitted attribute comes first, because parameters may have been set anew since `fit`.
    for holder in (inner, getattr(inner, "label_estimator", None)):
        for name in ("signal_model_", "signal_model"):
            if getattr(holder, name, None) is not None:
                return getattr(holder, name)
    raise ValueError(_NAMELESS.format(estimator))


def takes(estimator, argument):
    """Whether an estimator takes an option, such as "sigma" or "protocol"; see `Entry`.

    For estimators of this package the table tells. A pipeline passes arguments on to its last step.
    For any other estimator its metadata requests tell. A router (such as a search) passes on none.
    """
    if (entry := entry_of(estimator)) is not None:
        return argument in entry.takes
    if hasattr(estimator, "steps"):
        return takes(estimator[-1], argument)
    routing = get_routing_for_object(estimator)
    # For them "std" is an argument of another name.
    name = {"std": "return_std"}.get(argument, argument)
    return isinstance(routing, MetadataRequest) and name in routing.predict.requests


def describe(estimator):
    """Method, signal model, noise and seed behind an estimator's maps, ready for JSON."""
    inner, model = core(estimator), signal_model_of(estimator)
    # An attribute that an estimator lacks is null in the sidecar.
    # A search has chosen its own, which ends in an underscore.
    weights = [
        getattr(inner, f"{name}_", getattr(inner, name, None)) for name in ("alpha", "bias_weight")
    ]
    alpha, bias_weight = (None if w is None else np.asarray(w, float).tolist() for w in weights)
    seed, error = getattr(inner, "random_state", None), getattr(inner, "sigma_error_", np.nan)
    acquisition = {name: np.asarray(value).tolist() for name, value in model.get_params().items()}
    return {
        "Method": type(inner).__name__,
        "Estimator": " ".join(repr(estimator).split()),
        "SignalModel": {"Name": type(model).__name__} | acquisition,
        "Noise": repr(getattr(inner, "noise_", None)),
        "Sigma": getattr(inner, "sigma_", None),
        "SigmaLearnt": bool(np.isfinite(error)),
        "SigmaStandardError": float(error) if np.isfinite(error) else None,
        "Alpha": alpha,
        "BiasWeight": bias_weight,
        "Seed": int(seed) if isinstance(seed, (int, np.integer)) else None,
        "Training": _training_of(inner),
    }


def _training_of(estimator):
    """Tissues, SNRs and number of rows that an estimator was trained on; None without a training.

    For a posterior mean these are the tissues of its prior.
    """
    if hasattr(estimator, "atoms_"):
        tissues = np.transpose([estimator.atoms_.min(axis=0), estimator.atoms_.max(axis=0)])
        names = estimator.signal_model_.parameter_names
        prior = dict(zip(names, tissues.tolist(), strict=True))
        about = {"prior": prior, "rows": len(estimator.atoms_)}
    else:
        about = getattr(getattr(estimator, "network_", None), "about", {})
    keys = {"prior": "Prior", "snr": "SNR", "rows": "Rows"}
    return {key: about[name] for name, key in keys.items() if name in about} or None


def _has_model(estimator):
    # `label_estimator` marks a regressor of hybrid labels, which is the core itself.
    return hasattr(estimator, "signal_model_") or hasattr(estimator, "label_estimator")
