"""Fisher information, the Cramer-Rao bound, standard deviations, identifiability."""

from ._bound import cramer_rao_bound
from ._estimates import estimate_std
from ._fisher import (
    bayesian_covariances,
    bayesian_deviations,
    covariances,
    fisher_information,
    standard_deviations,
)
from ._identifiability import hardly_identified, unidentified, warn_of_unidentified

__all__ = [
    "bayesian_covariances",
    "bayesian_deviations",
    "covariances",
    "cramer_rao_bound",
    "estimate_std",
    "fisher_information",
    "hardly_identified",
    "standard_deviations",
    "unidentified",
    "warn_of_unidentified",
]
