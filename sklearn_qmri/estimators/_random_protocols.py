"""Training rows of networks for any protocol: random protocols, noise levels, models, tissues."""

from typing import NamedTuple

import numpy as np
import torch

from .._network import BiasWeights, read, unit_of_correction
from ..dictionary import Atoms, SimulatedAtoms, place, simulate_atoms
from ..information import bayesian_deviations
from ._bias_constrained_training import temper
from ._repeats import score_gain

# Power of the tissue's own information bound in the divisor of its errors, see `loss_weight` of
# `BiasConstrainedNetRegressor`.
_OWN = 0.25


# Share of protocols with missing measurements, and of measurements that are missing there.
_INCOMPLETE, _MISSING = 0.2, 0.15


class Sizes(NamedTuple):
    """Sizes of a step of the training.

    Attributes
    ----------
    protocols, tissues, repeats, weights : int
        Number of protocols; of tissues for each; of noise repeats of each tissue; and of draws of
        the weights of the bias for each tissue.
    """

    protocols: int = 10
    tissues: int = 25
    repeats: int = 4
    weights: int = 3


class Group(NamedTuple):
    """Noise repeats of tissues under one protocol, noise model and noise level.

    Attributes
    ----------
    x, precision : ndarray of shape (n_rows, n_measurements)
        Consecutive rows are noise repeats of a tissue.
    truth, deviation, control : ndarray of shape (n_rows, n_parameters)
        True parameters, divisors of their errors, and control variates; see `FreshRepeats`.
    simulated : SimulatedAtoms
    """

    x: np.ndarray
    precision: np.ndarray
    truth: np.ndarray
    deviation: np.ndarray
    control: np.ndarray
    simulated: SimulatedAtoms


class RandomProtocols:
    """Source of training batches, which are all different.

    Parameters
    ----------
    draw_protocol : callable
        Function of a `numpy.random.RandomState` that returns a signal model with a random protocol.
    atoms : Atoms
        Their ranges are the prior, uniform in the coordinates.
    noises : sequence of NoiseModel
        One is drawn for each protocol.
    snr : tuple of float
        Range of amplitude over sigma, from which it is drawn uniformly on a logarithmic axis.
    span : BiasWeights
    sizes : Sizes
    """

    def __init__(self, draw_protocol, atoms, noises, snr, span, sizes):
        self.draw_protocol = draw_protocol
        self.atoms: Atoms = atoms
        self.noises = noises
        self.snr = snr
        self.span: BiasWeights = span
        self.sizes = sizes

    def batch(self, rng, generator):
        """Network inputs and targets of one step.

        Parameters
        ----------
        rng : numpy.random.RandomState
        generator : torch.Generator
            Draws the weights of the bias.

        Returns
        -------
        inputs : tensor of shape (n_rows, n_inputs)
        target : tensor of shape (n_rows, 4 * n_parameters)
            See `CorrectionError`.
        """
        noise = self.noises[rng.randint(len(self.noises))]
        groups = [self._group(noise, rng) for _ in range(self.sizes.protocols)]
        seen = self._read(noise, groups)
        truth, deviation, control = (
            torch.as_tensor(np.concatenate([getattr(group, name) for group in groups])).float()
            for name in ("truth", "deviation", "control")
        )
        n_tissues, n_parameters = len(truth) // self.sizes.repeats, truth.shape[1]
        # The likelihoods of a row serve several weights, which is the cheapest way to have more.
        times = self.sizes.weights
        weight = self.span.draw((times * n_tissues, n_parameters), generator)
        weight = weight.repeat_interleave(self.sizes.repeats, 0)
        offset = ((seen.mean.flatten(0, 1) - truth) / deviation).repeat(times, 1)
        std, size = (
            part.flatten(0, 1).repeat(times, 1) for part in (seen.std, seen.posterior.size)
        )
        factor = unit_of_correction(std, size, weight) / deviation.repeat(times, 1)
        inputs = torch.cat(
            [seen.inputs.flatten(0, 1).repeat(times, 1), self.span.inputs(weight)], 1
        )
        control = (control / deviation).repeat(times, 1)
        return inputs, torch.cat([offset, factor, control, weight], 1)

    def _read(self, noise, groups):
        """Posteriors of all groups at once; fewer measurements than in others fill up with none."""
        n = max(group.x.shape[1] for group in groups)

        def stack(arrays):
            filled = [
                torch.nn.functional.pad(
                    torch.as_tensor(a).float(), (0, 0) * (a.ndim - 2) + (0, n - a.shape[1])
                )
                for a in arrays
            ]
            return torch.stack(filled)

        simulated = SimulatedAtoms(
            self.atoms,
            stack([group.simulated.columns for group in groups]),
            stack([group.simulated.slopes for group in groups]),
        )
        x = stack([group.x for group in groups])
        return read(simulated, noise, x, stack([group.precision for group in groups]))

    def _group(self, noise, rng):
        """Noise repeats of random tissues under a random protocol and noise level."""
        model, atoms, repeats = self.draw_protocol(rng), self.atoms, self.sizes.repeats
        unit = rng.uniform(size=(self.sizes.tissues, len(atoms.log)))
        tissues = place(unit, atoms.ranges, atoms.log)
        sigma = 1 / np.exp(rng.uniform(*np.log(self.snr)))
        # By the parameters, not by the coordinates, in which biases and variances are measured.
        with torch.no_grad():
            signal, jacobian = model.jacobian(torch.as_tensor(np.ascontiguousarray(tissues.T)))
        signal, jacobian = signal.numpy().T, jacobian.permute(2, 1, 0).numpy()
        # A missing measurement tells nothing, whatever the parameters: its slopes count as 0.
        present = _some_missing(model.n_measurements, len(atoms.log), rng)
        signal, slope = signal / sigma, jacobian / sigma * present[:, None]
        x = noise.sample(np.repeat(signal, repeats, axis=0), rng)
        information = noise.information(signal)[..., None] * slope
        information = slope.swapaxes(1, 2) @ information
        variance = self._variance()
        # Errors are comparable between protocols and noise levels, and mostly between tissues.
        deviation = temper(bayesian_deviations(information, variance), _OWN)
        gain = score_gain(information, slope.swapaxes(1, 2), variance)
        at = torch.as_tensor(np.repeat(signal, repeats, axis=0))
        score = -noise.derivatives(torch.as_tensor(x), at)[1].numpy()
        control = np.einsum("nmp,nm->np", np.repeat(gain, repeats, axis=0), score)
        spread = [np.repeat(v, repeats, axis=0) for v in (tissues, deviation)]
        precision = np.tile(present / sigma, (len(x), 1))
        simulated = simulate_atoms(atoms, model, noise)
        return Group(x * sigma, precision, *spread, control, simulated)

    def _variance(self):
        """Variances of the prior, (n_parameters,); that of the amplitude is 1."""
        variance = self.atoms.tissues.var(axis=0)
        variance[self.atoms.amplitude] = 1.0
        return variance


def _some_missing(n_measurements, n_parameters, rng):
    """Whether each measurement is present: 1 or 0; as many as there are parameters always are."""
    share = _MISSING if rng.uniform() < _INCOMPLETE else 0.0
    present = rng.uniform(size=n_measurements) >= share
    present[rng.permutation(n_measurements)[:n_parameters]] = True
    return present.astype(float)
