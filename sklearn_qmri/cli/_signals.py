"""The end of a command that is told to stop: in order, and with its worker processes."""

import multiprocessing
import signal
import sys
from contextlib import contextmanager

_STOPPED = 128 + signal.SIGTERM
_INTERRUPTED = 130


@contextmanager
def orderly_end():
    """Turn SIGTERM into SystemExit, and leave no worker process behind after it or Ctrl-C.

    Without it SIGTERM ends the command on the spot: scratch files stay, and so do the workers, each
    with its copy of the data.
    """
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    except SystemExit as end:
        if end.code in (_STOPPED, _INTERRUPTED):
            _end_workers()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end has begun
    sys.exit(_STOPPED)


def _end_workers():
    """Kill the processes that this one has started, which have no state worth keeping."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(5)
