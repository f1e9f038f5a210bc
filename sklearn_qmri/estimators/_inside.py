"""Facts about an estimator: its signal model, inside of what it is in, and its options."""

from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from ._table import entry_of

_NAMELESS = "{!r} has no signal model, so its maps have no names."
_INNER = ("best_estimator_", "estimator_")  # attributes of searches and meta-estimators


def core(estimator):
    """Estimator with a signal model inside of a pipeline, a search or another meta-estimator."""
    outer = estimator
    while not _has_model(estimator):
        inner = [getattr(estimator, name) for name in _INNER if hasattr(estimator, name)]
        if not inner and not hasattr(estimator, "steps"):
            raise ValueError(_NAMELESS.format(outer))
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


def refuse_to_lose_sigma(estimator):
    """Raise ValueError if estimates depend on sigma, but what they are inside of passes none on."""
    if takes(core(estimator), "sigma") and not takes(estimator, "sigma"):
        raise ValueError(
            f"sigma does not reach the estimator inside of {type(estimator).__name__}: pass that "
            "one, for example best_estimator_."
        )


def _has_model(estimator):
    # `label_estimator` marks a regressor of hybrid labels, which is the core itself.
    return hasattr(estimator, "signal_model_") or hasattr(estimator, "label_estimator")
