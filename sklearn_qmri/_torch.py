"""Use of torch in this package: threads, devices, and lanes (the last axis) of tensors."""

import os
from contextlib import contextmanager

import torch

# The thread pool of a process does not survive a fork, and a child that waited for it would hang. A
# child with one thread needs no pool. (Windows has no fork.)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def check_device(device):
    """Raise a ValueError for a device that this PyTorch cannot use."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        # The first line is the reason. torch may add advice on debugging in further lines.
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used: {reason}") from error


@contextmanager
def single_thread():
    """Run loops of tiny kernels on one intra-op thread, and restore the caller's setting.

    More threads make kernels of a few thousand elements 2 to 30 times slower. Blocks of voxels run
    in parallel instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    # glibc returns the memory of every temporary above a threshold to the system, and has to fetch
    # its pages again for the next one. Freeing one large block raises the threshold to its size, at
    # most 32 MiB. That made these loops four times as fast.
    largest = torch.empty(30 * 2**20, dtype=torch.uint8)
    del largest
    try:
        yield
    finally:
        torch.set_num_threads(before)


def take(lanes, index):
    """Lanes of a tensor at the places of an int tensor or of a slice."""
    if isinstance(index, slice):
        return lanes[..., index]
    # On a CPU, `gather` is faster than indexing by a tensor.
    return lanes.gather(-1, index.expand(*lanes.shape[:-1], -1))


def put(lanes, index, values):
    """Overwrite the lanes `index` of a tensor."""
    lanes.scatter_(-1, index.expand_as(values), values)


# The rounding of a sum over measurements depends on how many lanes a kernel processes at once, and
# the last lanes of a tensor may be fewer. In tensors with a multiple of LANES they never are: it is
# 4 vectors of 16 floats, the most of any processor that torch has kernels for. So no lane's result
# depends on the lanes beside it.
LANES = 64


def whole(index):
    """Indices of lanes, the last repeated up to a multiple of `LANES`.

    Repeated lanes have the same result as the last one, and writing it twice changes nothing.
    """
    missing = -len(index) % LANES
    return torch.cat([index, index[-1:].expand(missing)]) if missing and len(index) else index


def pieces(n_voxels, size):
    """Slices of at most `size` consecutive voxels; a single empty one if there are no voxels."""
    return [slice(i, i + size) for i in range(0, max(n_voxels, 1), size)]
