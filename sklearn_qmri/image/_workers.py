"""Work spread over processes and Dask workers; results come in order."""

import warnings
from collections import deque
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from joblib import Parallel, delayed, effective_n_jobs


def on_processes(n_jobs, function, first, arguments):
    """Results of joblib's workers, with few arguments and results in memory at a time.

    Some backends ("multiprocessing") give no generator: they get a few calls at a time instead.
    """
    jobs = (delayed(function)(first, *given) for given in arguments)
    few = 2 * effective_n_jobs(n_jobs)
    try:
        pool = Parallel(n_jobs=n_jobs, return_as="generator", pre_dispatch="n_jobs")
        batches = [jobs]
    except ValueError:  # joblib's, of a backend without generators
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
    """Results of a function of each item, or the exception of one at which its process died.

    When a process dies, all that were at work are lost with it. Their items are done again, one at
    a time, so that only the one to blame is given up; then the others go on.
    """
    done = 0
    while done < len(items):
        pool = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator", pre_dispatch="n_jobs")
        try:
            for result in pool(delayed(function)(item) for item in items[done:]):
                done += 1
                yield result
        except BrokenProcessPool:
            for item in items[done : done + effective_n_jobs(n_jobs)]:
                done += 1
                yield _alone(function, item)


def _alone(function, item):
    """Result of one call in a process, or why there is none."""
    try:
        return Parallel(n_jobs=2, backend="loky")([delayed(function)(item)])[0]
    except BrokenProcessPool as error:
        return RuntimeError(f"its process died, most likely for lack of memory ({error})".strip())


def on_workers(client, function, first, arguments, room=None):
    """Results of Dask workers, in order."""
    return (future.result() for future in spread(client, function, first, arguments, room))


def spread(client, function, first, arguments, room=None):
    """Futures of Dask workers in order, with no more in flight than keeps the workers busy.

    What all calls share is sent once, as the result of a task of its own: when the worker that
    holds it dies, another does that task again.
    """
    shared, waiting = client.submit(_same, first, pure=False), deque()
    room = 2 * sum(client.nthreads().values()) if room is None else room
    for given in arguments:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")  # a slab is large
            waiting.append(client.submit(function, shared, *given, pure=False))
        if len(waiting) >= max(1, room):
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _same(value):
    return value
