"""Training of stacked networks to a `FittedNetwork`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from .._torch import check_device, single_thread
from ._fitted import FittedNetwork
from ._modules import StackedMLP, make_head
from ._skorch import (
    Batches,
    BestMembers,
    EpochBar,
    PatienceExhausted,
    StackedNet,
    losses,
    one_cycle,
)


class Task(NamedTuple):
    """The rows that a network learns from, and how its predictions are judged.

    Attributes
    ----------
    x : ndarray of shape (n_rows, n_inputs)
        Network inputs.
    targets : ndarray of shape (n_labels, n_rows, n_columns)
        What the criterion compares predictions with, for each kind of label.
    valid : bool ndarray of shape (n_rows,)
        Rows held out for validation.
    heads : list of tuple
        Shape, offset and width of the last layer, for each kind of label.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights with which predictions for each kind of label are added.
    criterion : Module
        Loss per member.
    apart : bool
        Whether each kind of label has members of its own, which start from the same weights; else
        members have outputs for all kinds of label.
    refresh : callable or None
        Returns fresh inputs, (n_labels, n_rows, n_inputs), and targets (n_labels, n_rows,
        n_columns) for the training rows of an epoch. Kinds of label are then apart.
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
        """Kinds of label."""
        return len(self.targets)

    @property
    def n_shared(self):
        """Kinds of label that each member has outputs for."""
        return 1 if self.apart else self.n_labels


def initial_weights(sizes, seeds, n_subnets=1):
    """Weights and biases of one member per seed, uniform as in `torch.nn.Linear`.

    Parameters
    ----------
    sizes : sequence of int
        Width of every layer, inputs and outputs included.
    seeds : sequence of int
    n_subnets : int, default=1
        Networks of each member.

    Returns
    -------
    coefs, intercepts : lists of tensors, see `StackedMLP`
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    networks = [g for g in generators for _ in range(n_subnets)]
    coefs, intercepts = [], []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        draws = torch.stack([torch.rand(n_in + 1, n_out, generator=g) for g in networks])
        draws = (2 * draws - 1) / n_in**0.5
        coefs.append(draws[:, :-1].contiguous())
        intercepts.append(draws[:, -1:].contiguous())
    return coefs, intercepts


def train(task, inputs, network, training, *, max_epochs, lr, rng, verbose=0):
    """Train members side by side, as many as `training.n_init` for each kind of label apart.

    Parameters
    ----------
    task : Task
    inputs : NetworkInputs
        Kept with the weights, to predict from rows of X.
    network : MLP
    training : Training
    max_epochs : int
        Length of the training, and of the one-cycle schedule of the learning rate.
    lr : float
        Learning rate where `training` has none.
    rng : numpy.random.RandomState
        Is advanced; gives the seeds.
    verbose : int, default=0
        Positive: show a progress bar.

    Returns
    -------
    FittedNetwork
        Of the best member, or of all of an ensemble; its domain is still unknown.

    Raises
    ------
    RuntimeError
        If the training diverges.
    ValueError
        If the device cannot be used.
    """
    check_device(training.device)
    seeds = rng.randint(np.iinfo(np.int32).max, size=training.n_init + 1)
    generator = torch.Generator().manual_seed(int(seeds[0]))
    module = _make_module(task, network, seeds[1:], generator)
    batches = _make_batches(task, network, training, generator)
    with single_thread():
        length = max_epochs, training.lr or lr
        net, best = _run(module, task.criterion, batches, training, *length, verbose)
    return _fitted(
        net.module_.cpu(),
        best.loss_.cpu().numpy(),
        losses(net.history),
        task,
        inputs,
        network,
        training,
    )


def _make_module(task, network, seeds, generator):
    """Untrained members, one per seed and kind of label apart."""
    n_outputs = task.mix.shape[1]
    n_subnets = n_outputs if network.parallel_subnets else 1
    sizes = [
        task.x.shape[1],
        *network.hidden_layer_sizes,
        n_outputs // n_subnets * task.n_shared,
    ]
    members = np.tile(seeds, task.n_labels // task.n_shared)
    return {
        "coefs": (weights := initial_weights(sizes, members, n_subnets))[0],
        "intercepts": weights[1],
        "head": make_head(task.heads),
        "activation": network.activation,
        "n_subnets": n_subnets,
        "n_labels": task.n_shared,
        "batch_norm": network.batch_norm,
        "dropout": network.dropout,
        "generator": generator,
    }


def _make_batches(task, network, training, generator):
    """Batches to train on, and one of all rows to validate on."""
    device, repeats = training.device, training.n_init

    def place(values):
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    def spread(targets):
        # One kind of label is the same for all members; else each label has its run of members.
        return place(np.repeat(targets, repeats, axis=0) if len(targets) > 1 else targets[0])

    def refreshed():
        x, targets = task.refresh()
        return place(x), place(np.repeat(targets, repeats, axis=0))

    kept = ~task.valid
    trained = Batches(
        place(task.x[kept]),
        spread(task.targets[:, kept]),
        training.rows_per_step(np.count_nonzero(kept)),
        generator,
        refresh=None if task.refresh is None else refreshed,
        least=2 if network.batch_norm else 1,  # one row has no variance to normalise by
    )
    held_out = place(task.x[task.valid]), spread(task.targets[:, task.valid])
    return trained, Batches(*held_out, len(held_out[0]), None)


def _run(module, criterion, batches, training, max_epochs, lr, verbose):
    """Let skorch train; the net and the callback that has each member's best state."""
    best = BestMembers(training.patience)
    bar = EpochBar()
    callbacks = [("best", best), *([("bar", bar)] if verbose else [])]
    if training.schedule == "onecycle":
        callbacks += one_cycle(lr, max_epochs * len(batches[0]))
    net = StackedNet(
        StackedMLP,
        **{f"module__{name}": value for name, value in module.items()},
        criterion=criterion,
        optimizer=torch.optim.Adam,
        optimizer__weight_decay=training.weight_decay,
        optimizer__fused=True,
        lr=lr,
        max_epochs=max_epochs,
        callbacks=callbacks,
        callbacks__print_log=None,
        callbacks__epoch_timer=None,
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        device=training.device,
        verbose=0,
    )
    net.initialize()
    net.notify("on_train_begin")
    try:
        # Not net.fit, which would take Ctrl-C for a finished training.
        net.fit_loop(batches)
    except PatienceExhausted:
        pass
    finally:
        if verbose:
            bar.close()
    best.restore(net)
    return net, best


def _fitted(module, best_loss, history, task, inputs, network, training):
    """The members that are to predict, of each kind of label apart."""
    runs = best_loss.reshape(-1, training.n_init)  # one run of members per kind of label apart
    best = runs.argmin(axis=1)
    kept = [
        run * training.n_init + init
        for run in range(len(runs))
        for init in (range(training.n_init) if training.ensemble else [best[run]])
    ]
    networks = np.concatenate(
        [np.arange(k * module.n_subnets, (k + 1) * module.n_subnets) for k in kept]
    )
    coefs, intercepts = ([layer.numpy()[networks] for layer in group] for group in module.weights())
    return FittedNetwork(
        coefs,
        intercepts,
        task.heads,
        task.mix,
        inputs,
        activation=network.activation,
        n_subnets=module.n_subnets,
        n_shared=task.n_shared,
        history=history,
        best_init=int(best[0]),
    )
