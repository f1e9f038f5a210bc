"""Orderly end of a command on SIGTERM or Ctrl-C, together with its worker processes."""

import multiprocessing
import signal
import sys
from contextlib import contextmanager

# Exit codes by the convention of shells: 128 and the number of the signal.
_STOPPED = 128 + signal.SIGTERM
_INTERRUPTED = 130  # that of Typer after Ctrl-C


@contextmanager
def orderly_end():
    """Turn SIGTERM into SystemExit, and end the worker processes after it or after Ctrl-C.

    By default SIGTERM ends a process at once: its scratch files would stay, and so would its
    workers, each with a copy of the data.
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
    # A second SIGTERM must not interrupt the removal of files and workers.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(_STOPPED)


def _end_workers():
    """Kill the processes that this one has started; they have no state worth keeping."""
    # All are killed before the first wait, so that they end at the same time.
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(5)
