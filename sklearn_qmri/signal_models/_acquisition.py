"""Acquisitions of signal models: checked when used, and given to formulas as columns."""

from numbers import Real

import numpy as np
import torch

from .._arrays import as_floats
from ._units import likely_unit


class AcquisitionAttributes:
    """Access to the acquisition that a signal model stores in its attributes."""

    def acquisition(self, name, theta):
        """The acquisition attribute `name` as a column that broadcasts against rows of `theta`.

        Parameters
        ----------
        name : str
            Name of an attribute with one value per measurement.
        theta : tensor
            Gives the column its type and device.

        Returns
        -------
        tensor of shape (n_measurements, 1)
            Values in the units of the attribute.

        Raises
        ------
        ValueError
            If the attribute is not a non-empty 1-D sequence of finite real numbers of at least
            0, or looks like having another unit.
        """
        given = getattr(self, name)
        owner = f"{type(self).__name__}({name}=...)"
        if np.iscomplexobj(given):
            raise ValueError(f"{owner} expects real numbers, got {given!r}.")
        try:
            values = as_floats(given)  # masked entries are NaN, and refused below
        except (TypeError, ValueError) as error:
            raise ValueError(f"{owner} expects a sequence of numbers, got {given!r}.") from error
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{owner} expects a non-empty 1-D sequence, got {given!r}.")
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            raise ValueError(
                f"{owner} expects finite values of at least 0, "
                f"got {values[bad].tolist()} at positions {np.flatnonzero(bad).tolist()}."
            )
        if unit := likely_unit(name, values):
            raise ValueError(f"{owner} got values up to {values.max():g}, which {unit}")
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
            Values in the units of the attribute.

        Raises
        ------
        ValueError
            If the attribute is anything else, or looks like having another unit.
        """
        given = getattr(self, name)
        if given is None and default is not None:
            return default
        given = given.item() if isinstance(given, np.ndarray) and given.ndim == 0 else given
        owner = f"{type(self).__name__}({name}=...)"
        if not isinstance(given, Real) or not 0 < given < np.inf:
            raise ValueError(f"{owner} expects a positive number, got {given!r}.")
        if unit := likely_unit(name, np.array([given])):
            raise ValueError(f"{owner} got {given:g}, which {unit}")
        return float(given)

    def acquisitions(self, theta, *names):
        """Several acquisition attributes, one value of each per measurement.

        Parameters
        ----------
        theta : tensor
            Gives the columns their type and device.
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
            given = ", ".join(f"{n} {name}" for n, name in zip(lengths, names, strict=True))
            raise ValueError(
                f"{type(self).__name__} expects acquisitions of one length, got {given}."
            )
        return columns

    def b(self, theta):
        """`b_values` as `acquisition` gives them, but in ms/um^2, for diffusivities in um^2/ms.

        Parameters
        ----------
        theta : tensor
            Gives the column its type and device.

        Returns
        -------
        tensor of shape (n_measurements, 1)
            A thousandth of the b-values in s/mm^2.
        """
        return self.acquisition("b_values", theta) * 1e-3
