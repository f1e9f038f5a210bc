"""Training of stacked networks, which results in a `FittedNetwork`."""

from functools import partial

import numpy as np
import torch

from .._torch import check_device, single_thread
from ._fitted import FittedNetwork
from ._modules import StackedMLP, make_head
from ._skorch import (
    BestMembers,
    Checkpoint,
    EpochBar,
    PatienceExhausted,
    StackedNet,
    clipping,
    losses,
    one_cycle,
)


def initial_weights(sizes, seeds, n_subnets=1):
    """Draw weights and biases of one member per seed, uniform as in `torch.nn.Linear`.

    Parameters
    ----------
    sizes : sequence of int
        Width of every layer, inputs and outputs included.
    seeds : sequence of int
    n_subnets : int, default=1
        Number of networks of each member.

    Returns
    -------
    coefs, intercepts : lists of tensors, see `StackedMLP`
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    # A member's networks share its generator, so that its weights only depend on its own seed.
    networks = [g for g in generators for _ in range(n_subnets)]
    coefs, intercepts = [], []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        # Weights and the bias (as the last row) are uniform within +-1 / sqrt(n_in).
        draws = torch.stack([torch.rand(n_in + 1, n_out, generator=g) for g in networks])
        draws = (2 * draws - 1) / n_in**0.5
        coefs.append(draws[:, :-1].contiguous())
        intercepts.append(draws[:, -1:].contiguous())
    return coefs, intercepts


def train(
    task, inputs, network, training, *, max_epochs, lr, rng, weight_decay=0.0, clip=None,
    checkpoint=None, verbose=0
):  # fmt: skip
    """Train `training.n_init` members together, or as many per kind of label if these are apart.

    Parameters
    ----------
    task : LabelTask or RepeatTask
    inputs : NetworkInputs
        Inputs that are stored with the weights, to predict from rows of X.
    network : MLP
    training : Training
    max_epochs : int
        Length of the training, and of the one-cycle schedule of the learning rate.
    lr : float
        Learning rate if `training` has none.
    rng : numpy.random.RandomState
        Source of the seeds; it is advanced.
    weight_decay : float, default=0.0
        Weight decay if `training` has none.
    clip : float, default=None
        Largest norm of a gradient.
    checkpoint : pair of (path-like, str), default=None
        File that keeps the state of the training, which is taken up from there if the file exists,
        and a text that has to be that of the file. It requires a one-cycle schedule and a `Stream`.
    verbose : int, default=0
        Positive: show a progress bar.

    Returns
    -------
    FittedNetwork
        Network of the best member, or of all members of an ensemble. Its domain is unknown yet.

    Raises
    ------
    RuntimeError
        If the training diverges.
    ValueError
        If the device cannot be used.
    """
    check_device(training.device)
    # The first seed is for shuffling and dropout, the others for the initial weights.
    seeds = rng.randint(np.iinfo(np.int32).max, size=training.n_init + 1)
    generator = torch.Generator().manual_seed(int(seeds[0]))
    module = _make_module(task, network, seeds[1:], generator)
    batches = task.batches(network, training, generator)
    with single_thread():
        decay = weight_decay if training.weight_decay is None else training.weight_decay
        length = max_epochs, training.lr or lr
        callbacks = [] if clip is None else clipping(clip)
        loop = partial(_run, module, task.criterion, batches, training, callbacks, checkpoint)
        net, best = loop(*length, decay, verbose)
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
    """Arguments of the module of untrained members, one per seed, or as many per kind of label."""
    n_outputs = task.mix.shape[1]
    n_subnets = n_outputs if network.parallel_subnets else 1
    sizes = [
        task.n_inputs,
        *network.hidden_layer_sizes,
        n_outputs // n_subnets * task.n_shared,
    ]
    # Kinds of label that are apart start from the same weights, with the same seeds.
    members = np.tile(seeds, len(task.heads) // task.n_shared)
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


def _run(
    module, criterion, batches, training, callbacks, checkpoint, max_epochs, lr, weight_decay,
    verbose,
):  # fmt: skip
    """Train by skorch; return the net, and the callback that holds each member's best state."""
    best = BestMembers(training.patience)
    bar = EpochBar()
    callbacks = [("best", best), *callbacks, *([("bar", bar)] if verbose else [])]
    if training.schedule == "onecycle":
        callbacks += one_cycle(lr, max_epochs * len(batches[0]))
    if checkpoint is not None:
        keeper = Checkpoint(*checkpoint, best, dict(callbacks)["schedule"])
        callbacks.append(("checkpoint", keeper))
    net = StackedNet(
        StackedMLP,
        **{f"module__{name}": value for name, value in module.items()},
        criterion=criterion,
        optimizer=torch.optim.Adam,
        optimizer__weight_decay=weight_decay,
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
    n_done = 0 if checkpoint is None else _take_up(keeper, net, batches, bar)
    try:
        # net.fit would treat an interruption by Ctrl-C as the regular end of the training.
        net.fit_loop(batches, epochs=max_epochs - n_done)
    except PatienceExhausted:
        pass
    finally:
        if verbose:
            bar.close()
    best.restore(net)
    return net, best


def _take_up(keeper, net, batches, bar):
    """Take up a training where it was left, if it was begun; return the number of epochs done."""
    n_done = keeper.take_up(net)
    batches[0].n_passes = n_done
    if hasattr(bar, "bar_"):
        bar.bar_.update(n_done)
    return n_done


def _fitted(module, best_loss, history, task, inputs, network, training):
    """Network of the members that predict: the best one or all, for each kind of label if apart."""
    # One row of members for each kind of label that is apart, else a single row.
    runs = best_loss.reshape(-1, training.n_init)
    best = runs.argmin(axis=1)
    kept = [
        run * training.n_init + init
        for run in range(len(runs))
        for init in (range(training.n_init) if training.ensemble else [best[run]])
    ]
    # Each member consists of n_subnets consecutive networks.
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
