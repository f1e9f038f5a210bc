"""Findings about the maps: status, bounds, and what the prior of an estimator adds."""

import numpy as np

from ...information import fisher_information, standard_deviations
from ...status import Status
from ._finding import DOUBTFUL, NOTE, WRONG, Finding, percent
from ._finite import median_of

_SHARE = 0.1  # of the voxels, from which on a status is worth a word
_OUTSIDE = 0.15  # share of the voxels whose tissue is outside the prior
_FAR = 2.0  # standard deviations by which it is outside
# Factors below and above the prior of a signal model beyond which no tissue is.
_UNLIKELY = (2.0, 1.25)
_SHRUNK = 0.5  # share of the variance that is the prior's

_REMEDIES = {
    Status.AT_BOUND: "There the scan does not determine the parameter: see the error maps, average "
    "over regions, or use a model with fewer parameters.",
    Status.NOT_CONVERGED: "Check units and bounds; these voxels have no reliable value.",
    Status.OUT_OF_DOMAIN: "Look where they are: air and edges are harmless, tissue is not. There, "
    "use maximum likelihood.",
    Status.BAD_INPUT: "Check the mask, and the maps of sigma and of known parameters.",
    Status.TOO_FEW_ATOMS: "Use a wider prior or more atoms.",
}
_DEFECTS = {
    Status.AT_BOUND: "Estimates on bounds",
    Status.NOT_CONVERGED: "Fits without convergence",
    Status.OUT_OF_DOMAIN: "Voxels unlike the training",
    Status.BAD_INPUT: "Voxels without usable measurements",
    Status.TOO_FEW_ATOMS: "Voxels unlike the prior",
}


def of_maps(evidence, prior):
    """Findings about the maps.

    Parameters
    ----------
    evidence : Evidence
    prior : dict of {str: (float, float)} or None
        Ranges of the tissues that an estimator was trained on, by parameter.

    Yields
    ------
    Finding
    """
    for code, defect in _DEFECTS.items():
        share = np.mean(evidence.status == code)
        if share > _SHARE:
            rank = NOTE if code == Status.AT_BOUND else DOUBTFUL
            yield Finding(
                rank, defect, f"{percent(share)} of the voxels {code.text}.", _REMEDIES[code]
            )
    if evidence.reference is None:
        return
    yield from _of_units(evidence.reference)
    outside = outside_prior(evidence.reference, prior or {})
    for name, share in outside.items():
        if share > _OUTSIDE:
            low, high = prior[name]
            yield Finding(
                WRONG, "Prior too narrow",
                f"In {percent(share)} of the voxels maximum likelihood finds {name} outside "
                f"{low:.3g} to {high:.3g}, the range of the prior, by more than its error.",
                f"Widen the prior of {name}, or learn it from the scan.",
            )  # fmt: skip
    for name, share in shrinkage(evidence.reference).items():
        if share > _SHRUNK:
            yield Finding(
                NOTE, f"Little information about {name}",
                f"{percent(share)} of the variance of a posterior mean of {name} would be the "
                "prior's, a median over voxels: the measurement adds little.",
                "Average over regions, or measure more.",
            )  # fmt: skip


def _of_units(reference):
    """Whether parameters that the scan determines have values that no tissue has."""
    known = shrinkage(reference)
    parameters = reference.estimator.signal_model.parameters
    for p, values in zip(parameters, reference.parameters.T, strict=True):
        if p.name not in known or not p.unit:
            continue
        low, high = p.prior[0] / _UNLIKELY[0], p.prior[1] * _UNLIKELY[1]
        median = median_of(values)
        # Without information, only a bound as the median is beyond chance.
        is_known = known[p.name] < _SHRUNK or np.isclose(median, p.bounds).any()
        if is_known and not low < median < high:
            yield Finding(
                WRONG, "Implausible values",
                f"The median of {p.name} is {median:.3g} {p.unit}; tissue has {low:.3g} to "
                f"{high:.3g}.",
                "Check the unit of the b-values or times, a factor of 10 or 1000, and their order.",
            )  # fmt: skip


def outside_prior(reference, prior):
    """Share of the voxels whose fitted parameter is outside its prior by more than its error."""
    std, shares = bounds_of_error(reference), {}
    for j, p in enumerate(reference.estimator.signal_model.parameters):
        # Amplitudes of networks are relative to the scan.
        if p.name in prior and not p.amplitude:
            low, high = prior[p.name]
            value, error = reference.parameters[:, j], _FAR * std[:, j]
            beyond = (value + error < low) | (value - error > high)
            shares[p.name] = float(np.mean(beyond[np.isfinite(std[:, j])])) if len(std) else 0.0
    return shares


def bounds_of_error(reference):
    """Cramer-Rao bound of each voxel of a reference fit, in the units of the parameters.

    Known parameters count as known, missing measurements as missing. NaN for a known parameter, and
    for one that the measurement does not identify.
    """
    model = reference.estimator.signal_model
    usable = np.isfinite(reference.parameters).all(axis=1)
    bound = np.full(reference.parameters.shape, np.nan)
    information = fisher_information(
        model, reference.estimator.noise_, reference.parameters[usable], reference.sigma[usable]
    )
    unknown = [name not in reference.fixed for name in model.parameter_names]
    bound[usable] = standard_deviations(information, np.broadcast_to(unknown, bound[usable].shape))
    return bound


def shrinkage(reference):
    """Share of the variance that is the prior's, a median over voxels, for each parameter.

    An estimate from data with the variance v of the Cramer-Rao bound and from a prior with the
    variance p has the weights ``p / (v + p)`` on the data and ``v / (v + p)`` on the prior, if both
    are normal. Where a parameter is not identified, v is infinite and the share is 1. The prior is
    that of the signal model, uniform in its range.
    """
    bound = bounds_of_error(reference)
    parameters = reference.estimator.signal_model.parameters
    shares = {}
    for j, p in enumerate(parameters):
        if p.amplitude or p.name in reference.fixed:
            continue
        own = (p.prior[1] - p.prior[0]) ** 2 / 12  # variance of a uniform distribution
        variance = np.where(np.isnan(bound[:, j]), np.inf, bound[:, j] ** 2)
        shares[p.name] = float(np.median(1 / (1 + own / np.maximum(variance, 1e-30))))
    return shares
