"""Intervals from the profile likelihood: all values of a parameter that the data do not refute."""

import numpy as np
from scipy.stats import chi2

from .._solver import check_seeds, common_values
from ..noise import columns_of
from ._door import check_estimate
from ._levels import check_coverage
from ._optima import optima, solve_rows
from ._rows import in_pieces, scatter_rows, take_rows

_PIECE = 2**16  # most rows whose ends are searched at once
_MOST_WIDENINGS = 40  # doublings of the step in search of an end
_MOST_STEPS = 40
_CLOSE = 0.01  # tolerance of the root of twice the log-likelihood ratio, in standard deviations
_FIRST_STEP = 0.1  # of a parameter without a known standard deviation, as a share of its size


class ProfileIntervalMixin:
    """`predict_interval` of `MLEEstimator`."""

    def predict_interval(self, X, coverage=0.9, *, sigma=None, fixed=None):
        """Interval of each parameter from the profile likelihood.

        It holds all values of the parameter that the measurement does not refute: those at which
        the likelihood, maximised over all other parameters, is not too far below its maximum. It
        needs no derivatives at the estimate, is as asymmetric as the likelihood, and is finite on
        bounds, which it does not leave.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row; NaN where there is no measurement.
        coverage : float, default=0.9
            Nominal probability that the interval contains the true value.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level, see `estimate`. None: the one of `fit`.
        fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
            Known parameters by name, see `estimate`. Both ends are the known value.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters, 2)
            Lower and upper ends; NaN for rows without an estimate or without a noise level.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`, or if the coverage is not between 0 and 1.

        Notes
        -----
        Each end takes some five further fits: about a millisecond per voxel for four parameters.

        References
        ----------
        Wilks SS (1938), Ann Math Stat 9:60. Venzon DJ, Moolgavkar SH (1988), Appl Stat 37:87.
        """
        coverage = check_coverage(coverage)
        fixed = {**(self.fixed or {}), **(fixed or {})}
        rows = check_estimate(self, X, sigma=sigma, fixed=fixed)
        seeds = take_rows(check_seeds(self.init, self.bounds_, len(rows.usable)), rows.usable)
        common = common_values(fixed, self.signal_model_)

        def compute(piece):
            some = rows.piece(piece)
            start = None if seeds is None else seeds[piece]
            found = optima(self, some, common, start, return_std=True)
            return {"intervals": profile_intervals(self, some, found, coverage)}

        return scatter_rows(in_pieces(len(rows.X), _PIECE, compute)["intervals"], rows.usable)


def profile_intervals(estimator, rows, found, coverage):
    """Profile-likelihood interval of each parameter of each row.

    An end is where the log-likelihood, maximised over all other parameters, is below its maximum by
    half the quantile of a chi-squared distribution with one degree of freedom (Wilks). Where it is
    not reached within the bounds, the bound is the end.

    Parameters
    ----------
    estimator : fitted MLEEstimator
    rows : Rows
    found : dict of {str: ndarray}
        Results of maximum likelihood by name, with standard deviations.
    coverage : float

    Returns
    -------
    ndarray of shape (n_usable, n_parameters, 2)
    """
    z = np.sqrt(chi2.ppf(coverage, 1))
    rows = _present(rows, found)
    intervals = np.repeat(found["parameters"][..., None], 2, axis=2)
    for j, p in enumerate(estimator.signal_model_.parameters):
        free = np.isfinite(found["nll"])
        if rows.fixed is not None:
            free &= np.isnan(rows.fixed[:, j])
        index = np.flatnonzero(free)
        for side, sign in enumerate((-1, 1)):
            intervals[index, j, side] = _Search(
                estimator, rows, found, index, j, sign, z, p.log
            ).end()
    intervals[~np.isfinite(found["nll"])] = np.nan
    return intervals


def _present(rows, found):
    """Rows in which missing and rejected measurements have an infinite noise level."""
    missing = found.get("outliers", np.zeros(rows.X.shape, dtype=bool))
    if rows.missing is not None:
        missing = missing | rows.missing
    if not missing.any():
        return rows
    sigma = np.where(missing, np.inf, columns_of(rows.sigma))
    return rows._replace(X=np.where(missing, 0.0, rows.X), sigma=sigma, missing=None)


class _Search:
    """Search for one end of the intervals of one parameter.

    The root r of twice the log-likelihood ratio grows nearly in proportion to the distance from the
    optimum, as it does exactly where the likelihood is normal. So its crossing of z is found by
    linear interpolation: outwards first, then between an inner and an outer point.
    """

    def __init__(self, estimator, rows, found, index, j, sign, z, log):
        self.estimator, self.rows = estimator, rows
        self.index, self.j, self.sign, self.z, self.log = index, j, sign, z, log
        self.optimum = found["parameters"][index]
        self.nll = found["nll"][index]
        bound = estimator.bounds_[(sign + 1) // 2, j]
        self.bound = self._to_axis(np.full(len(index), bound))
        self.start = self._to_axis(self.optimum[:, j])
        std = found["std"][index, j]
        std = std / self.optimum[:, j] if log else std
        size = 1.0 if log else np.abs(self.optimum[:, j])
        guess = np.where(np.isfinite(std) & (std > 0), std, _FIRST_STEP * size + 1e-12)
        self.step = z * guess

    def _to_axis(self, values):
        return np.log(values) if self.log else values

    def _from_axis(self, values):
        return np.exp(values) if self.log else values

    def _root(self, some, values, seeds):
        """R at values of the parameter on its axis, and the tissues there."""
        index = self.index[some]
        theta = np.full((len(index), self.optimum.shape[1]), np.nan)
        if self.rows.fixed is not None:
            theta = self.rows.fixed[index].copy()
        theta[:, self.j] = self._from_axis(values)
        np.clip(theta[:, self.j], *self.estimator.bounds_[:, self.j], out=theta[:, self.j])
        seeds = np.where(np.isnan(theta), seeds, theta)
        solution = solve_rows(
            self.estimator, self.rows.X[index], self.rows.sigma[index], fixed=theta, seeds=seeds
        )
        ratio = 2 * np.maximum(solution.nll - self.nll[some], 0.0)
        # The profile may have another branch, which one start does not find. Before a value counts
        # as refuted, it is fitted from several.
        refuted = np.flatnonzero(~(ratio < self.z**2))
        if len(refuted):
            rows = index[refuted]
            again = solve_rows(
                self.estimator, self.rows.X[rows], self.rows.sigma[rows], fixed=theta[refuted]
            )
            other = 2 * np.maximum(again.nll - self.nll[some][refuted], 0.0)
            better = other < np.nan_to_num(ratio[refuted], nan=np.inf)
            ratio[refuted[better]] = other[better]
            solution.parameters[refuted[better]] = again.parameters[better]
        return np.sqrt(np.nan_to_num(ratio, nan=np.inf)), solution.parameters

    def end(self):
        """Ends of the intervals, in the units of the parameter."""
        inner, r_inner = self.start.copy(), np.zeros(len(self.start))
        outer, r_outer = inner.copy(), r_inner.copy()
        seeds, end = self.optimum.copy(), np.full(len(inner), np.nan)
        todo = np.arange(len(inner))
        # An optimum on the bound is the end.
        there = self.sign * (self.bound - self.start) <= 0
        end[there] = self.bound[there]
        todo = todo[~there]
        for _ in range(_MOST_WIDENINGS):
            if len(todo) == 0:
                break
            reach = self.sign * np.minimum(
                self.sign * (inner[todo] + self.sign * self.step[todo]),
                self.sign * self.bound[todo],
            )
            r, theta = self._root(todo, reach, seeds[todo])
            beyond = r >= self.z
            outer[todo[beyond]], r_outer[todo[beyond]] = reach[beyond], r[beyond]
            within = todo[~beyond]
            inner[within], r_inner[within] = reach[~beyond], r[~beyond]
            seeds[within] = theta[~beyond]
            at_bound = within[inner[within] == self.bound[within]]
            end[at_bound] = self.bound[at_bound]
            self.step[within] *= 2
            todo = within[inner[within] != self.bound[within]]
        end[todo] = self.sign * np.inf  # no end in many doublings
        self._narrow(end, inner, r_inner, outer, r_outer, seeds)
        # Rounding of logarithms must neither leave the bounds nor exclude the optimum.
        end, optimum = self._from_axis(end), self.optimum[:, self.j]
        end = np.clip(end, *self.estimator.bounds_[:, self.j])
        return np.minimum(end, optimum) if self.sign < 0 else np.maximum(end, optimum)

    def _narrow(self, end, inner, r_inner, outer, r_outer, seeds):
        """Fill in ends between inner and outer points, by interpolation of r."""
        todo = np.flatnonzero(np.isnan(end))
        for i in range(_MOST_STEPS):
            if len(todo) == 0:
                return
            a, b, ra, rb = inner[todo], outer[todo], r_inner[todo], r_outer[todo]
            share = (self.z - ra) / np.where(np.isfinite(rb) & (rb > ra), rb - ra, np.inf)
            # Every second step halves: interpolation alone may creep along a curve.
            share = np.where((share > 0.05) & (share < 0.95) & (i % 2 == 0), share, 0.5)
            value = a + share * (b - a)
            r, theta = self._root(todo, value, seeds[todo])
            end[todo] = value
            low = r < self.z
            inner[todo[low]], r_inner[todo[low]] = value[low], r[low]
            seeds[todo[low]] = theta[low]
            outer[todo[~low]], r_outer[todo[~low]] = value[~low], r[~low]
            todo = todo[np.abs(r - self.z) > _CLOSE * self.z]
