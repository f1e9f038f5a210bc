"""Acquisitions of signal models, checked when used and returned as columns for formulas."""

from functools import lru_cache
from numbers import Real

import numpy as np
import torch

from .._arrays import as_floats
from ._units import likely_unit


# A fit evaluates its signal model dozens of times, with the same few numbers.
@lru_cache(maxsize=256)
def _check_values(owner, name, data):
    """ValueError unless values (as bytes) are finite, not negative, and in the usual unit."""
    values = np.frombuffer(data)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(
            f"{owner} expects finite values of at least 0, "
            f"got {values[bad].tolist()} at positions {np.flatnonzero(bad).tolist()}."
        )
    if unit := likely_unit(name, values):
        raise ValueError(f"{owner} got values up to {values.max():g}, which {unit}")


class AcquisitionAttributes:
    """Access to the acquisition that a signal model stores in its attributes."""

    def acquisition(self, name, theta):
        """The acquisition attribute `name` as a column that broadcasts against rows of `theta`.

        Parameters
        ----------
        name : str
            Name of an attribute with one value per measurement.
        theta : tensor
            Tensor whose type and device the column has.

        Returns
        -------
        tensor of shape (n_measurements, 1)
            Values in the units of the attribute.

        Raises
        ------
        ValueError
            If the attribute is not a non-empty 1-D sequence of finite real numbers of at least
            0, or seems to have another unit.
        """
        attribute = getattr(self, name)
        owner = f"{type(self).__name__}({name}=...)"
        try:
            if getattr(attribute, "dtype", None) is not None and np.iscomplexobj(attribute):
                raise TypeError("complex numbers")  # which would lose their imaginary part
            # Masked entries become NaN, which is refused below.
            values = as_floats(attribute)
        except (TypeError, ValueError) as error:
            expected = "real numbers" if np.iscomplexobj(attribute) else "a sequence of numbers"
            raise ValueError(f"{owner} expects {expected}, got {attribute!r}.") from error
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{owner} expects a non-empty 1-D sequence, got {attribute!r}.")
        _check_values(owner, name, values.tobytes())
        # A copy of these few numbers: torch warns of read-only memory.
        return torch.tensor(values, dtype=theta.dtype, device=theta.device)[:, None]

    def number(self, name, default=None):
        """The acquisition attribute `name` that is one positive number.

        Parameters
        ----------
        name : str
            Name of the attribute.
        default : float, default=None
            Value of an attribute that is None. None: an attribute of None is refused.

        Returns
        -------
        float
            Value in the units of the attribute.

        Raises
        ------
        ValueError
            If the attribute is anything else, or seems to have another unit.
        """
        value = getattr(self, name)
        if value is None and default is not None:
            return default
        # A number that NumPy has saved and loaded is an array without axes.
        value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        owner = f"{type(self).__name__}({name}=...)"
        if not isinstance(value, Real) or not 0 < value < np.inf:
            raise ValueError(f"{owner} expects a positive number, got {value!r}.")
        if unit := likely_unit(name, np.array([value])):
            raise ValueError(f"{owner} got {value:g}, which {unit}")
        return float(value)

    def acquisitions(self, theta, *names):
        """Several acquisition attributes, one value of each per measurement.

        Parameters
        ----------
        theta : tensor
            Tensor whose type and device the columns have.
        *names : str
            Names of the attributes.

        Returns
        -------
        list of tensor of shape (n_measurements, 1)
            Same as `acquisition`.

        Raises
        ------
        ValueError
            Same as `acquisition`, or if they differ in length.
        """
        columns = [self.acquisition(name, theta) for name in names]
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            counts = ", ".join(f"{n} {name}" for n, name in zip(lengths, names, strict=True))
            raise ValueError(
                f"{type(self).__name__} expects acquisitions of one length, got {counts}."
            )
        return columns

    def b(self, theta):
        """Column of `b_values` in ms/um^2, for diffusivities in um^2/ms.

        Parameters
        ----------
        theta : tensor
            Tensor whose type and device the column has.

        Returns
        -------
        tensor of shape (n_measurements, 1)
            A thousandth of the b-values in s/mm^2.
        """
        return self.acquisition("b_values", theta) * 1e-3
