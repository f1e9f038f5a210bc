"""Tissues of interest of a comparison, and the signal-to-noise ratio of a scan."""

import numpy as np

from ..estimators import MLEEstimator
from ..tissues import check_tissues, check_within_bounds, draw_tissues, prior_ranges

# Least signal-to-noise ratio of voxels that count as tissue.
_LEAST_SNR = 5
# Approximate number of tissues of the grid over the prior.
_GRID = 125


def estimate_snr(signal_model, X):
    """Signal-to-noise ratio of a scan: the median amplitude over the noise level.

    Both are estimated by maximum likelihood. The median is over voxels with an amplitude of more
    than 5 noise levels, which excludes air. The noise level is the one that `MLEEstimator` learns,
    which includes effects of motion and misfit.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    X : array-like of shape (n_voxels, n_measurements)
        Signals, a voxel per row.

    Returns
    -------
    float
        Ratio without a unit, for `snr` of `compare_methods` and `make_signals`.

    Raises
    ------
    ValueError
        If the signal model has no amplitude, X does not fit it, or no voxel has an
        amplitude over 5 noise levels.

    Examples
    --------
    >>> from sklearn_qmri.compare import estimate_snr
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, _ = make_signals(model, 500, snr=30, random_state=0)
    >>> bool(27 < estimate_snr(model, X) < 33)
    True
    """
    amplitudes = [j for j, p in enumerate(signal_model.parameters) if p.amplitude]
    if not amplitudes:
        raise ValueError(f"{signal_model!r} has no amplitude to compare noise with.")
    mle = MLEEstimator(signal_model).fit(X)
    ratio = mle.predict(X)[:, amplitudes[0]] / mle.sigma_
    tissue = ratio[ratio > _LEAST_SNR]
    if len(tissue) == 0:
        raise ValueError(f"No voxel of {len(X)} has an amplitude over {_LEAST_SNR} noise levels.")
    return float(np.median(tissue))


def tissues_of_interest(signal_model, tissues, prior, rng):
    """Arrays of tissues by name, and notes on tissues outside the prior."""
    if tissues is None:
        tissues = {"prior": _grid(signal_model, prior, rng), **signal_model.named_tissues()}
    groups, notes = {}, []
    # Only a prior of ranges has limits to compare tissues with.
    low, high = None, None
    if prior is None or isinstance(prior, dict):
        low, high = prior_ranges(signal_model, prior)
    for name, values in tissues.items():
        values = np.atleast_2d(np.asarray(values, dtype=np.float64))
        groups[name] = check_tissues(values, signal_model, f"tissues[{name!r}]")
        check_within_bounds(groups[name], signal_model, f"tissues[{name!r}]")
        if low is not None:
            outside = ((values < low) | (values > high)).any(axis=0)
            names = [p.name for p, out in zip(signal_model.parameters, outside, strict=True) if out]
            if names:
                notes.append(
                    f"{name} is outside the prior in {', '.join(names)}: networks and the "
                    "posterior mean have never seen such tissue."
                )
    if not groups:
        raise ValueError("tissues is empty: name at least one tissue of interest.")
    return groups, notes


def _grid(signal_model, prior, rng):
    """Centres of equal cells of the prior, with amplitudes at the middle of their range."""
    if prior is not None and not isinstance(prior, dict):
        return draw_tissues(signal_model, _GRID, prior, rng)
    ranges = prior_ranges(signal_model, prior).T
    varied = sum(not p.amplitude for p in signal_model.parameters)
    # With this many cells per varied axis, the grid has about _GRID tissues, but always 2 per axis.
    n_cells = max(2, round(_GRID ** (1 / max(varied, 1))))
    axes = []
    for p, (low, high) in zip(signal_model.parameters, ranges, strict=True):
        n = 1 if p.amplitude or low == high else n_cells
        axes.append(low + (high - low) * (np.arange(n) + 0.5) / n)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def known_parameters(signal_model, prior):
    """Values of parameters whose range in the prior is a single value, by name."""
    if prior is not None and not isinstance(prior, dict):
        return {}
    ranges = zip(signal_model.parameter_names, prior_ranges(signal_model, prior).T, strict=True)
    return {name: float(low) for name, (low, high) in ranges if low == high}
