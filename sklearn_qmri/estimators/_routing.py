"""Routing of metadata to the estimators inside a meta-estimator."""

import numpy as np
from sklearn import get_config
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.validation import _check_method_params


def route(router, caller, params, estimators):
    """Distribute metadata to the methods of each estimator.

    With metadata routing the requests of the estimators decide. Without, metadata goes to every
    method that declares it.

    Parameters
    ----------
    router : meta-estimator
    caller : {"fit", "predict"}
        Method of the meta-estimator that got the metadata.
    params : dict
        Metadata by name.
    estimators : dict of {str: estimator}
        Estimators inside the meta-estimator, by the names in its router.

    Returns
    -------
    Bunch of Bunch
        Keywords of `fit` and `predict` of each estimator.

    Raises
    ------
    TypeError
        For metadata that no estimator takes.
    """
    if get_config()["enable_metadata_routing"]:
        return process_routing(router, caller, **params)
    routed, used = Bunch(), set()
    for name, estimator in estimators.items():
        taken = {m: set(params) & accepted(estimator, m) for m in ("fit", "predict")}
        routed[name] = Bunch(**{m: {k: params[k] for k in keys} for m, keys in taken.items()})
        used |= taken["fit"] | taken["predict"]
    if unknown := sorted(set(params) - used):
        raise TypeError(f"{caller} got {unknown}, which neither estimator takes.")
    return routed


def route_sigma(router, label_estimator, sigma):
    """Keywords for the label estimator: sigma, if it requests it or (without routing) takes it."""
    if sigma is None:
        return Bunch(fit={}, predict={})
    if get_config()["enable_metadata_routing"]:
        return process_routing(router, "fit", sigma=sigma).label_estimator
    taken = {method: accepted(label_estimator, method) for method in ("fit", "predict")}
    return Bunch(**{m: {"sigma": sigma} if "sigma" in names else {} for m, names in taken.items()})


def accepted(estimator, method):
    """Names of the metadata that a method of an estimator declares, requested or not.

    scikit-learn collects them for every estimator from the method's keywords.
    """
    routing = get_routing_for_object(estimator)
    # A plain estimator has a MetadataRequest, with an attribute for each method. A meta-estimator
    # has a router, which holds such a request of its own.
    requests = getattr(routing, method, None) or getattr(_own_requests(routing), method, None)
    return set() if requests is None else set(requests.requests)


def _own_requests(router):
    """Requests of a meta-estimator itself, without those of the estimators inside it."""
    return getattr(router, "_self_request", None)


def of_rows(X, routed, usable):
    """Metadata of each method, restricted to usable rows where it has one value per row."""
    if usable.all():
        return routed
    rows = np.flatnonzero(usable)
    return Bunch(**{m: _check_method_params(X, given, rows) for m, given in routed.items()})
