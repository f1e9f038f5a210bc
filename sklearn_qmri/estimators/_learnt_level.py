"""The noise level that maximum likelihood learns, and its comparison with measured ones."""

import numpy as np

from .._solver import check_fixed
from .._warnings import warn
from ..noise import (
    CannotLearnSigma,
    LearntLevel,
    learn_sigma,
    sigma_from_pairs,
    sigma_of_repeats,
)
from ._optima import solver_of_some

# Learnt over measured noise level above which misfit, not noise, makes residuals large.
_MISFIT = 1.25


def learn_level(estimator, rows):
    """Noise level of usable rows, by the residuals of maximum likelihood.

    Parameters
    ----------
    estimator : MLEEstimator
        With its signal model, noise model and bounds.
    rows : Rows

    Returns
    -------
    LearntLevel
        Sigma is NaN if it cannot be learnt and is not needed.

    Raises
    ------
    CannotLearnSigma
        If it cannot be learnt and is needed.
    """
    model, noise = estimator.signal_model_, estimator.noise_
    # A linear model is estimated from X and y, which also give the noise level directly.
    if estimator.signal_model is None:
        return LearntLevel(sigma_from_pairs(model, noise, rows.X, rows.y), np.nan, 1)
    solve = solver_of_some(estimator, check_fixed(estimator.fixed, model, estimator.bounds_, 1))
    n_free = len(model.parameters) - len(estimator.fixed or {})
    try:
        learnt = learn_sigma(
            solve, model, noise, rows.measured, n_free, estimator.max_iter, estimator.verbose
        )
    except CannotLearnSigma as error:
        if noise.estimates_need_sigma:
            raise
        warn(f"{error} Until then likelihoods and standard deviations are NaN.")
        return LearntLevel(np.nan, np.nan, 0)
    warn_of_misfit(
        learnt.sigma, sigma_of_repeats(model, noise, rows.measured), "repeated measurements"
    )
    return learnt


def warn_of_misfit(learnt, measured, source):
    """Warn if a learnt noise level is larger than one that needs no signal model.

    Parameters
    ----------
    learnt : float
    measured : float or None
        None: there is nothing to compare with.
    source : str
        Where the measured one is from.
    """
    if measured is not None and learnt > _MISFIT * measured:
        warn(
            f"The noise level learnt from residuals, {learnt:.4g}, is {learnt / measured:.1f} "
            f"times that of {source}, {measured:.4g}: the signal model does not explain these "
            f"signals, and estimates may be biased. Use another one, or sigma={measured:.4g}."
        )
