"""What all commands share: results to standard output, the rest beside it, nothing lost."""

import shutil
from contextlib import contextmanager

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
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield Memory(folder, verbose=0)
    except KeyboardInterrupt:
        notes.print("What is finished is kept: the same command with --resume goes on from there.")
        raise
    shutil.rmtree(folder)
