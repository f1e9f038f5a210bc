"""Output and folders of all commands: results to standard output, the rest beside it."""

import os
import shutil
import stat
from contextlib import contextmanager

from filelock import FileLock, Timeout
from rich.console import Console

from ._parts import Parts

# Names of files and texts of errors are printed as they are, brackets and colons included.
console = Console(highlight=False, markup=False, emoji=False)
notes = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)


def refuse_to_overwrite(paths, overwrite):
    """FileExistsError for the first that exists, unless that is allowed; makes their folder."""
    present = [str(path) for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    paths[0].parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def unfinished(folder, resume):
    """Finished parts of a command, in a folder that is removed once all is done.

    Parameters
    ----------
    folder : Path
        Left by a command that was killed or failed; then taken up, or emptied unless `resume`.
    resume : bool

    Yields
    ------
    Parts

    Raises
    ------
    PermissionError
        If the folder is there and not the user's own: a link, another user's, or open to others.
        Nothing in it is read or removed then.
    RuntimeError
        If another command holds it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _make_private(folder)
    parts = folder / "parts"
    with _only_one(folder):
        if parts.is_symlink() or (parts.exists() and not resume):
            _remove(parts)
        _make_private(parts)
        try:
            yield Parts(parts)
        except (KeyboardInterrupt, SystemExit):
            notes.print("What is finished is kept: the same command with --resume goes on.")
            raise
        shutil.rmtree(folder)


def _make_private(folder):
    """Make a folder that only the user can enter, or check that the one there is such.

    Where others can write, they can plant files, or a link to a folder whose files would be
    removed with it. Making it fails where anything is there, a link to nothing included.
    """
    try:
        folder.mkdir(mode=0o700)
        return
    except FileExistsError:
        there = folder.lstat()  # of a link itself
    private = stat.S_ISDIR(there.st_mode) and not stat.S_IMODE(there.st_mode) & 0o077
    if not private or there.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} is not a folder that only you can enter, as an earlier command would have "
            "made it: it is neither read nor emptied. Remove it."
        )


def _remove(path):
    """Remove a folder, or a link but not the folder that it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


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
