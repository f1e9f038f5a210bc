"""Table of all estimators, for the command line, comparisons, model files and tests."""

from typing import NamedTuple

from ._bias_constrained_net import BiasConstrainedNetRegressor
from ._bias_constrained_net_cv import BiasConstrainedNetRegressorCV
from ._hybrid_net import HybridLabelNetRegressor
from ._hybrid_net_cv import HybridLabelNetRegressorCV
from ._hybrid_regressor import HybridLabelRegressor
from ._mle import MLEEstimator
from ._posterior import PosteriorMeanEstimator
from ._pretrained import PretrainedNetRegressor
from ._segmented import SegmentedIVIMEstimator
from ._self_supervised import SelfSupervisedNetRegressor


class Entry(NamedTuple):
    """Estimator and the options that it takes.

    Attributes
    ----------
    estimator : type
    name : str or None
        Name on the command line and in comparisons. None: it is not available there.
    takes : frozenset of str
        Options among "sigma" (estimates depend on the noise level), "fixed" (known parameters),
        "std" (standard deviations), "interval" (intervals of any coverage), "prior" (tissues to
        train on or to weight), "bounds", "alpha", "bias_weight" and "protocol" (another protocol
        needs no training).
    """

    estimator: type
    name: str | None
    takes: frozenset


def _entry(estimator, name, *takes):
    return Entry(estimator, name, frozenset(takes))


ESTIMATORS = (
    _entry(MLEEstimator, "mle", "sigma", "fixed", "std", "interval", "bounds", "protocol"),
    _entry(SegmentedIVIMEstimator, "segmented", "bounds", "protocol"),
    _entry(HybridLabelNetRegressor, "hybrid", "sigma", "std", "prior", "bounds", "alpha"),
    _entry(BiasConstrainedNetRegressor, "bias-constrained", "sigma", "std", "prior", "bias_weight"),
    _entry(SelfSupervisedNetRegressor, "self-supervised", "sigma", "std", "bounds"),
    _entry(PosteriorMeanEstimator, "posterior", "sigma", "std", "interval", "prior", "protocol"),
    _entry(PretrainedNetRegressor, "pretrained", "sigma", "bias_weight", "protocol"),
    _entry(HybridLabelNetRegressorCV, None, "sigma", "std"),
    _entry(BiasConstrainedNetRegressorCV, None, "sigma", "std"),
    _entry(HybridLabelRegressor, None),
)


def entry_of(estimator):
    """Entry of an estimator's class; None if the class is not of this package.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    Entry or None
    """
    return next((entry for entry in ESTIMATORS if isinstance(estimator, entry.estimator)), None)


def entry_named(name):
    """Entry of a name in the table.

    Parameters
    ----------
    name : str

    Returns
    -------
    Entry

    Raises
    ------
    ValueError
        If no estimator has this name.
    """
    entries = {entry.name: entry for entry in ESTIMATORS if entry.name}
    if name not in entries:
        raise ValueError(f"name expects one of {sorted(entries)}, got {name!r}.")
    return entries[str(name)]
