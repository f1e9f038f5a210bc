"""Results of maximum likelihood by name, from the optima of the solver."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._solver import solve
from .._warnings import warn
from ..information import estimate_std
from ..status import Status


def describe_optima(solution, rows, free):
    """Results of usable rows by name.

    Parameters
    ----------
    solution : Solution
    rows : Rows
        Usable rows. Where their sigma is NaN, it is unknown, and likelihoods are NaN too.
    free : bool ndarray of shape (n_usable, n_parameters)
        Whether each parameter is estimated.

    Returns
    -------
    dict of {str: ndarray}
    """
    status = np.full(len(solution.nll), Status.OK, dtype=np.int8)
    status[solution.at_bound.any(axis=1)] = Status.AT_BOUND
    # Last, as it is the more important one of the two.
    status[~solution.converged] = Status.NOT_CONVERGED
    nll = np.where(np.isnan(rows.sigma), np.nan, solution.nll)
    n_free = np.count_nonzero(free, axis=1)
    return {
        "parameters": solution.parameters,
        "nll": nll,
        "aic": 2 * nll + 2 * n_free,
        "bic": 2 * nll + np.log(rows.X.shape[1]) * n_free,
        "status": status,
        "at_bound": solution.at_bound,
        "n_iter": solution.n_iter,
        "residual_rms": solution.residual_rms,
    }


def is_free(rows, n_parameters):
    """Whether each parameter of each usable row is estimated, not fixed."""
    if rows.fixed is None:
        return np.ones((len(rows.X), n_parameters), dtype=bool)
    return np.isnan(rows.fixed)


def sigma_to_solve_with(rows):
    """Noise level of each usable row, with an arbitrary value if it is unknown.

    It is only unknown if estimates do not depend on it. The solver still needs a value, as its
    tolerance is in nats. A hundredth of the row's own signal does not depend on the units of X.
    """
    size = np.sqrt(np.mean(rows.X**2, axis=1))
    return np.where(np.isnan(rows.sigma), np.where(size > 0, size / 100, 1.0), rows.sigma)


def solve_rows(estimator, X, sigma, *, fixed=None, common=None, seeds=None, verbose=0):
    """Optima of rows, by the solver with the settings of a fitted `MLEEstimator`."""
    return solve(
        estimator.signal_model_, estimator.noise_, X, sigma, estimator.bounds_, fixed=fixed,
        common=common, seeds=seeds, n_starts=estimator.n_starts, max_iter=estimator.max_iter,
        tol=estimator.tol, n_jobs=estimator.n_jobs, device=estimator.device, verbose=verbose,
    )  # fmt: skip


def optima(estimator, rows, common, seeds, return_std):
    """Results of usable rows by name, see `MLEEstimator.estimate`."""
    sigma, verbose = sigma_to_solve_with(rows), estimator.verbose
    solution = solve_rows(
        estimator, rows.X, sigma, fixed=rows.fixed, common=common, seeds=seeds, verbose=verbose
    )
    free = is_free(rows, estimator.bounds_.shape[1])
    results = describe_optima(solution, rows, free)
    if return_std:
        results["std"] = estimate_std(
            estimator.signal_model_, estimator.noise_, solution.parameters, rows.sigma,
            estimator.bounds_, free, solution.at_bound,
        )  # fmt: skip
    return results


def warn_unless_converged(status, max_iter):
    """Issue one warning for all rows that did not converge."""
    n_failed = np.count_nonzero(status == Status.NOT_CONVERGED)
    if n_failed:
        warn(
            f"{n_failed} of {len(status)} rows did not converge in {max_iter} iterations; their "
            "status says so.",
            ConvergenceWarning,
        )
