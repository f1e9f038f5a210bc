"""What all commands share: results to standard output, the rest beside it, nothing lost."""

import shutil
from contextlib import contextmanager

from filelock import FileLock, Timeout
from joblib import Memory
from rich.console import Console

console = Console(highlight=False)
notes = Console(highlight=False, soft_wrap=True, stderr=True)


def refuse_to_overwrite(paths, overwrite):
    """FileExistsError for the first that exists, unless that is allowed; makes their folder."""
    present = [str(path) for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    paths[0].parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def unfinished(folder, resume):
    """Cache of the finished parts of a command, in a folder that goes once all is done.

    Parameters
    ----------
    folder : Path
        Left by a command that was killed or failed; then taken up, or emptied unless `resume`.
    resume : bool

    Yields
    ------
    joblib.Memory
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = folder / "parts"
    with _only_one(folder):
        if not resume:
            shutil.rmtree(parts, ignore_errors=True)
        try:
            yield Memory(parts, verbose=0)
        except KeyboardInterrupt:
            notes.print("What is finished is kept: the same command with --resume goes on.")
            raise
        shutil.rmtree(folder)


@contextmanager
def _only_one(folder):
    """Hold the lock of a folder, so that no second command writes the same maps."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"Another command is making these maps: {folder} is locked.") from error
    try:
        yield
    finally:
        lock.release()
