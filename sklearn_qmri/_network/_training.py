"""Training of stacked networks by skorch, and their evaluation."""

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn
from tqdm import tqdm

from .._torch import check_device, single_thread
from ._modules import StackedMLP

_WARM_UP = 0.15  # share of the steps before the peak of the one-cycle schedule
_LEAST_STEPS = 10  # in fewer the cycle has no room, and the rate stays at its peak
# Rows are predicted in blocks of just this many: how a matrix product rounds depends on its
# shape, and a row's prediction must not depend on the rows around it.
_PREDICT_ROWS = 2048


class StackedNet(NeuralNet):
    """A skorch net whose short epoch loop trains stacked members and keeps each one's best.

    Adam works elementwise, so members stay independent of each other.

    Parameters
    ----------
    patience : int or None
        Stop when no member's validation loss has improved for this many epochs.
    schedule : {"onecycle", "constant"}
        Of the learning rate.
    generator : torch.Generator
        Shuffles the batches.
    refresh : callable or None
        Returns the training inputs and targets of an epoch, in place of the ones given.
    """

    def __init__(self, *args, patience, schedule, generator, refresh=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.patience = patience
        self.schedule = schedule
        self.generator = generator
        self.refresh = refresh

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on X = (x, target, x_valid, target_valid), tensors of rows."""
        x, target, *valid = (tensor.to(self.device) for tensor in X)
        epochs = epochs or self.max_epochs
        schedule = self._make_schedule(epochs * -(-x.shape[-2] // self.batch_size))
        best, since_best = _Best(self.module_, self.criterion_), 0
        for epoch in tqdm(
            range(1, epochs + 1), desc="training", unit=" epochs", disable=not self.verbose
        ):
            self.history.new_epoch()
            if self.refresh is not None:
                x, target = (tensor.to(self.device) for tensor in self.refresh())
            order = torch.randperm(x.shape[-2], generator=self.generator).to(self.device)
            loss = self._run_epoch(x[..., order, :], target[..., order, :], schedule)
            valid_loss, better = best.update(*valid)
            if not (torch.isfinite(loss).all() and torch.isfinite(valid_loss).all()):
                raise RuntimeError(
                    f"Training diverged in epoch {epoch} of {epochs}: lower lr (now {self.lr:g}), "
                    "or look for extreme values in X and y."
                )
            self.history.record("train_loss", loss.tolist())
            self.history.record("valid_loss", valid_loss.tolist())
            since_best = 0 if better else since_best + 1
            if self.patience is not None and since_best >= self.patience:
                break
        best.restore()
        self.best_loss_ = best.loss
        return self

    def _make_schedule(self, n_steps):
        if self.schedule == "constant" or n_steps < _LEAST_STEPS:
            return None
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer_, max_lr=self.lr, total_steps=n_steps, pct_start=_WARM_UP
        )

    def _run_epoch(self, x, target, schedule):
        self.module_.train()
        total, size = 0.0, self.batch_size
        batches = list(zip(x.split(size, -2), target.split(size, -2), strict=True))
        if self.module_.norms and batches[-1][0].shape[-2] == 1:
            batches.pop()  # one row has no variance to normalise by
        for xb, tb in batches:
            loss = self.criterion_(self.module_(xb), tb)
            self.optimizer_.zero_grad()
            loss.sum().backward()
            self.optimizer_.step()
            if schedule is not None:
                schedule.step()
            total = total + loss.detach() * xb.shape[-2]
        return total / x.shape[-2]


class _Best:
    """Each member's weights of the epoch with its least validation loss."""

    def __init__(self, module, criterion):
        self.module = module
        self.criterion = criterion
        self.weights = [p.detach().clone() for p in self._state()]
        n_members = len(module.coefs[0]) // module.n_subnets
        self.loss = torch.full((n_members,), torch.inf, device=self.weights[0].device)

    def _state(self):
        """All that a member's predictions depend on, with the networks along the first axis."""
        state = [*self.module.coefs, *self.module.intercepts]
        for norm in self.module.norms:
            for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                state.append(values.detach().view(norm.shape))
        return state

    @torch.no_grad()
    def update(self, x, target):
        """Keep what improved; the loss, and whether anything did."""
        self.module.eval()
        loss = self.criterion(self.module(x), target)
        common = loss.unflatten(0, (self.module.n_labels, -1)).mean(0)
        better = common < self.loss
        self.loss = torch.where(better, common, self.loss)
        networks = better.repeat_interleave(self.module.n_subnets)
        for kept, current in zip(self.weights, self._state(), strict=True):
            kept[networks] = current.detach()[networks]
        return loss, bool(better.any())

    @torch.no_grad()
    def restore(self):
        for kept, current in zip(self.weights, self._state(), strict=True):
            current.data.copy_(kept)


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


def train(
    x,
    target,
    valid,
    *,
    head,
    criterion,
    hidden_layer_sizes,
    n_outputs,
    rng,
    n_labels=1,
    shared=True,
    n_init=1,
    activation="silu",
    parallel_subnets=False,
    dropout=0.0,
    batch_norm=False,
    weight_decay=0.0,
    schedule="onecycle",
    max_epochs=40,
    batch_size=1000,
    lr=0.02,
    patience=None,
    refresh=None,
    device="cpu",
    verbose=0,
):
    """Train n_init members per kind of label on rows x and their targets.

    Parameters
    ----------
    x : array of shape (n_rows, n_inputs)
    target : array of shape (n_rows, n_columns) or (n_labels, n_rows, n_columns)
        What the criterion compares predictions with.
    valid : bool array of shape (n_rows,)
        Rows held out for validation.
    head : Module
    criterion : Module
        Loss per member.
    hidden_layer_sizes : sequence of int
    n_outputs : int
    rng : numpy.random.RandomState
    n_labels : int, default=1
        Kinds of labels.
    shared : bool, default=True
        Whether each member has outputs for all labels. Else each label has members of its own,
        which start from the same weights.
    refresh : callable, default=None
        Returns fresh inputs, (n_labels, n_rows, n_inputs) or the same for all labels, and targets
        (n_members, n_rows, n_columns) for the training rows, as tensors.

    Returns
    -------
    weights : list of (coefs, intercepts)
        Of each member, as lists of arrays (n_networks, n_in, n_out); members with the same label
        follow each other.
    best_loss : array of shape (n_members,)
    history : skorch History
    """
    check_device(device)
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_init + 1)
    n_subnets = n_outputs if parallel_subnets else 1
    n_shared = n_labels if shared else 1
    sizes = [x.shape[-1], *hidden_layer_sizes, n_outputs // n_subnets * n_shared]
    members = np.tile(seeds[1:], n_labels // n_shared)
    coefs, intercepts = initial_weights(sizes, members, n_subnets)
    generator = torch.Generator().manual_seed(int(seeds[0]))
    net = StackedNet(
        StackedMLP,
        module__coefs=coefs,
        module__intercepts=intercepts,
        module__head=head,
        module__activation=activation,
        module__n_subnets=n_subnets,
        module__n_labels=n_shared,
        module__batch_norm=batch_norm,
        module__dropout=dropout,
        module__generator=generator,
        criterion=criterion,
        optimizer=torch.optim.Adam,
        optimizer__weight_decay=weight_decay,
        optimizer__fused=True,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        patience=patience,
        schedule=schedule,
        generator=generator,
        refresh=refresh,
        train_split=None,
        callbacks="disable",
        device=device,
        verbose=verbose,
    )
    if target.ndim == 3:
        target = np.repeat(target, n_init, axis=0)
    rows = [
        torch.as_tensor(a, dtype=torch.float32)
        for a in (x[~valid], target[..., ~valid, :], x[valid], target[..., valid, :])
    ]
    with single_thread():
        # Not net.fit, which would take Ctrl-C for a finished training.
        net.initialize()
        net.fit_loop(rows)
    weights = _members(net.module_.cpu(), n_subnets)
    return weights, net.best_loss_.cpu().numpy(), net.history


def _members(module, n_subnets):
    """Coefs and intercepts of each member, as lists of NumPy arrays."""
    per_layer = [[layer.numpy() for layer in group] for group in module.weights()]
    n_networks = len(per_layer[0][0])
    return [
        tuple([layer[k : k + n_subnets].copy() for layer in group] for group in per_layer)
        for k in range(0, n_networks, n_subnets)
    ]


def evaluate(x, coefs, intercepts, head, activation, n_subnets=1, n_labels=1):
    """Parameters that trained members predict from float32 rows x.

    Returns
    -------
    ndarray of shape (n_labels * n_members, n_rows, n_parameters), float64
    """
    layers = ([torch.from_numpy(a) for a in group] for group in (coefs, intercepts))
    module = StackedMLP(
        *layers, head, activation=activation, n_subnets=n_subnets, n_labels=n_labels
    )
    module.requires_grad_(False).eval()
    padded = nn.functional.pad(torch.from_numpy(x), (0, 0, 0, -len(x) % _PREDICT_ROWS))
    with single_thread():
        blocks = [module(block) for block in padded.split(_PREDICT_ROWS)]
    return torch.cat(blocks, 1)[:, : len(x)].numpy().astype(np.float64)
