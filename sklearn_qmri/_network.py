"""Networks: several members of one shape, stacked and trained side by side."""

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn
from tqdm import tqdm

from ._torch import single_thread

_WARM_UP = 0.15  # share of the steps before the peak of the one-cycle schedule
# Rows are predicted in blocks of just this many: how a matrix product rounds depends on its
# shape, and a row's prediction must not depend on the rows around it.
_PREDICT_ROWS = 2048


class Head(nn.Module):
    """Last layer's outputs as parameters, ``low + width * shape(output)``.

    Parameters
    ----------
    shapes : sequence of {"sigmoid", "softplus", "abs", "identity"}
        One per parameter. Sigmoid squashes into the box from low to low + width.
    low, width : array-like of shape (n_parameters,)
    """

    SHAPES = {
        "sigmoid": torch.sigmoid,
        "softplus": nn.functional.softplus,
        "abs": torch.abs,
        "identity": lambda z: z,
    }

    def __init__(self, shapes, low, width):
        super().__init__()
        self.shapes = tuple(shapes)
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("width", torch.as_tensor(width, dtype=torch.float32))

    def forward(self, z):
        """Map outputs (..., n_parameters) to parameters of the same shape."""
        kinds = set(self.shapes)
        if len(kinds) == 1:
            shaped = self.SHAPES[kinds.pop()](z)
        else:
            columns = zip(self.shapes, z.unbind(-1), strict=True)
            shaped = torch.stack([self.SHAPES[kind](column) for kind, column in columns], -1)
        return self.low + self.width * shaped


class StackedMLP(nn.Module):
    """Multilayer perceptrons of one shape along a leading member axis.

    Parameters
    ----------
    coefs : sequence of tensors of shape (n_members, n_in, n_out)
    intercepts : sequence of tensors of shape (n_members, 1, n_out)
    head : Head
    """

    def __init__(self, coefs, intercepts, head):
        super().__init__()
        self.coefs = nn.ParameterList(coefs)
        self.intercepts = nn.ParameterList(intercepts)
        self.head = head

    def forward(self, x):
        """Parameters (n_members, n_rows, n_parameters) of inputs x (n_rows, n_inputs)."""
        last = len(self.coefs) - 1
        x = x.expand(len(self.coefs[0]), *x.shape)
        for layer, (coef, intercept) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            x = torch.baddbmm(intercept, x, coef)
            if layer < last:
                x = nn.functional.silu(x)
        return self.head(x)


class ScaledSquaredError(nn.Module):
    """Mean over rows and parameters of squared error / scale^2, one value per member."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, prediction, target):
        """Loss per member, of predictions (n_members, n_rows, n_parameters)."""
        return ((prediction - target) / self.scale).square().mean((1, 2))


class StackedNet(NeuralNet):
    """A skorch net whose short epoch loop trains stacked members and keeps each one's best.

    Adam works elementwise, so members stay independent of each other.

    Parameters
    ----------
    patience : int or None
        Stop when no member's validation loss has improved for this many epochs.
    generator : torch.Generator
        Shuffles the batches.
    """

    def __init__(self, *args, patience=None, generator=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.patience = patience
        self.generator = generator

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on X = (x, target, x_valid, target_valid), tensors of rows."""
        x, target, *valid = (tensor.to(self.device) for tensor in X)
        epochs = epochs or self.max_epochs
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer_,
            max_lr=self.lr,
            total_steps=epochs * -(-len(x) // self.batch_size),
            pct_start=_WARM_UP,
        )
        best, since_best = _Best(self.module_), 0
        for epoch in tqdm(
            range(1, epochs + 1), desc="training", unit=" epochs", disable=not self.verbose
        ):
            self.history.new_epoch()
            order = torch.randperm(len(x), generator=self.generator).to(self.device)
            loss = self._run_epoch(x[order], target[order], schedule)
            with torch.no_grad():
                valid_loss = self.criterion_(self.module_(valid[0]), valid[1])
            if not (torch.isfinite(loss).all() and torch.isfinite(valid_loss).all()):
                raise RuntimeError(
                    f"Training diverged in epoch {epoch} of {epochs}: lower lr (now {self.lr:g}), "
                    "or look for extreme values in X and y."
                )
            self.history.record("train_loss", loss.tolist())
            self.history.record("valid_loss", valid_loss.tolist())
            since_best = 0 if best.update(self.module_, valid_loss) else since_best + 1
            if self.patience is not None and since_best >= self.patience:
                break
        best.restore(self.module_)
        self.best_loss_ = best.loss
        return self

    def _run_epoch(self, x, target, schedule):
        total = 0.0
        for xb, tb in zip(x.split(self.batch_size), target.split(self.batch_size), strict=True):
            loss = self.criterion_(self.module_(xb), tb)
            self.optimizer_.zero_grad()
            loss.sum().backward()
            self.optimizer_.step()
            schedule.step()
            total = total + loss.detach() * len(xb)
        return total / len(x)


class _Best:
    """Each member's weights of the epoch with its least validation loss."""

    def __init__(self, module):
        self.weights = [p.detach().clone() for p in module.parameters()]
        self.loss = torch.full((len(self.weights[0]),), torch.inf, device=self.weights[0].device)

    def update(self, module, loss):
        """Keep what improved; whether anything did."""
        better = loss < self.loss
        self.loss = torch.where(better, loss, self.loss)
        for kept, current in zip(self.weights, module.parameters(), strict=True):
            kept[better] = current.detach()[better]
        return bool(better.any())

    def restore(self, module):
        for kept, current in zip(self.weights, module.parameters(), strict=True):
            current.data.copy_(kept)


def initial_weights(sizes, seeds):
    """Weights and biases of one member per seed, uniform as in `torch.nn.Linear`.

    Parameters
    ----------
    sizes : sequence of int
        Width of every layer, inputs and outputs included.
    seeds : sequence of int

    Returns
    -------
    coefs, intercepts : lists of tensors, see `StackedMLP`
    """
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    coefs, intercepts = [], []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        draws = torch.stack([torch.rand(n_in + 1, n_out, generator=g) for g in generators])
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
    scale,
    sizes,
    rng,
    n_init,
    max_epochs,
    batch_size,
    lr,
    patience,
    device,
    verbose,
):
    """Train n_init members on rows x (float32) and their targets.

    Parameters
    ----------
    x, target : arrays of shape (n_rows, n_inputs) and (n_rows, n_parameters)
    valid : bool array of shape (n_rows,)
        Rows held out for validation.
    head : Head
    scale : array of shape (n_parameters,)
    sizes : sequence of int
        Width of every layer.
    rng : numpy.random.RandomState

    Returns
    -------
    weights : list of (coefs, intercepts) per member
        As lists of NumPy arrays.
    best_loss : array of shape (n_init,)
    history : skorch History
    """
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_init + 1)
    coefs, intercepts = initial_weights(sizes, seeds[1:])
    net = StackedNet(
        StackedMLP,
        module__coefs=coefs,
        module__intercepts=intercepts,
        module__head=head,
        criterion=ScaledSquaredError,
        criterion__scale=scale,
        optimizer=torch.optim.Adam,
        lr=lr,
        max_epochs=max_epochs,
        batch_size=batch_size,
        patience=patience,
        generator=torch.Generator().manual_seed(int(seeds[0])),
        train_split=None,
        callbacks="disable",
        device=device,
        verbose=verbose,
    )
    rows = [
        torch.as_tensor(a, dtype=torch.float32)
        for a in (x[~valid], target[~valid], x[valid], target[valid])
    ]
    with single_thread():
        # Not net.fit, which would take Ctrl-C for a finished training.
        net.initialize()
        net.fit_loop(rows)
    module = net.module_.cpu()
    weights = [_member(module, k) for k in range(n_init)]
    return weights, net.best_loss_.cpu().numpy(), net.history


def _member(module, k):
    """Coefs and intercepts of one member, as lists of NumPy arrays."""
    return tuple(
        [p.detach().numpy()[k].copy() for p in group] for group in (module.coefs, module.intercepts)
    )


def evaluate(x, weights, head):
    """Parameters that a trained member predicts from float32 rows x, in float64."""
    coefs, intercepts = ([torch.from_numpy(a)[None] for a in group] for group in weights)
    module = StackedMLP(coefs, intercepts, head).requires_grad_(False)
    padded = nn.functional.pad(torch.from_numpy(x), (0, 0, 0, -len(x) % _PREDICT_ROWS))
    with single_thread():
        blocks = [module(block)[0] for block in padded.split(_PREDICT_ROWS)]
    return torch.cat(blocks)[: len(x)].numpy().astype(np.float64)
