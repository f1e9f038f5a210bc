"""Rejection of single measurements that no tissue explains, by repeated fits without them."""

import numpy as np
import torch
from scipy.stats import norm

from .._warnings import warn
from ..information import covariances, fisher_information
from ..noise import expected_measurement

# Share of voxels without any fault of which a measurement may be rejected, if noise is normal.
_FALSE = 0.01
# Share of voxels above which a measurement that is rejected there is named in a warning.
_WHOLE = 0.05
# Measurements whose residual keeps less than this share of its variance cannot be judged: the fit
# follows them.
_LEAST = 0.05
_ROWS = 4096  # voxels at once, whose derivatives fit into a processor's cache


def without_outliers(estimator, rows, results, refit):
    """Results of fits from which outliers are left out, one measurement of a voxel at a time.

    Parameters
    ----------
    estimator : fitted MLEEstimator
    rows : Rows
    results : dict of {str: ndarray}
        Results of the fits to all measurements, which are replaced in voxels with outliers.
    refit : callable
        ``refit(rows, index)`` returns results of rows with noise levels per measurement; `index`
        has their places in `rows`.

    Returns
    -------
    dict of {str: ndarray}
        Results with `outliers` (n_usable, n_measurements) and `n_outliers` (n_usable,).

    Notes
    -----
    The residual of measurement j has the variance ``v_j * (1 - h_j)``, where v is that of the noise
    and the leverage h the share of it that the fit follows: ``h = w * s^T C s`` with the weight w
    (information of the measurement), its slopes s by the parameters, and their covariance C. The
    largest residual over its standard deviation exceeds the limit in 1 % of faultless voxels by
    Bonferroni's inequality: each of n measurements may in .01 / n of them. The measurement is
    rejected, the voxel fitted again, and so on while a degree of freedom would be left. Residuals
    count as normal. Those of magnitudes at the noise floor are skewed, so that there are more false
    rejections: 2 to 4 % of the voxels if most measurements are at the floor.
    """
    sigma = rows.sigma_of_measurements().copy()
    outliers = np.zeros(rows.X.shape, dtype=bool)
    free = np.ones_like(results["at_bound"]) if rows.fixed is None else np.isnan(rows.fixed)
    index = np.arange(len(rows.X))
    while len(index):
        parameters = results["parameters"][index]
        moving = (free & ~results["at_bound"])[index]
        scores = _scores(estimator, rows.X[index], sigma[index], parameters, moving)
        n_present = np.count_nonzero(np.isfinite(sigma[index]), axis=1)
        spare = n_present - np.count_nonzero(free[index], axis=1)
        limit = norm.isf(_FALSE / 2 / np.maximum(n_present, 1))
        out = (scores.max(axis=1, initial=0) > limit) & (spare > 1)
        index, worst = index[out], scores[out].argmax(axis=1)
        if len(index) == 0:
            break
        outliers[index, worst], sigma[index, worst] = True, np.inf
        some = rows.take(np.isin(np.arange(len(rows.X)), index))
        X = np.where(np.isinf(sigma[index]), 0.0, some.X)
        for name, values in refit(
            some._replace(X=X, sigma=sigma[index], missing=None), index
        ).items():
            results[name][index] = values
    return results | {"outliers": outliers, "n_outliers": np.count_nonzero(outliers, axis=1)}


def _scores(estimator, X, sigma, parameters, free):
    """Residuals over their standard deviations, 0 where there is none or it cannot be judged."""
    scores = np.empty(X.shape)
    for i in range(0, len(X), _ROWS):
        rows = slice(i, i + _ROWS)
        scores[rows] = _block_scores(
            estimator.signal_model_, estimator.noise_, X[rows], sigma[rows], parameters[rows],
            free[rows],
        )  # fmt: skip
    return scores


def _block_scores(signal_model, noise, X, sigma, parameters, free):
    residual = X - expected_measurement(signal_model, noise, parameters, sigma)
    information = fisher_information(signal_model, noise, parameters, sigma)
    covariance, _ = covariances(information, free)
    with torch.no_grad():
        theta = torch.as_tensor(np.ascontiguousarray(parameters.T))
        signal, jacobian = signal_model.jacobian(theta)
    signal, slopes = signal.numpy().T, np.moveaxis(jacobian.numpy(), -1, 0).swapaxes(1, 2)
    level = np.where(np.isinf(sigma), np.nan, sigma)
    weight = noise.information(signal / level) / level**2
    leverage = weight * np.einsum("vmi,vij,vmj->vm", slopes, covariance, slopes)
    variance = noise.variance(torch.as_tensor(signal / level)).numpy() * level**2
    kept = 1 - leverage
    with np.errstate(invalid="ignore"):
        scores = np.abs(residual) / np.sqrt(variance * np.maximum(kept, _LEAST))
    return np.where(kept >= _LEAST, np.nan_to_num(scores, nan=0.0), 0.0)


def warn_of_whole_measurements(outliers, sigma):
    """Name the measurements that are outliers in many of the voxels (n_voxels, n_measurements).

    Also warn if the noise level is unknown, so that none is.
    """
    if np.isnan(sigma).any():
        warn("Cannot tell outliers without a noise level: pass sigma.")
    share = outliers.mean(axis=0) if len(outliers) else np.zeros(outliers.shape[1])
    named = [f"{j} ({share[j]:.0%})" for j in np.flatnonzero(share > _WHOLE)]
    if named:
        warn(
            f"Some measurements are outliers in more than {_WHOLE:.0%} of the voxels, by their "
            f"columns in X: {', '.join(named)}. Check these volumes for motion or a wrong value."
        )
