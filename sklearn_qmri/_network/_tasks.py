"""Tasks of networks: what their batches are made of, and the loss of their predictions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ._batches import Batches, FreshBatches
from ._losses import BiasConstrainedError

_VALIDATED = 65536  # number of rows that are validated at once


class LabelTask(NamedTuple):
    """Rows with labels that a network learns from, and the loss of its predictions.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_inputs)
        Network inputs.
    targets : ndarray of shape (n_labels, n_rows, n_columns)
        Values that the criterion compares predictions with, for each kind of label.
    valid : bool ndarray of shape (n_rows,)
        Rows held out for validation.
    heads : list of tuple
        Shape, offset and width of the last layer, for each kind of label.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights of the predictions for each kind of label in their sum.
    criterion : Module
        Loss per member.
    apart : bool
        Whether each kind of label has members of its own, which start from the same weights.
        Otherwise each member has outputs for all kinds of label.
    refresh : callable or None
        Function that returns new inputs (n_labels, n_rows, n_inputs) and new targets (n_labels,
        n_rows, n_columns) for the training rows of an epoch. It requires `apart`.
    """

    x: np.ndarray
    targets: np.ndarray
    valid: np.ndarray
    heads: list
    mix: np.ndarray
    criterion: torch.nn.Module
    apart: bool = False
    refresh: Callable | None = None

    @property
    def n_labels(self):
        """Number of kinds of label."""
        return len(self.targets)

    @property
    def n_shared(self):
        """Number of kinds of label that each member has outputs for."""
        return 1 if self.apart else self.n_labels

    @property
    def n_inputs(self):
        """Number of network inputs."""
        return self.x.shape[1]

    def batches(self, network, training, generator):
        """Batches of an epoch to train on, and those to validate on.

        Parameters
        ----------
        network : MLP
        training : Training
        generator : torch.Generator

        Returns
        -------
        training, validation : Batches
        """
        device, repeats = training.device, training.n_init

        def place(values):
            return torch.as_tensor(values, dtype=torch.float32, device=device)

        def spread(targets):
            # All members share the targets of one kind. Otherwise each kind has a run of members.
            return place(np.repeat(targets, repeats, axis=0) if len(targets) > 1 else targets[0])

        def refreshed():
            x, targets = self.refresh()
            return place(x), place(np.repeat(targets, repeats, axis=0))

        kept = ~self.valid
        trained = Batches(
            place(self.x[kept]),
            spread(self.targets[:, kept]),
            training.rows_per_step(np.count_nonzero(kept)),
            generator,
            refresh=None if self.refresh is None else refreshed,
            least=2 if network.batch_norm else 1,  # one row has no variance to normalise by
        )
        held_out = place(self.x[self.valid]), spread(self.targets[:, self.valid])
        return trained, Batches(*held_out, len(held_out[0]), None)


class BiasWeights(NamedTuple):
    """Range of weights of the squared bias, which a network is trained for all at once.

    Attributes
    ----------
    low, high : float
    """

    low: float
    high: float

    def draw(self, shape, generator):
        """Draw weights, a tensor, uniformly on a logarithmic axis."""
        return self.low * (self.high / self.low) ** torch.rand(shape, generator=generator)

    def inputs(self, weight):
        """Network inputs of weights (a tensor or array): log w, from -1 to 1."""
        log = torch.log if isinstance(weight, torch.Tensor) else np.log
        return 2 * log(weight / self.low) / np.log(self.high / self.low) - 1


class OneBiasWeight(NamedTuple):
    """Weights of the squared bias that a network is trained for alone: they are no inputs.

    Attributes
    ----------
    weight : ndarray of shape (n_parameters,)
    """

    weight: np.ndarray

    def draw(self, shape, generator):
        """The weights, in the place of drawn ones."""
        return torch.tensor(self.weight, dtype=torch.float32).expand(shape)

    def inputs(self, weight):
        """No inputs."""
        return weight[..., :0]


class RepeatTask(NamedTuple):
    """Tissues with noise repeats that a network learns from, for all weights of the bias at once.

    The weight w of the squared bias is drawn for each tissue and parameter in each step, uniformly
    on a logarithmic axis, and is an input of the network, unless there is just one.

    Attributes
    ----------
    draw : callable
        Function of numbers of tissues (n,). It returns network inputs (n * n_repeats, n_inputs
        - n_parameters) and targets (n * n_repeats, 3 * n_parameters) of consecutive noise repeats:
        true parameters, factors of their errors, and control variates; see `BiasConstrainedError`.
    valid : bool ndarray of shape (n_tissues,)
        Tissues held out for validation.
    n_signals : int
        Number of network inputs without the weights.
    n_repeats : int
        Number of noise repeats of each tissue in a step.
    span : BiasWeights or OneBiasWeight
        Range of the weights, and their inputs.
    heads : list of tuple
        Shape, offset and width of the last layer.
    free_variance : float
        Variance of scaled errors that costs nothing.
    """

    draw: Callable
    valid: np.ndarray
    n_signals: int
    n_repeats: int
    span: BiasWeights | OneBiasWeight
    heads: list
    free_variance: float = 0.0

    n_shared = 1

    @property
    def mix(self):
        """Weights of the predictions in their sum: there is one kind."""
        return np.ones((1, len(self.heads[0][0])))

    @property
    def n_inputs(self):
        """Number of network inputs."""
        return self.n_signals + self.span.inputs(np.ones(self.mix.shape[1])).size

    @property
    def criterion(self):
        """Loss per member."""
        return BiasConstrainedError(self.n_repeats, self.free_variance)

    def batches(self, network, training, generator):
        """Batches of an epoch to train on, and those to validate on; same as `LabelTask`."""
        trained, held_out = np.flatnonzero(~self.valid), np.flatnonzero(self.valid)
        n_rows = training.rows_per_step(len(trained) * self.n_repeats)
        per_step = max(1, n_rows // self.n_repeats)
        fresh = FreshBatches(self.measured, trained, per_step, self.n_repeats, generator)
        x, target = self.measured(held_out, generator)
        whole = max(1, _VALIDATED // self.n_repeats) * self.n_repeats
        place = training.device
        return fresh.to(place), Batches(x.to(place), target.to(place), whole, None)

    def measured(self, tissues, generator):
        """Inputs and targets of noise repeats of tissues, with weights drawn for each of them.

        Parameters
        ----------
        tissues : int ndarray of shape (n,)
        generator : torch.Generator
            Draws the weights.

        Returns
        -------
        x : tensor of shape (n * n_repeats, n_inputs)
        target : tensor of shape (n * n_repeats, 4 * n_parameters)
        """
        x, target = (torch.as_tensor(part, dtype=torch.float32) for part in self.draw(tissues))
        weight = self.span.draw((len(tissues), self.mix.shape[1]), generator)
        weight = weight.repeat_interleave(self.n_repeats, 0)
        return torch.cat([x, self.span.inputs(weight)], 1), torch.cat([target, weight], 1)
