"""Results of maximum likelihood by name, from the optima of the solver."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._solver import solve
from .._warnings import warn
from ..information import estimate_std
from ..status import Status
from ._outliers import without_outliers
from ._rows import take_rows


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
    nll = np.where(_is_unknown(rows.sigma), np.nan, solution.nll)
    n_free = np.count_nonzero(free, axis=1)
    return {
        "parameters": solution.parameters,
        "nll": nll,
        "aic": 2 * nll + 2 * n_free,
        "bic": 2 * nll + np.log(rows.n_present) * n_free,
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


def _is_unknown(sigma):
    """Whether the noise level of each row is unknown."""
    return np.isnan(sigma) if sigma.ndim == 1 else np.isnan(sigma).any(axis=1)


def sigma_to_solve_with(rows):
    """Noise level of each usable row, with an arbitrary value if it is unknown.

    It is only unknown if estimates do not depend on it. The solver still needs a value, as its
    tolerance is in nats. A hundredth of the row's own signal does not depend on the units of X.
    """
    size = np.sqrt(np.mean(rows.X**2, axis=1))
    some = np.where(size > 0, size / 100, 1.0)
    some = some if rows.sigma.ndim == 1 else some[:, None]
    return np.where(np.isnan(rows.sigma), some, rows.sigma)


def solve_rows(estimator, X, sigma, *, fixed=None, common=None, seeds=None, verbose=0):
    """Optima of rows, by the solver with the settings of a fitted `MLEEstimator`."""
    return solve(
        estimator.signal_model_, estimator.noise_, X, sigma, estimator.bounds_, fixed=fixed,
        common=common, seeds=seeds, n_starts=estimator.n_starts, max_iter=estimator.max_iter,
        tol=estimator.tol, n_jobs=estimator.n_jobs, device=estimator.device, verbose=verbose,
    )  # fmt: skip


def solver_of_some(estimator, fixed):
    """The `solve` of `learn_sigma`; `fixed` are known values (1, n_parameters), or None."""

    # `init` is not used: it may have one seed for each row, and these are only some rows.
    def solve_some(X, sigma, seeds):
        per_row = None if fixed is None else np.broadcast_to(fixed, (len(X), fixed.shape[1]))
        common = None if fixed is None else fixed[0]
        return solve_rows(estimator, X, sigma, fixed=per_row, common=common, seeds=seeds)

    return solve_some


def optima(estimator, rows, common, seeds, return_std):
    """Results of usable rows by name, see `MLEEstimator.estimate`."""
    results = _of_complete_and_others(estimator, rows, common, seeds, return_std)
    if estimator.outliers == "keep":
        return results

    def refit(some, index):
        return _optima(estimator, some, common, None if seeds is None else seeds[index], return_std)

    return without_outliers(estimator, rows, results, refit)


def _of_complete_and_others(estimator, rows, common, seeds, return_std):
    """Results of rows without missing measurements, and of those with some.

    The former are solved apart from the others, with one noise level for each, so that their
    results are the same whatever the others are.
    """
    if rows.missing is None:
        return _optima(estimator, rows, common, seeds, return_std)
    incomplete, joined = rows.missing.any(axis=1), {}
    for mask in (incomplete, ~incomplete):
        some = rows.take(mask)
        sigma = some.sigma_of_measurements() if mask is incomplete else some.sigma
        some, start = some._replace(sigma=sigma, missing=None), take_rows(seeds, mask)
        for name, values in _optima(estimator, some, common, start, return_std).items():
            joined.setdefault(name, np.empty((len(mask), *values.shape[1:]), values.dtype))
            joined[name][mask] = values
    return joined


def _optima(estimator, rows, common, seeds, return_std):
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
