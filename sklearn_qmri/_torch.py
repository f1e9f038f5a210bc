"""How this package runs torch: threads, devices, and lanes (the last axis) of tensors."""

import os
from contextlib import contextmanager

import torch

# The pool of threads that a process has made does not survive a fork: a child that waited for it
# would hang. With one thread it needs none. (Windows has no fork.)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def check_device(device):
    """ValueError for a device that this PyTorch cannot use."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used: {reason}") from error


@contextmanager
def single_thread():
    """Run loops of tiny kernels on one intra-op thread; the caller's setting is restored.

    Threads make kernels of a few thousand elements 2 to 30 times slower; parallelism belongs
    to blocks of voxels.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # glibc hands back, and faults in again, the pages of every temporary larger than a threshold
    # that it raises to the size of the largest block freed: four times the speed for one call.
    largest = torch.empty(30 * 2**20, dtype=torch.uint8)
    del largest
    try:
        yield
    finally:
        torch.set_num_threads(before)


def take(lanes, index):
    """Some lanes of a tensor, by an int tensor or a slice; on a CPU gather is what is fast."""
    if isinstance(index, slice):
        return lanes[..., index]
    return lanes.gather(-1, index.expand(*lanes.shape[:-1], -1))


def put(lanes, index, values):
    """Overwrite the lanes `index` of a tensor."""
    lanes.scatter_(-1, index.expand_as(values), values)


# How a sum over measurements rounds depends on how many lanes a kernel takes at once, and the last
# lanes of a tensor may be fewer. In multiples of this many they never are (4 vectors of 16 floats,
# the most of any processor that torch has kernels for), so that no lane's result depends on the
# lanes beside it.
LANES = 64


def whole(index):
    """Indices of lanes, the last repeated up to a multiple of `LANES`.

    Lanes that are repeated have the same result, and writing it twice changes nothing.
    """
    missing = -len(index) % LANES
    return torch.cat([index, index[-1:].expand(missing)]) if missing and len(index) else index


def pieces(n_voxels, size):
    """Consecutive runs of at most `size` voxels; one empty run of none."""
    return [slice(i, i + size) for i in range(0, max(n_voxels, 1), size)]
