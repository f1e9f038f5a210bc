"""Warnings that point at the user's line, wherever in this package they are raised."""

import os
import sys
import warnings

import joblib
import sklearn

# Frames of scikit-learn and joblib on the way (a pipeline, a search) are not the user's either.
_NOT_THE_USERS = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep
    for path in (__file__, joblib.__file__, sklearn.__file__)
)


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
    warnings.warn(message, category, stacklevel=find_stack_level())
