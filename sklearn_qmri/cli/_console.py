"""Output and folders of all commands: results to standard output, notes to standard error."""

import os
import shutil
import stat
import sys
from contextlib import contextmanager

from filelock import FileLock, Timeout
from rich.console import Console

from ._parts import Parts

# Names of files and texts of errors may hold brackets and colons, which rich would take for markup
# and emoji. Notes are not wrapped, so that each stays one line in a log.
console = Console(highlight=False, markup=False, emoji=False)
notes = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=True)


def command_line():
    """The command as it was typed, as a list of words, without what concerns its files only.

    Where the maps are written, and whether earlier ones were there, does not change them.
    """
    words, kept = iter(sys.argv[1:]), ["sklearn-qmri"]
    for word in words:
        if word == "--out":
            next(words, None)
        elif word not in ("--resume", "--overwrite", "--debug") and not word.startswith("--out="):
            kept.append(word)
    return kept


def refuse_to_overwrite(paths, overwrite):
    """Raise FileExistsError if a file exists, unless `overwrite`; make the folder of the files."""
    present = [str(path) for path in paths if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; give --overwrite to replace it.")
    paths[0].parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def unfinished(folder, resume):
    """Finished parts of a command, in a folder that is removed after success.

    Parameters
    ----------
    folder : Path
        Folder for the parts. It exists already if an earlier command was killed or failed.
    resume : bool
        Whether parts of an earlier command are used. If not, they are removed.

    Yields
    ------
    Parts

    Raises
    ------
    PermissionError
        If the folder exists and is not private: a link, another user's, or open to others. Nothing
        in it is read or removed then.
    RuntimeError
        If another command uses the folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _make_private(folder)
    parts = folder / "parts"
    # The lock comes first: no command may empty the parts that another is writing.
    with _only_one(folder):
        if parts.is_symlink() or (parts.exists() and not resume):
            _remove(parts)
        _make_private(parts)
        try:
            yield Parts(parts)
        # Any exception keeps the folder. An interruption has no message of its own to say so.
        except (KeyboardInterrupt, SystemExit):
            notes.print("What is finished is kept: the same command with --resume goes on.")
            raise
        shutil.rmtree(folder)


def _make_private(folder):
    """Make a folder that only the user can enter, or check that an existing one is private.

    Other users who can write there could plant files, or a link to a folder whose files would be
    removed with it.
    """
    # Make first, check afterwards: mkdir fails if anything has this name, even a dangling link. A
    # check before it would leave others the time to put something there.
    try:
        folder.mkdir(mode=0o700)
        return
    except FileExistsError:
        there = folder.lstat()  # describes a link itself, not its target
    private = stat.S_ISDIR(there.st_mode) and not stat.S_IMODE(there.st_mode) & 0o077
    if not private or there.st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} is not a folder that only you can enter, as an earlier command would have "
            "made it: it is neither read nor emptied. Remove it."
        )


def _remove(path):
    """Remove a folder; if it is a link, remove the link but not its target."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


@contextmanager
def _only_one(folder):
    """Hold the lock of a folder, so that no second command writes the same maps."""
    # The system releases the lock of a process that is killed, so that --resume is not locked out.
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"Another command is making these maps: {folder} is locked.") from error
    try:
        yield
    finally:
        lock.release()
