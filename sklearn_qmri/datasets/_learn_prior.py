"""The prior that a scan implies."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._arrays import as_floats
from .._torch import single_thread
from ..dictionary import (
    ShapeDraws,
    WeightedPrior,
    amplitude_of,
    check_floor,
    maximize_weights,
)
from ..estimators._sampling import in_single
from ..noise import check_sigma, resolve_noise
from ..tissues import draw_tissues, prior_ranges

_LEAST_VOXELS = 50
_MOST_VOXELS = 12_000  # whose likelihoods are held at once
_HELD_OUT = 0.15  # share of the voxels that tell when to stop
_MOST_STEPS = 150
_TOL = 2e-5  # nats per voxel
_BLOCK = 256
_QUANTILES = 0.005, 0.995  # of the amplitudes of a scan
_WIDER = 1.5  # factor by which the range of the amplitude goes beyond these, for the other voxels
# A voxel is unlike the prior if its best atom misses it, in root mean square, by as many noise
# levels and as much of its signal. Atoms are some per cent of the signal apart.
_MISFIT, _UNLIKE = 3.0, 0.1
_LOWEST = -80.0  # least logarithm of a likelihood; exponentials of smaller numbers would be slow


def learn_prior(
    signal_model,
    X,
    *,
    sigma,
    noise="auto",
    prior=None,
    floor=0.05,
    n_atoms=8192,
    random_state=None,
):
    """Learn the distribution of tissues from the noisy signals of a scan.

    The prior is a mixture of many tissues (atoms). Their weights are those under which the signals
    are most likely, found by expectation and maximisation. Noise is in the likelihood, so that the
    learnt distribution is narrower than that of estimates, which noise has spread.

    A share of the wide prior stays in it, so that rare tissue is not erased. Even so, a rare tissue
    is drawn towards common ones more than by the wide prior, wherever noise cannot tell them apart.

    Parameters
    ----------
    signal_model : SignalModel
        Signal model with one amplitude.
    X : array-like of shape (n_voxels, n_measurements)
        Signals of at least 50 voxels; rows that are no possible measurements are excluded. Of more
        than 12,000, as many are drawn.
    sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
        Noise level in the units of X.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own.
    prior : dict of {str: (float, float)}, default=None
        Ranges of the wide prior by parameter name, in place of the signal model's. A range of the
        amplitude that is not given is learnt from X.
    floor : float, default=0.05
        Share of the wide prior, from 0 to 1.
    n_atoms : int, default=8192
        Number of tissues.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.

    Returns
    -------
    WeightedPrior
        Value for every parameter called `prior`.

    Raises
    ------
    ValueError
        If an argument is out of range or does not fit the signal model, less than 50 rows are
        usable, or no tissue of the prior explains more than half of the voxels.

    References
    ----------
    Kiefer and Wolfowitz, Ann Math Stat 1956;27:887. Laird, J Am Stat Assoc 1978;73:805.

    Examples
    --------
    >>> from sklearn_qmri import PosteriorMeanEstimator
    >>> from sklearn_qmri.datasets import learn_prior, make_signals
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 200, 500, 1000])
    >>> X, y = make_signals(model, 2000, snr=20, prior={"D": (0.9, 1.1)}, random_state=0)
    >>> prior = learn_prior(model, X, sigma=1 / 20, random_state=0)
    >>> learnt, wide = (
    ...     PosteriorMeanEstimator(model, sigma=1 / 20, prior=p, random_state=0).fit(X).predict(X)
    ...     for p in (prior, None)
    ... )
    >>> errors = [float(((found - y)[:, 1] ** 2).mean()) for found in (learnt, wide)]
    >>> errors[0] < 0.6 * errors[1]
    True
    """
    rng = check_random_state(random_state)
    check_floor(floor)
    if isinstance(n_atoms, bool) or not isinstance(n_atoms, Integral) or n_atoms < 2:
        raise ValueError(f"n_atoms expects an integer of at least 2, got {n_atoms!r}.")
    names, amplitude = signal_model.parameter_names, amplitude_of(signal_model)
    ranges = prior_ranges(signal_model, prior)
    noise = resolve_noise(noise, signal_model)
    X, sigma = _some_rows(noise, X, sigma, signal_model, rng)
    by_name = dict(zip(names, map(tuple, ranges.T), strict=True))
    atoms = draw_tissues(signal_model, n_atoms, by_name, rng, quasi=True)
    with single_thread(), torch.no_grad():
        if names[amplitude] not in (prior or {}):
            ranges[:, amplitude] = _amplitudes(signal_model, noise, atoms, amplitude, X, sigma)
        draws = ShapeDraws(signal_model, noise, atoms, amplitude, *ranges[:, amplitude])
        likelihood = torch.cat([_likelihoods(draws, *part) for part in _blocks(X, sigma)])
        n_others = int(_HELD_OUT * len(likelihood))
        weights, n_steps = maximize_weights(
            likelihood[n_others:], likelihood[:n_others], _MOST_STEPS, _TOL
        )
    weights = weights.double().numpy()
    about = {"n_voxels": len(X), "n_steps": n_steps, "sigma": float(np.median(sigma))}
    return WeightedPrior(
        signal_model, atoms, weights / weights.sum(), ranges, floor=floor, about=about
    )


def _some_rows(noise, X, sigma, signal_model, rng):
    """Usable rows of X and their noise levels, at most `_MOST_VOXELS` in a random order."""
    X = as_floats(X)
    if X.ndim != 2 or X.shape[1] != signal_model.n_measurements:
        raise ValueError(
            f"X expects shape (n_voxels, {signal_model.n_measurements}) for {signal_model!r}, got "
            f"{X.shape}."
        )
    usable = noise.is_valid(X)
    sigma = check_sigma(sigma, len(X), usable, X.shape[1])
    rows = np.flatnonzero(usable)
    if len(rows) < _LEAST_VOXELS:
        raise ValueError(
            f"X expects at least {_LEAST_VOXELS} voxels that are possible measurements, got "
            f"{len(rows)}."
        )
    rows = rng.permutation(rows)[:_MOST_VOXELS]
    return X[rows], sigma[rows]


def _blocks(X, sigma):
    """Blocks of measurements and of 1 / sigma, in single precision."""
    x, precision = in_single(X, sigma)
    return zip(x.split(_BLOCK), precision.split(_BLOCK), strict=True)


def _amplitudes(signal_model, noise, atoms, amplitude, X, sigma):
    """Range of the amplitudes of most voxels, each at its best atom.

    Raises
    ------
    ValueError
        If the best atom is far from the measurements of more than half of the voxels.
    """
    # No amplitude is larger than the largest signal over the smallest signal of an atom. That
    # bound is never reached; it only has to be finite.
    draws = ShapeDraws(signal_model, noise, atoms, amplitude, 0.0, 1e6 * float(X.max()))
    scales, misfits, levels = [], [], []
    for x, precision in _blocks(X, sigma):
        log_mass, scale, _ = draws.masses(x, precision)
        best = log_mass.argmax(1, keepdim=True)
        scale = scale.gather(1, best)
        signal = noise.mean((scale * draws.columns.T[best[:, 0]] * precision).double())
        residual = x * precision - signal
        # Root mean squares over the measurements that exist, in units of sigma.
        present = (precision > 0).sum(1)
        size = ((x * precision).square().sum(1) / present).sqrt()
        misfits.append((residual.square() * (precision > 0)).sum(1).div(present).sqrt() / size)
        levels.append(1 / size)
        scales.append(scale[:, 0])
    misfit = torch.cat(misfits).numpy()
    unlike = misfit > _MISFIT * torch.cat(levels).numpy() + _UNLIKE
    if unlike.mean() > 0.5:
        raise ValueError(
            f"No tissue of the prior explains {np.count_nonzero(unlike)} of {len(X)} voxels: their "
            f"signals differ from those of the most similar tissue by a median of "
            f"{np.median(misfit):.0%}. Check the protocol, the units and the ranges of the prior."
        )
    low, high = np.quantile(torch.cat(scales).numpy(), _QUANTILES)
    # Of signed signals, air has amplitudes below 0.
    return max(0.0, float(low)) / _WIDER, float(high) * _WIDER


def _likelihoods(draws, x, precision):
    """Likelihoods of all atoms, each row relative to its largest."""
    log_mass = draws.masses(x, precision)[0]
    return log_mass.sub_(log_mass.amax(1, keepdim=True)).clamp_(min=_LOWEST).exp_()
