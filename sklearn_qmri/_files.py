"""Files that are written whole or not at all."""

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Temporary path to write to; it replaces `path` only if no exception occurs.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    Path
        In the same folder, with the same ending.
    """
    path = Path(path)
    # In the same folder, because a rename is atomic only within one file system. The ending stays,
    # because nibabel chooses format and compression by it. The random part keeps processes apart
    # that write the same file. The dot hides the file, should a killed process leave it behind.
    scratch = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        # After the rename there is nothing to remove; after an error or Ctrl-C there may be.
        scratch.unlink(missing_ok=True)
