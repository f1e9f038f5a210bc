"""Measures of repeated acquisitions and of regions, where no truth is known."""

import numpy as np
from sklearn.utils import Bunch

from .._arrays import as_floats

_COVERAGE = 1.96  # standard deviations that 95 % of normal differences lie within


def repeatability(estimates):
    """Repeatability of estimates from repeated acquisitions of the same subjects or regions.

    Nothing here knows the truth: an estimator that always returns the same value is perfectly
    repeatable.

    Parameters
    ----------
    estimates : array-like of shape (n_repeats, n_subjects) or (n_repeats, n_subjects, n_parameters)
        Subjects, regions or voxels in the same order in every repeat. Those with NaN, or masked,
        in any repeat are excluded, for each parameter.

    Returns
    -------
    Bunch
        Arrays of shape (n_parameters,): `within_subject_std` (root mean square over subjects),
        `coefficient_of_variation` (the same, each subject's divided by its mean),
        `repeatability_coefficient` (2.77 times the first: 95 % of differences between two
        measurements of a subject are smaller), `mean_difference` and `limits_of_agreement` (2,
        n_parameters), Bland and Altman's, of the last repeat less the first; `n_subjects`. All but
        the second and the last in the units of the parameters.

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
    >>> found = repeatability([[1.0, 2.0, 3.0], [1.2, 1.8, 3.0]])
    >>> found.within_subject_std.round(3), found.repeatability_coefficient.round(3)
    (array([0.115]), array([0.32]))
    """
    estimates = as_floats(estimates)
    if estimates.ndim not in (2, 3) or len(estimates) < 2:
        raise ValueError(
            "estimates expects shape (n_repeats, n_subjects[, n_parameters]) with at least 2 "
            f"repeats, got {estimates.shape}."
        )
    estimates = estimates.reshape(*estimates.shape[:2], -1)
    results = [_repeatability(column) for column in np.moveaxis(estimates, 2, 0)]
    return Bunch(**{name: np.array([r[name] for r in results]).T for name in results[0]})


def _repeatability(values):
    """Of one parameter, (n_repeats, n_subjects)."""
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] == 0:
        raise ValueError("No subject has finite estimates in all repeats.")
    variance, mean = values.var(axis=0, ddof=1), values.mean(axis=0)
    within = np.sqrt(np.mean(variance))
    difference = values[-1] - values[0]
    spread = difference.std(ddof=1) if len(difference) > 1 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(np.mean(variance / mean**2))
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
        By parameter name; NaN and masked values count as failed.
    labels : array-like of the shape of each map
        0 outside regions, as are masked values; a positive integer for each.

    Returns
    -------
    list of dict
        One row per region and map: `label`, `parameter`, `n_voxels`, `n_failed`, `mean`, `std`,
        `median`, `q25`, `q75`; NaN where all voxels failed. For ``pandas.DataFrame``.

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
        raise ValueError("labels has no region: none of it is above 0.")
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
            known = finite if len(finite) else np.array([np.nan])
            q25, median, q75 = np.quantile(known, [0.25, 0.5, 0.75])
            rows.append(
                {
                    "label": int(label),
                    "parameter": parameter,
                    "n_voxels": len(region),
                    "n_failed": len(region) - len(finite),
                    "mean": float(known.mean()),
                    "std": float(known.std(ddof=1)) if len(known) > 1 else np.nan,
                    "median": float(median),
                    "q25": float(q25),
                    "q75": float(q75),
                }
            )
    return rows
