"""A prior as tissues with weights, and how the weights are learnt."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._value import Value
from ..tissues import check_within_bounds
from ._atoms import amplitude_of


class WeightedPrior(Value):
    """Prior of a finite number of tissues with weights, as `learn_prior` returns it.

    Everything that takes ``prior=`` accepts it. Called with a number of samples and a
    `numpy.random.RandomState`, it draws tissues by their weights, and amplitudes from their range.

    Parameters
    ----------
    signal_model : SignalModel
        Signal model of the tissues.
    tissues : ndarray of shape (n_tissues, n_parameters)
        Tissues in the units of the parameters; amplitudes are not used.
    weights : ndarray of shape (n_tissues,)
        Shares of the tissues, which add up to 1.
    wide : ndarray of shape (2, n_parameters)
        Ranges of a wide prior, uniform within them. The amplitude has its range in any case, and is
        independent of the other parameters.
    floor : float, default=0.05
        Share of the wide prior.
    about : dict, default=None
        How the prior was learnt: number of voxels, steps, noise level.

    Raises
    ------
    ValueError
        When it is used: if shapes do not fit, weights are negative or do not add up to 1, tissues
        or ranges leave the bounds of the signal model, or the floor is not from 0 to 1.

    See Also
    --------
    sklearn_qmri.datasets.learn_prior : Learns one from a scan.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.datasets import WeightedPrior, make_signals
    >>> from sklearn_qmri.signal_models import ADC
    >>> model, tissues = ADC([0, 500, 1000]), [[1.0, 0.8], [1.0, 2.0]]
    >>> prior = WeightedPrior(model, tissues, [0.9, 0.1], [[0.8, 0.3], [1.2, 3.0]], floor=0)
    >>> X, y = make_signals(model, 1000, snr=30, prior=prior, random_state=0)
    >>> float(np.mean(y[:, 1] == 0.8).round(1))
    0.9
    """

    def __init__(self, signal_model, tissues, weights, wide, floor=0.05, about=None):
        self.signal_model = signal_model
        self.tissues = tissues
        self.weights = weights
        self.wide = wide
        self.floor = floor
        self.about = about

    def checked(self, signal_model):
        """Tissues and weights as arrays, for a signal model with the same parameters.

        Parameters
        ----------
        signal_model : SignalModel
            Signal model that the prior is for.

        Returns
        -------
        tissues : ndarray of shape (n_tissues, n_parameters)
            Tissues in the units of the parameters.
        weights : ndarray of shape (n_tissues,)
            Their shares.
        wide : ndarray of shape (2, n_parameters)
            Ranges of the wide prior.

        Raises
        ------
        ValueError
            See the class, or if the signal model has other parameters.
        """
        names, own = signal_model.parameter_names, self.signal_model.parameter_names
        if names != own:
            raise ValueError(f"The prior is one of {list(own)}, expected one of {list(names)}.")
        tissues, weights, wide = (
            np.asarray(part, dtype=np.float64) for part in (self.tissues, self.weights, self.wide)
        )
        fits = tissues.shape == (len(weights), len(names)) and wide.shape == (2, len(names))
        if not fits or not (weights >= 0).all() or abs(weights.sum() - 1) > 1e-6:
            raise ValueError(
                f"WeightedPrior expects tissues of shape (n, {len(names)}), n weights that add up "
                f"to 1 and ranges of shape (2, {len(names)}), got shapes {tissues.shape}, "
                f"{weights.shape} and {wide.shape}, and a sum of {weights.sum():g}."
            )
        check_within_bounds(tissues, signal_model, "WeightedPrior(tissues=...)")
        check_within_bounds(wide, signal_model, "WeightedPrior(wide=...)")
        if (wide[0] > wide[1]).any():
            raise ValueError(f"wide expects low <= high, got {wide.tolist()}.")
        check_floor(self.floor)
        return tissues, weights, wide

    def __call__(self, n_samples, rng):
        """Draw tissues.

        Parameters
        ----------
        n_samples : int
        rng : int, RandomState instance or None

        Returns
        -------
        ndarray of shape (n_samples, n_parameters)
        """
        rng = check_random_state(rng)
        tissues, weights, (low, high) = self.checked(self.signal_model)
        # Systematic draws have as many copies of a tissue as its weight says, to within one.
        upper = np.cumsum(weights)
        place = (np.arange(n_samples) + rng.uniform()) / n_samples * upper[-1]
        index = np.searchsorted(upper, place, side="right").clip(max=len(weights) - 1)
        drawn = tissues[rng.permutation(index)]
        filled = rng.uniform(low, high, size=drawn.shape)
        amplitude = amplitude_of(self.signal_model)
        drawn[:, amplitude] = filled[:, amplitude]
        return np.where(rng.uniform(size=(n_samples, 1)) < self.floor, filled, drawn)


def check_floor(floor):
    """Raise a ValueError for a share of the wide prior that is not a number from 0 to 1."""
    if isinstance(floor, bool) or not isinstance(floor, Real) or not 0 <= floor <= 1:
        raise ValueError(f"floor expects a number from 0 to 1, got {floor!r}.")


def maximize_weights(likelihood, held_out, max_steps, tol):
    """Weights of atoms that make voxels most likely, by expectation and maximisation.

    One step multiplies each weight by the mean, over voxels, of the likelihood of the atom over
    that of the mixture: the mean of the posterior probabilities of the atom. It increases the
    likelihood of the mixture at every step, whose maximum over all distributions is the
    nonparametric estimate of Kiefer and Wolfowitz (Ann Math Stat 1956;27:887). Steps end once they
    no longer increase the likelihood of voxels that they do not see.

    Parameters
    ----------
    likelihood : tensor of shape (n_voxels, n_atoms)
        Likelihoods, each row up to a factor.
    held_out : tensor of shape (n_others, n_atoms)
        Likelihoods of other voxels.
    max_steps : int
    tol : float
        Least gain in mean log-likelihood of the others, in nats per voxel.

    Returns
    -------
    weights : tensor of shape (n_atoms,)
    n_steps : int
    """
    n_voxels, n_atoms = likelihood.shape
    weights, best = torch.full((n_atoms,), 1 / n_atoms), -torch.inf
    for step in range(max_steps):
        gain = (held_out @ weights).clamp_(min=1e-37).log_().double().mean().item()
        if gain < best + tol:
            return weights, step
        best = gain
        mixture = (likelihood @ weights).clamp_(min=1e-37)
        weights = weights * (mixture.reciprocal_() @ likelihood) / n_voxels
        weights /= weights.sum()
    return weights, max_steps
