"""How this package runs torch: on one thread of a CPU, or on a device that is there."""

from contextlib import contextmanager

import torch


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
