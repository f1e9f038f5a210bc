"""The skorch net that trains stacked members, and its callbacks.

skorch owns the loop over epochs and batches, the optimiser, the learning-rate schedule and the
history. This module adds the parts that are specific to stacked members: a loss per member, and
the best state of each member.
"""

from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from tqdm import tqdm

from .._files import replacing

# Share of the steps before the peak of the one-cycle schedule.
_WARM_UP = 0.15
# Least number of steps of a one-cycle schedule. With fewer, the warm-up would have hardly any
# room, and the learning rate stays at its peak.
_LEAST_STEPS = 10


class PatienceExhausted(Exception):
    """Raised when no member has improved for as many epochs as the patience."""


class BestMembers(Callback):
    """Callback that keeps each member's weights from the epoch with its least validation loss.

    Adam works elementwise, so members are independent of each other although they share an
    optimiser. Each member may therefore have its own best epoch.

    Parameters
    ----------
    patience : int or None
    """

    def __init__(self, patience):
        self.patience = patience

    def on_train_begin(self, net, **kwargs):
        """Keep the initial weights, with an infinite loss."""
        self.since_best_ = 0
        self.state_ = [p.detach().clone() for p in _state(net.module_)]
        n_members = len(net.module_.coefs[0]) // net.module_.n_subnets
        self.loss_ = torch.full((n_members,), torch.inf, device=self.state_[0].device)

    @torch.no_grad()
    def on_epoch_end(self, net, **kwargs):
        """Record the losses of the epoch, and keep the weights of members that improved."""
        train, valid = net.take_losses()
        if not (torch.isfinite(train).all() and torch.isfinite(valid).all()):
            raise RuntimeError(
                f"Training diverged in epoch {len(net.history)} of {net.max_epochs}: lower lr "
                f"(now {net.lr:g}), or look for extreme values in X and y."
            )
        net.history.record("train_loss", train.tolist())
        net.history.record("valid_loss", valid.tolist())
        # A member with outputs for several kinds of label has one set of weights for all of them,
        # and so its epochs are compared by the mean loss over the kinds, (n_members,).
        common = valid.unflatten(0, (net.module_.n_labels, -1)).mean(0)
        better = common < self.loss_
        self.loss_ = torch.where(better, common, self.loss_)
        # Member by member, its networks are consecutive.
        networks = better.repeat_interleave(net.module_.n_subnets)
        for best, current in zip(self.state_, _state(net.module_), strict=True):
            best[networks] = current.detach()[networks]
        self.since_best_ = 0 if better.any() else self.since_best_ + 1
        if self.patience is not None and self.since_best_ >= self.patience:
            raise PatienceExhausted

    @torch.no_grad()
    def restore(self, net):
        """Set each member to its best weights."""
        for best, current in zip(self.state_, _state(net.module_), strict=True):
            current.data.copy_(best)


def _state(module):
    """All tensors that predictions depend on, with the networks along the first axis."""
    state = [*module.coefs, *module.intercepts]
    for norm in module.norms:
        # Views, so that copying into them changes the module.
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            state.append(values.detach().view(norm.shape))
    return state


class Checkpoint(Callback):
    """Callback that writes the state of a training after each epoch, to be taken up later.

    Parameters
    ----------
    path : path-like
        File of the state.
    key : str
        Settings of the training: the state of another training is refused.
    best : BestMembers
    schedule : LRScheduler
        Callbacks of the net, which have a state too.
    """

    def __init__(self, path, key, best, schedule):
        self.path = Path(path)
        self.key = key
        self.best = best
        self.schedule = schedule

    def on_epoch_end(self, net, **kwargs):
        """Write the state."""
        state = {
            "key": self.key,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "schedule": self.schedule.lr_scheduler_.state_dict(),
            "best": [self.best.state_, self.best.loss_, self.best.since_best_],
            "losses": [[row["train_loss"], row["valid_loss"]] for row in net.history],
        }
        with replacing(self.path) as scratch, scratch.open("wb") as file:
            torch.save(state, file)

    def take_up(self, net):
        """Restore the state of a net that is about to be trained, if there is one.

        Returns
        -------
        int
            Number of epochs that are done.

        Raises
        ------
        ValueError
            If the file is damaged, or of another training.
        """
        if not self.path.exists():
            return 0
        try:
            # Plain values and tensors alone are read: no code in the file is run.
            state = torch.load(self.path, weights_only=True)
        except (EOFError, RuntimeError, UnpicklingError) as error:
            raise ValueError(f"{self.path} is no state of a training: {error}") from error
        if state["key"] != self.key:
            raise ValueError(f"{self.path} is the state of a training with other settings.")
        net.module_.load_state_dict(state["module"])
        net.optimizer_.load_state_dict(state["optimizer"])
        self.schedule.lr_scheduler_.load_state_dict(state["schedule"])
        self.best.state_, self.best.loss_, self.best.since_best_ = state["best"]
        for train, valid in state["losses"]:
            net.history.new_epoch()
            net.history.record("train_loss", train)
            net.history.record("valid_loss", valid)
        return len(state["losses"])


class EpochBar(Callback):
    """Callback with a progress bar over the epochs."""

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=net.max_epochs, desc="training", unit=" epochs")

    def on_epoch_end(self, net, **kwargs):
        """Advance the bar."""
        self.bar_.update()

    def close(self):
        """Close the bar, also after an error."""
        self.bar_.close()


class StackedNet(NeuralNet):
    """Net of skorch with several members, which have a loss each."""

    def get_split_datasets(self, X, y=None, **fit_params):
        """Return X, which already is the pair of training and validation batches."""
        return X

    def get_iterator(self, dataset, training=False):
        """Return the batches, which can be iterated over."""
        return dataset

    def check_data(self, X, y=None):
        """Check nothing, as the batches are made by this package."""

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Sum the losses of the members, and record them."""
        # Each weight only affects the loss of its own member, so the gradient of the sum holds the
        # gradient of every member's own loss.
        losses = self.criterion_(y_pred, y_true)
        self._losses.setdefault(training, []).append((losses.detach(), y_true.shape[-2]))
        return losses.sum()

    def on_epoch_begin(self, net, **kwargs):
        """Reset the losses of the epoch."""
        super().on_epoch_begin(net, **kwargs)
        self._losses = {}

    def take_losses(self):
        """Return the epoch's mean losses per member, of training and of validation rows."""
        return (_mean_loss(self._losses[training]) for training in (True, False))


def _mean_loss(batches):
    """Mean over rows, from the mean loss and the number of rows of each batch."""
    total = sum(loss * n for loss, n in batches)
    return total / sum(n for _, n in batches)


def one_cycle(lr, n_steps):
    """Callbacks of the one-cycle schedule; none if there are too few steps for it."""
    if n_steps < _LEAST_STEPS:
        return []
    schedule = LRScheduler(
        torch.optim.lr_scheduler.OneCycleLR,
        step_every="batch",
        event_name=None,
        max_lr=lr,
        total_steps=n_steps,
        pct_start=_WARM_UP,
    )
    return [("schedule", schedule)]


def clipping(norm):
    """Callbacks that keep the norm of the gradient from exceeding a limit."""
    return [("clip", GradientNormClipping(norm))]


def losses(history):
    """Losses by name, as arrays of shape (n_epochs, n_members)."""
    return {name: np.array(history[:, name]) for name in ("train_loss", "valid_loss")}
