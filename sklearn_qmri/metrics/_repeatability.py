"""Measures of repeated acquisitions and of regions, where the truth is unknown."""

import numpy as np
from sklearn.utils import Bunch

from .._arrays import as_floats

# A normal variable is within this many standard deviations of its mean with a probability of 95 %.
_COVERAGE = 1.96


def repeatability(estimates):
    """Repeatability of estimates from repeated acquisitions of the same subjects or regions.

    The measures do not depend on the truth: an estimator that always returns the same value is
    perfectly repeatable.

    Parameters
    ----------
    estimates : array-like of shape (n_repeats, n_subjects) or (n_repeats, n_subjects, n_parameters)
        Subjects, regions or voxels, in the same order in every repeat. Subjects with a NaN or
        masked value in any repeat are excluded, separately for each parameter.

    Returns
    -------
    Bunch
        Arrays of shape (n_parameters,): `within_subject_std` (root mean square over subjects),
        `coefficient_of_variation` (the same after division by each subject's mean),
        `repeatability_coefficient` (2.77 times `within_subject_std`: 95 % of the differences
        between two measurements of a subject are smaller), `mean_difference` (last repeat minus
        first), `limits_of_agreement` of that difference after Bland and Altman (2, n_parameters),
        and `n_subjects`. All are in the units of the parameters, except
        `coefficient_of_variation` and `n_subjects`.

    Raises
    ------
    ValueError
        For fewer than two repeats, or no subject without NaN.

    References
    ----------
    Bland and Altman, Lancet 1986;327:307. Raunig et al., Stat Methods Med Res 2015;24:27.

    Examples
    --------
    >>> from sklearn_qmri.metrics import repeatability
    >>> result = repeatability([[1.0, 2.0, 3.0], [1.2, 1.8, 3.0]])
    >>> result.within_subject_std.round(3), result.repeatability_coefficient.round(3)
    (array([0.115]), array([0.32]))
    """
    estimates = as_floats(estimates)
    if estimates.ndim not in (2, 3) or len(estimates) < 2:
        raise ValueError(
            "estimates expects shape (n_repeats, n_subjects[, n_parameters]) with at least 2 "
            f"repeats, got {estimates.shape}."
        )
    # Each parameter on its own, (n_repeats, n_subjects): the excluded subjects may differ.
    estimates = estimates.reshape(*estimates.shape[:2], -1)
    results = [_repeatability(column) for column in np.moveaxis(estimates, 2, 0)]
    return Bunch(**{name: np.array([r[name] for r in results]).T for name in results[0]})


def _repeatability(values):
    """Repeatability of one parameter, from values of shape (n_repeats, n_subjects)."""
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] == 0:
        raise ValueError("No subject has finite estimates in all repeats.")
    variance, mean = values.var(axis=0, ddof=1), values.mean(axis=0)
    within = np.sqrt(np.mean(variance))  # variances average, standard deviations do not
    difference = values[-1] - values[0]
    spread = difference.std(ddof=1) if len(difference) > 1 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(np.mean(variance / mean**2))
    # The difference of two measurements of a subject has a variance of 2 * within^2.
    return {
        "within_subject_std": within,
        "coefficient_of_variation": relative,
        "repeatability_coefficient": np.sqrt(2) * _COVERAGE * within,
        "mean_difference": difference.mean(),
        "limits_of_agreement": difference.mean() + _COVERAGE * spread * np.array([-1, 1]),
        "n_subjects": values.shape[1],
    }


def roi_statistics(maps, labels):
    """Statistics of parameter maps in regions of interest.

    Parameters
    ----------
    maps : dict of {str: array-like}
        Maps by parameter name; NaN and masked values count as failed.
    labels : array-like of the shape of each map
        A positive integer for each region. 0 and masked values are outside all regions.

    Returns
    -------
    list of dict
        One row per region and map: `label`, `parameter`, `n_voxels`, `n_failed`, `mean`, `std`,
        `median`, `q25` and `q75`. Statistics are NaN where all voxels failed. The list can be
        passed to ``pandas.DataFrame``.

    Raises
    ------
    ValueError
        If shapes differ or there is no region.

    Examples
    --------
    >>> from sklearn_qmri.metrics import roi_statistics
    >>> roi_statistics({"D": [1.0, 2.0, 9.0]}, [1, 1, 0])[0]["mean"]
    1.5
    """
    labels = np.ma.filled(labels, 0) if np.ma.isMaskedArray(labels) else np.asarray(labels)
    regions = [label for label in np.unique(labels) if label > 0]
    if not regions:
        raise ValueError("labels has no region: no value is above 0.")
    rows = []
    for parameter, values in maps.items():
        values = as_floats(values)
        if values.shape != labels.shape:
            raise ValueError(
                f"The map of {parameter} has shape {values.shape}, labels {labels.shape}."
            )
        for label in regions:
            region = values[labels == label]
            finite = region[np.isfinite(region)]
            # One NaN stands for a region that failed: its statistics are NaN without a warning.
            sample = finite if len(finite) else np.array([np.nan])
            q25, median, q75 = np.quantile(sample, [0.25, 0.5, 0.75])
            rows.append(
                {
                    "label": int(label),
                    "parameter": parameter,
                    "n_voxels": len(region),
                    "n_failed": len(region) - len(finite),
                    "mean": float(sample.mean()),
                    "std": float(sample.std(ddof=1)) if len(sample) > 1 else np.nan,
                    "median": float(median),
                    "q25": float(q25),
                    "q75": float(q75),
                }
            )
    return rows
