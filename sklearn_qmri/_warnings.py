"""Warnings that point at a line of the user, wherever in this package they are raised."""

import os
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar

import joblib
import sklearn

# Folders whose frames are not the user's: this package, and scikit-learn and joblib, which may call
# it (from a pipeline or a search).
_NOT_THE_USERS = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep
    for path in (__file__, joblib.__file__, sklearn.__file__)
)

_QUIET = ContextVar("quiet", default=False)


@contextmanager
def quiet():
    """Keep `warn` silent, in this thread only.

    `warnings.catch_warnings` would change filters that all threads share.
    """
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def find_stack_level():
    """Stack level, for `warnings.warn`, of the nearest caller outside of this package.

    Returns
    -------
    int
        1 is the caller of this function.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame, level = frame.f_back, level + 1
    return level


def warn(message, category=UserWarning):
    """Warn the user of this package.

    Parameters
    ----------
    message : str
    category : type, default=UserWarning
    """
    if not _QUIET.get():
        warnings.warn(message, category, stacklevel=find_stack_level())
