"""Value objects, which are equal if their classes and the arguments of their constructors are."""

import numpy as np
from sklearn.base import BaseEstimator


class Value(BaseEstimator):
    """Base class of nested parameters: signal and noise models, rules, settings.

    `get_params`, `set_params` and `clone` are scikit-learn's. Two values of one class whose
    arguments are equal are equal; a list, a tuple and an array of the same numbers are equal too.
    """

    def __eq__(self, other):
        if not isinstance(other, Value):
            return NotImplemented
        return type(self) is type(other) and _identity(self) == _identity(other)

    def __hash__(self):
        return hash((type(self), _identity(self)))

    def __repr__(self):
        with np.printoptions(threshold=12, precision=4, suppress=True):
            arguments = ", ".join(
                f"{name}={_shorten(value)!r}" for name, value in self.get_params(deep=False).items()
            )
        return f"{type(self).__name__}({arguments})"


def _shorten(value):
    """A short array as a list, for its repr, and anything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray) and value.size <= 12 else value


def _identity(value):
    """Arguments of a value as hashable items."""
    return tuple((name, _hashable(item)) for name, item in value.get_params(deep=False).items())


def _hashable(item):
    if isinstance(item, str) or np.ndim(item) == 0:
        return item
    if all(isinstance(part, str) for part in item):
        return tuple(item)
    # Lists, tuples and arrays of the same numbers have the same shape and the same bytes.
    array = np.asarray(item, dtype=np.float64)
    return array.shape, array.tobytes()
