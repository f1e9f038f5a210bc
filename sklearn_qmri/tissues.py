"""Tissues: ranges of their parameters, draws from priors, and noisy measurements.

Bounds and priors are both a (low, high) for each parameter. Bounds limit estimates and may be
infinite. Priors limit simulated tissues and are finite, within the signal model's bounds.
"""

from numbers import Real

import numpy as np
from scipy.stats import qmc
from sklearn.utils import check_random_state

from ._arrays import as_floats, columns_by_name
from .noise import columns_of

_DRAWS = 100  # tries for a tissue within the bounds


def check_bounds(bounds, signal_model):
    """Bounds as an array of shape (2, n_parameters), by default those of the signal model.

    Parameters
    ----------
    bounds : dict of {str: (float, float)} or None
    signal_model : SignalModel

    Returns
    -------
    ndarray of shape (2, n_parameters)

    Raises
    ------
    ValueError
        For a name that is no parameter, or bounds that are not a pair low < high.
    """
    default = {p.name: p.bounds for p in signal_model.parameters}
    pairs = _merge_ranges(bounds, default, "bounds")
    for p in signal_model.parameters:
        low, high = pairs[p.name]
        if not low < high:
            raise ValueError(f"bounds[{p.name!r}] expects low < high, got {pairs[p.name]!r}.")
        # A logarithmic axis cannot begin at 0.
        if p.log and not low > 0:
            raise ValueError(f"bounds[{p.name!r}] expects low > 0, got {pairs[p.name]!r}.")
    return np.array([pairs[p.name] for p in signal_model.parameters], dtype=np.float64).T


def prior_ranges(signal_model, prior):
    """Ranges of a prior as an array (2, n_parameters), by default those of the signal model.

    Parameters
    ----------
    signal_model : SignalModel
    prior : dict of {str: (float, float)} or None

    Returns
    -------
    ndarray of shape (2, n_parameters)

    Raises
    ------
    ValueError
        For a name that is no parameter, a range that is not finite with low <= high, or one that
        leaves the signal model's bounds.
    """
    default = {p.name: p.prior for p in signal_model.parameters}
    pairs = _merge_ranges(prior, default, "prior")
    # Equal ends are allowed: all tissues then have the same value.
    for name, pair in pairs.items():
        if not (np.isfinite(pair).all() and pair[0] <= pair[1]):
            raise ValueError(f"prior[{name!r}] expects a finite (low, high), got {pair!r}.")
    ranges = np.array([pairs[p.name] for p in signal_model.parameters], dtype=np.float64).T
    check_within_bounds(ranges, signal_model, "prior")
    return ranges


def _merge_ranges(given, default, argument):
    """Ranges by name, with defaults for those that are not given."""
    if unknown := sorted(set(given or {}) - set(default)):
        raise ValueError(f"{argument} names {unknown}, but the parameters are {list(default)}.")
    merged = default | dict(given or {})
    for name, pair in merged.items():
        if np.shape(pair) != (2,) or not all(isinstance(value, Real) for value in pair):
            raise ValueError(f"{argument}[{name!r}] expects two numbers, got {pair!r}.")
    return merged


def check_tissues(tissues, signal_model, argument, n_tissues=None):
    """Tissues as an array, with the columns of a DataFrame ordered by name.

    Parameters
    ----------
    tissues : array-like of shape (n_tissues, n_parameters)
    signal_model : SignalModel
    argument : str
        Name of the argument, for the error.
    n_tissues : int, default=None
        Required number of tissues. None: at least one.

    Returns
    -------
    ndarray of shape (n_tissues, n_parameters)

    Raises
    ------
    ValueError
        If they have another shape or other columns, or are not finite.
    """
    names = list(signal_model.parameter_names)
    tissues = as_floats(columns_by_name(tissues, names, argument))
    if tissues.ndim == 2 and tissues.shape[1] != len(names):
        raise ValueError(
            f"{argument} has {tissues.shape[1]} parameters per tissue, expected {len(names)}, "
            f"{names}; got shape {tissues.shape}."
        )
    wrong_length = len(tissues) == 0 if n_tissues is None else len(tissues) != n_tissues
    if tissues.ndim != 2 or wrong_length:
        raise ValueError(
            f"{argument} expects tissues of shape ({n_tissues or 'n'}, {len(names)}) with columns "
            f"{names}, got shape {tissues.shape}."
        )
    if not np.isfinite(tissues).all():
        raise ValueError(f"{argument} expects finite tissues, got NaN or infinity among them.")
    return tissues


def outside_bounds(tissues, signal_model):
    """Whether each parameter of tissues (n_tissues, n_parameters) is outside the model's bounds."""
    low, high = np.array([p.bounds for p in signal_model.parameters], dtype=np.float64).T
    # Negated, so that NaN counts as outside.
    return ~((tissues >= low) & (tissues <= high))


def check_within_bounds(tissues, signal_model, argument):
    """Refuse tissues (n_tissues, n_parameters) outside the bounds, often due to wrong units.

    Raises
    ------
    ValueError
        If any is outside, with the first such parameter and its bounds.
    """
    outside = outside_bounds(tissues, signal_model)
    for p, values, wrong in zip(signal_model.parameters, tissues.T, outside.T, strict=True):
        if wrong.any():
            raise ValueError(
                f"{argument} has {p.name} of {values[wrong][0]:g}, outside its bounds of "
                f"{p.bounds[0]:g} to {p.bounds[1]:g}{f' {p.unit}' if p.unit else ''}."
            )


def draw_tissues(signal_model, n_tissues, prior, rng, *, quasi=False):
    """Draw tissues from a prior.

    Parameters
    ----------
    signal_model : SignalModel
        Signal model, whose own prior is the default.
    n_tissues : int
    prior : None, dict, array or callable
        Same as in `make_signals`.
    rng : numpy.random.RandomState
    quasi : bool, default=False
        Whether to fill ranges by a scrambled Sobol sequence, more evenly than by independent draws.

    Returns
    -------
    ndarray of shape (n_tissues, n_parameters)

    Raises
    ------
    ValueError
        For names that are no parameters, or tissues that are not finite, of the wrong shape, or
        outside the signal model's bounds.
    """
    if callable(prior):
        tissues = check_tissues(prior(n_tissues, rng), signal_model, "prior", n_tissues)
        check_within_bounds(tissues, signal_model, "prior")
        return tissues
    if prior is not None and not isinstance(prior, dict):
        samples = check_tissues(prior, signal_model, "prior")
        check_within_bounds(samples, signal_model, "prior")
        # Rows are drawn with replacement, so that there may be more tissues than samples.
        return samples[rng.randint(len(samples), size=n_tissues)]
    low, high = prior_ranges(signal_model, prior)
    if quasi:
        # Sobol points come in powers of 2. (n - 1).bit_length() is the exponent of the smallest one
        # that is at least n.
        seed = int(rng.randint(np.iinfo(np.int32).max))
        sequence = qmc.Sobol(len(low), rng=seed)
        unit = sequence.random_base2((n_tissues - 1).bit_length())[:n_tissues]
    else:
        unit = rng.uniform(size=(n_tissues, len(low)))
    return low + (high - low) * unit


def measure(signal_model, noise, parameters, sigma, rng):
    """Simulate one noisy measurement of each tissue.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    parameters : ndarray of shape (n_tissues, n_parameters)
    sigma : ndarray of shape (n_tissues,) or (n_tissues, n_measurements)
        Standard deviation of the Gaussian noise per channel. Infinity: there is no measurement.
    rng : numpy.random.RandomState
        Generator, which is advanced.

    Returns
    -------
    ndarray of shape (n_tissues, n_measurements)
        Measurements in the units of the amplitudes and of sigma; NaN where there is none.
    """
    # Noise models work in units of sigma.
    sigma = columns_of(np.where(np.isinf(sigma), np.nan, sigma))
    return noise.sample(signal_model.simulate(parameters) / sigma, rng) * sigma


def number_tissues(y):
    """Number the distinct rows of y (n_voxels, n_parameters) in sorted order; one int per row.

    Same as the inverse of `numpy.unique` along the first axis, several times faster.
    """
    # lexsort sorts by its last key first, so that reversed columns make the first column decide.
    # In this order, a row that differs from the one before has the next number.
    order = np.lexsort(y.T[::-1])
    new = (y[order[1:]] != y[order[:-1]]).any(axis=1)
    numbers = np.empty(len(y), dtype=np.intp)
    numbers[order] = np.concatenate([np.zeros(min(len(y), 1), np.intp), np.cumsum(new)])
    return numbers


def tissue_prior(signal_model, tissues=None, *, spread=0.2, n_samples=10_000, random_state=None):
    """Samples around typical tissues, as a prior for simulation, training and posterior means.

    Each sample is one of the tissues, with every parameter multiplied by a log-normal factor. The
    factor is drawn again while it leaves the signal model's bounds. Amplitudes fill their prior.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    tissues : str, sequence of str or dict of {str: array-like}, default=None
        Names in `SignalModel.named_tissues`, or tissues of shape (n_parameters,) by name. None: all
        named tissues.
    spread : float, default=0.2
        Standard deviation of the logarithm of the factors.
    n_samples : int, default=10000
        Number of tissues to draw.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.

    Returns
    -------
    ndarray of shape (n_samples, n_parameters)
        Value for the `prior` of `make_signals` or `PosteriorMeanEstimator`.

    Raises
    ------
    ValueError
        For names that the signal model does not have, no tissue at all, tissues outside the bounds,
        or a spread that is not positive.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_signals, tissue_prior
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> prior = tissue_prior(model, ["liver"], random_state=0)
    >>> X, y = make_signals(model, 100, snr=30, prior=prior, random_state=0)
    >>> bool(0.15 < y[:, 1].mean() < 0.3)
    True
    """
    tissues = [tissues] if isinstance(tissues, str) else tissues
    if not 0 < spread < np.inf:
        raise ValueError(f"spread expects a positive number, got {spread!r}.")
    by_name = signal_model.named_tissues() if not isinstance(tissues, dict) else tissues
    names = list(by_name) if tissues is None else list(tissues)
    if not names or (unknown := sorted(set(names) - set(by_name))):
        raise ValueError(
            f"tissues expects some of {list(by_name)}, got {names if not names else unknown}."
        )
    rng = check_random_state(random_state)
    centers = check_tissues([by_name[name] for name in names], signal_model, "tissues")
    check_within_bounds(centers, signal_model, "tissues")
    centers = centers[rng.randint(len(centers), size=n_samples)]
    drawn = centers.copy()
    for j, p in enumerate(signal_model.parameters):
        if p.amplitude:
            drawn[:, j] = rng.uniform(*p.prior, size=n_samples)
            continue
        # Samples that stay outside after many draws keep the value of their tissue, which is
        # inside.
        rows = np.arange(n_samples)
        for _ in range(_DRAWS):
            drawn[rows, j] = centers[rows, j] * np.exp(spread * rng.standard_normal(len(rows)))
            rows = rows[(drawn[rows, j] < p.bounds[0]) | (drawn[rows, j] > p.bounds[1])]
        drawn[rows, j] = centers[rows, j]
    return drawn
