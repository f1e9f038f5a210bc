"""Tissues drawn from a prior: ranges, samples or a callable."""

import numpy as np
from scipy.stats import qmc
from sklearn.utils import check_random_state

_DRAWS = 100  # tries for a tissue within bounds


def draw_tissues(signal_model, n_samples, prior, rng, *, quasi=False):
    """Draw tissues.

    Parameters
    ----------
    signal_model : SignalModel
        What a tissue would measure without noise.
    n_samples : int
    prior : None, dict, array or callable
        As in `make_signals`.
    rng : numpy.random.RandomState
    quasi : bool, default=False
        Fill ranges by a scrambled Sobol sequence, more evenly than independent draws would.

    Returns
    -------
    ndarray of shape (n_samples, n_parameters)

    Raises
    ------
    ValueError
        For names that are no parameters, or tissues that are not finite or of the wrong shape.
    """
    names = signal_model.parameter_names
    if callable(prior):
        return _check_tissues(prior(n_samples, rng), names, n_samples)
    if prior is not None and not isinstance(prior, dict):
        samples = _check_tissues(prior, names)
        return samples[rng.randint(len(samples), size=n_samples)]
    low, high = prior_ranges(signal_model, prior)
    if quasi:
        seed = int(rng.randint(np.iinfo(np.int32).max))
        sequence = qmc.Sobol(len(names), rng=seed)
        unit = sequence.random_base2((n_samples - 1).bit_length())[:n_samples]
    else:
        unit = rng.uniform(size=(n_samples, len(names)))
    return low + (high - low) * unit


def prior_ranges(signal_model, prior):
    """Ends of a prior's ranges, (2, n_parameters): those of the signal model where not given."""
    names = signal_model.parameter_names
    ranges = {p.name: p.prior for p in signal_model.parameters} | dict(prior or {})
    if unknown := sorted(set(ranges) - set(names)):
        raise ValueError(f"prior names {unknown}, but the parameters are {list(names)}.")
    for name, pair in ranges.items():
        if np.shape(pair) != (2,) or not (np.isfinite(pair).all() and pair[0] <= pair[1]):
            raise ValueError(f"prior[{name!r}] expects a finite (low, high), got {pair!r}.")
    return np.array([ranges[name] for name in names], dtype=np.float64).T


def _check_tissues(tissues, names, n_samples=None):
    if hasattr(tissues, "columns"):
        if sorted(tissues.columns) != sorted(names):
            raise ValueError(f"prior has columns {list(tissues.columns)}, expected {list(names)}.")
        tissues = tissues[list(names)]
    tissues = np.asarray(tissues, dtype=np.float64)
    expected = (n_samples or "n", len(names))
    wrong_length = n_samples is not None and len(tissues) != n_samples
    if tissues.ndim != 2 or tissues.shape[1] != len(names) or wrong_length or len(tissues) == 0:
        raise ValueError(
            f"prior expects tissues of shape {expected} with columns {list(names)}, "
            f"got shape {tissues.shape}."
        )
    if not np.isfinite(tissues).all():
        raise ValueError("prior expects finite tissues, got NaN or infinity among them.")
    return tissues


def tissue_prior(signal_model, tissues=None, *, spread=0.2, n_samples=10_000, random_state=None):
    """Samples around typical tissues, as a prior for simulation, training and posterior means.

    Each sample is one of the tissues, with every parameter multiplied by a log-normal factor, drawn
    again while it is outside the signal model's bounds; amplitudes fill their prior range.

    Parameters
    ----------
    signal_model : SignalModel
        What a tissue would measure without noise.
    tissues : str, sequence of str or dict of {str: array-like}, default=None
        Names among `SignalModel.named_tissues`, or tissues of shape (n_parameters,). None: all that
        have a name.
    spread : float, default=0.2
        Standard deviation of the logarithm of the factors.
    n_samples : int, default=10000
        Number of tissues to draw.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.

    Returns
    -------
    ndarray of shape (n_samples, n_parameters)
        For `prior` of `make_signals` or `PosteriorMeanEstimator`.

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
    known = signal_model.named_tissues() if not isinstance(tissues, dict) else tissues
    names = list(known) if tissues is None else list(tissues)
    if not names or (unknown := sorted(set(names) - set(known))):
        raise ValueError(
            f"tissues expects some of {list(known)}, got {names if not names else unknown}."
        )
    rng = check_random_state(random_state)
    centers = _check_tissues([known[name] for name in names], signal_model.parameter_names)
    check_within_bounds(centers, signal_model, "tissues")
    centers = centers[rng.randint(len(centers), size=n_samples)]
    drawn = centers.copy()
    for j, p in enumerate(signal_model.parameters):
        if p.amplitude:
            drawn[:, j] = rng.uniform(*p.prior, size=n_samples)
            continue
        rows = np.arange(n_samples)
        for _ in range(_DRAWS):
            drawn[rows, j] = centers[rows, j] * np.exp(spread * rng.standard_normal(len(rows)))
            rows = rows[(drawn[rows, j] < p.bounds[0]) | (drawn[rows, j] > p.bounds[1])]
        drawn[rows, j] = centers[rows, j]
    return drawn


def check_within_bounds(tissues, signal_model, name):
    """ValueError for tissues (n, n_parameters) outside the bounds, which other units often are."""
    for p, values in zip(signal_model.parameters, tissues.T, strict=True):
        outside = ~((values >= p.bounds[0]) & (values <= p.bounds[1]))
        if outside.any():
            raise ValueError(
                f"{name} has {p.name} of {values[outside][0]:g}, outside its bounds of "
                f"{p.bounds[0]:g} to {p.bounds[1]:g}{f' {p.unit}' if p.unit else ''}."
            )
