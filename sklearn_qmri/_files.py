"""Files that are written whole or not at all."""

import os
import secrets
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path):
    """Path to write to; what is written takes the place of `path` if all goes well.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    Path
        Of the same folder and ending.
    """
    path = Path(path)
    scratch = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
