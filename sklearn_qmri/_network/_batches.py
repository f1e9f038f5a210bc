"""Batches of tensors, which are never copied row by row."""

import torch

_TISSUES = 8192  # most tissues that are measured at once


class Batches:
    """Rows of tensors in batches, shuffled again in each pass.

    Parameters
    ----------
    x : tensor of shape (..., n_rows, n_inputs)
    target : tensor of shape (..., n_rows, n_columns)
    batch_size : int
    generator : torch.Generator or None
        Source of the shuffling. None: rows stay in their order.
    refresh : callable, default=None
        Function that returns (x, target) of the next epoch, which replace `x` and `target`.
    least : int, default=1
        Least number of rows of a batch. A last batch with fewer rows is dropped.
    """

    def __init__(self, x, target, batch_size, generator, *, refresh=None, least=1):
        self.x = x
        self.target = target
        self.batch_size = batch_size
        self.generator = generator
        self.refresh = refresh
        self.least = least

    def __len__(self):
        n_whole, rest = divmod(self.x.shape[-2], self.batch_size)
        return n_whole + (rest >= self.least)

    def __iter__(self):
        x, target = self.x, self.target
        if self.refresh is not None:
            x, target = (tensor.to(x.device) for tensor in self.refresh())
        if self.generator is not None:
            # Drawn on the CPU, where the generator is: the order is the same on all devices.
            order = torch.randperm(x.shape[-2], generator=self.generator).to(x.device)
            x, target = x[..., order, :], target[..., order, :]
        pairs = zip(x.split(self.batch_size, -2), target.split(self.batch_size, -2), strict=True)
        return (pair for pair in pairs if pair[0].shape[-2] >= self.least)


class FreshBatches:
    """Noise repeats of tissues, shuffled and measured again every time they are gone through.

    Parameters
    ----------
    measured : callable
        Function of numbers of tissues (n,) and a generator. It returns tensors x and target of
        n * n_repeats rows.
    tissues : int ndarray of shape (n_tissues,)
    per_step : int
        Number of tissues in a batch.
    n_repeats : int
    generator : torch.Generator
    device : str, default="cpu"
    """

    def __init__(self, measured, tissues, per_step, n_repeats, generator, device="cpu"):
        self.measured = measured
        self.tissues = torch.as_tensor(tissues)
        self.per_step = per_step
        self.n_repeats = n_repeats
        self.generator = generator
        self.device = device

    def to(self, device):
        """The same batches on a device."""
        parts = self.measured, self.tissues, self.per_step, self.n_repeats, self.generator
        return FreshBatches(*parts, device)

    def __len__(self):
        return -(-len(self.tissues) // self.per_step)

    def __iter__(self):
        order = self.tissues[torch.randperm(len(self.tissues), generator=self.generator)]
        # Many steps are measured at once, which is faster; not all, which could fill the memory.
        for chunk in order.split(max(1, _TISSUES // self.per_step) * self.per_step):
            pair = (t.to(self.device) for t in self.measured(chunk.numpy(), self.generator))
            x, target = (t.split(self.per_step * self.n_repeats) for t in pair)
            yield from zip(x, target, strict=True)


class Stream:
    """Batches that are made when they are needed, and that differ in every pass.

    Parameters
    ----------
    make : callable
        Function of the number of a pass. It returns an iterator over pairs of tensors x and target.
    n_batches : int
        Number of batches of a pass.

    Attributes
    ----------
    n_passes : int
        Number of passes so far. A training that is taken up sets it.
    """

    def __init__(self, make, n_batches):
        self.make = make
        self.n_batches = n_batches
        self.n_passes = 0

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        self.n_passes += 1
        return self.make(self.n_passes)
