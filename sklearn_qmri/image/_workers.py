"""Work on several processes or Dask workers, with results in order."""

import warnings
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from joblib import Parallel, delayed, effective_n_jobs


def on_processes(n_jobs, function, first, arguments):
    """Results from joblib's workers, with few arguments and results in memory at a time.

    Some backends ("multiprocessing") cannot return a generator: they get a few calls at a time.
    """
    # Every argument is a slab of the scan. `pre_dispatch` keeps joblib from reading them all ahead.
    jobs = (delayed(function)(first, *given) for given in arguments)
    few = 2 * effective_n_jobs(n_jobs)
    try:
        pool = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs")
        batches = [jobs]
    except ValueError:  # joblib raises it for a backend without generators
        pool = Parallel(n_jobs=n_jobs)
        batches = iter(lambda: list(islice(jobs, few)), [])
    try:
        for batch in batches:
            yield from pool(batch)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process died, most likely for lack of memory: try a smaller chunk_size or "
            "fewer n_jobs. Slabs that are finished are kept where memory= is given."
        ) from error


def on_own_processes(n_jobs, function, items):
    """Results of a function of each item; an exception for an item whose process died.

    When a process dies, joblib loses all calls that were running. Their items are repeated one at a
    time, so that only the item that kills its process fails. Then the rest continues in parallel.
    """
    done = 0
    while done < len(items):
        pool = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator", pre_dispatch="n_jobs")
        try:
            for result in pool(delayed(function)(item) for item in items[done:]):
                done += 1
                yield result
        except BrokenProcessPool:
            # Results come in order, so that those at work are among the next n_jobs.
            for item in items[done : done + effective_n_jobs(n_jobs)]:
                done += 1
                yield _alone(function, item)


def _alone(function, item):
    """Result of one call in a process of its own, or an exception if the process died."""
    # n_jobs=1 would run the call in this process, and take it down too.
    try:
        return Parallel(n_jobs=2, backend="loky")([delayed(function)(item)])[0]
    except BrokenProcessPool as error:
        return RuntimeError(f"its process died, most likely for lack of memory ({error})".strip())


def on_workers(client, function, first, arguments, room=None):
    """Results from Dask workers, in order."""
    return (future.result() for future in spread(client, function, first, arguments, room))


def spread(client, function, first, arguments, room=None):
    """Futures of Dask workers in order, with only as many in flight as keep the workers busy.

    The first argument, which all calls share, is sent once, as the result of a task of its own. If
    the worker that holds it dies, another worker repeats that task.
    """
    # pure=False: Dask would otherwise hash every argument, and take equal calls for one.
    shared, waiting = client.submit(_same, first, pure=False), deque()
    room = 2 * sum(client.nthreads().values()) if room is None else room
    for given in arguments:
        with warnings.catch_warnings():
            # Dask warns of large arguments, and a slab is one.
            warnings.filterwarnings("ignore", message="Sending large graph")
            waiting.append(client.submit(function, shared, *given, pure=False))
        # The consumer waits for the oldest future before the next slab is read and submitted.
        if len(waiting) >= max(1, room):
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _same(value):
    return value
