"""The contract of signal models: parameters, a formula, and its derivatives."""

import inspect
from abc import ABC, abstractmethod

import numpy as np
import torch

from .._arrays import as_floats
from .._value import Value
from ._acquisition import AcquisitionAttributes
from ._parameter import Parameter

_TRIALS = 256  # tissues at which the sign of the signal is evaluated
# Relative step of forward differences: truncation errors are proportional to it, rounding errors to
# the precision of float64 (2^-52) over it. Its square root balances both.
_STEP = 2.0**-26


class SignalModel(AcquisitionAttributes, Value, ABC):
    """Base class of signal models.

    A subclass stores its acquisition in ``__init__`` exactly as passed, declares `parameters`
    and computes `signal`. Nothing else is needed: exact derivatives come from automatic
    differentiation. A subclass may override `jacobian`, `curvature` and `start`, because formulas
    by hand are faster. An acquisition is checked when a signal is computed, not before. If it is
    not usable, that raises a ValueError.

    Arrays are torch tensors with the parameters (or measurements) along the *first* axis and
    voxels along the last, so that ``S0, D = theta`` unpacks them and a formula reads as in print.

    Attributes
    ----------
    parameters : tuple of Parameter
        In the order of the rows of `theta` and of the columns of y.
    magnitude : bool
        True where the scanner's magnitude of the signal is measured, so that ``noise="auto"``
        means Rician noise; False for signed, averaged or spherical-mean data (Gaussian).

    Examples
    --------
    >>> import torch
    >>> from sklearn_qmri.signal_models import Parameter, SignalModel, amplitude
    >>> class Decay(SignalModel):
    ...     parameters = amplitude("S0"), Parameter("T2", "ms", (1, 3000), (20, 300), log=True)
    ...
    ...     def __init__(self, echo_times):
    ...         self.echo_times = echo_times
    ...
    ...     def signal(self, theta):
    ...         S0, T2 = theta
    ...         return S0 * torch.exp(-self.acquisition("echo_times", theta) / T2)
    >>> Decay([0, 80]).simulate([[1.0, 80.0]]).round(3)
    array([[1.   , 0.368]])
    """

    parameters: tuple[Parameter, ...] = ()
    magnitude = True

    @abstractmethod
    def signal(self, theta):
        """Noise-free signal.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Tissue parameters in their own units.

        Returns
        -------
        tensor of shape (n_measurements, n_voxels)
            Signals in the units of the amplitudes, on the device of `theta`.

        Raises
        ------
        ValueError
            If the acquisition is not usable, see `acquisition`.
        """

    @classmethod
    def arguments(cls):
        """Arguments of the constructor, with their defaults.

        Returns
        -------
        dict of {str: object}
            Defaults by name, in order; ``...`` marks arguments that have none.

        Examples
        --------
        >>> from sklearn_qmri.signal_models import T2Decay
        >>> T2Decay.arguments()
        {'echo_times': Ellipsis, 'offset': False}
        """
        # Defaults belong to the last arguments.
        spec = inspect.getfullargspec(cls.__init__)
        names, defaults = spec.args[1:], spec.defaults or ()
        needed = dict.fromkeys(names, ...)
        return needed | dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))

    def named_tissues(self):
        """Typical tissues by name, from the literature; none unless a model has some.

        Returns
        -------
        dict of {str: tuple of float}
            Values in the order of `parameters`.
        """
        return {}

    def simulate(self, parameters):
        """Noise-free signals of tissues as NumPy arrays, one tissue per row.

        Parameters
        ----------
        parameters : array-like of shape (n_tissues, n_parameters)
            Tissues in the units of the parameters, in the order of `parameter_names`.

        Returns
        -------
        ndarray of shape (n_tissues, n_measurements)
            Signals in float64, in the units of the amplitudes.

        Raises
        ------
        ValueError
            If the tissues have another shape, or the acquisition is not usable.

        Examples
        --------
        >>> from sklearn_qmri.signal_models import IVIM
        >>> IVIM([0, 1000]).simulate([[1.0, 0.0, 1.0, 40.0]]).round(3)
        array([[1.   , 0.368]])
        """
        # A copy, because torch warns of read-only memory.
        theta = np.array(as_floats(parameters).T, order="C")
        if theta.ndim != 2 or len(theta) != len(self.parameters):
            raise ValueError(
                f"simulate expects tissues of shape (n, {len(self.parameters)}) with columns "
                f"{list(self.parameter_names)}, got shape {theta.T.shape}."
            )
        return self.signal(torch.as_tensor(theta)).numpy().T

    def jacobian(self, theta):
        """Signal and its first derivatives, by forward-mode differentiation unless overridden.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Tissue parameters in their own units.

        Returns
        -------
        signal : tensor of shape (n_measurements, n_voxels)
            Same as `signal`.
        jacobian : tensor of shape (n_parameters, n_measurements, n_voxels)
            Derivatives of the signal with respect to each parameter.
        """
        # One forward pass per parameter: parameters are few, and measurements may be many.
        columns = []
        for j in range(len(theta)):
            tangent = torch.zeros_like(theta)
            tangent[j] = 1.0
            signal, column = torch.func.jvp(self.signal, (theta,), (tangent,))
            columns.append(column)
        return signal, torch.stack(columns)

    def curvature(self, theta, weights, weighted):
        """Weighted sum of the signal's second derivatives, or None where unknown.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Tissue parameters in their own units.
        weights : tensor of shape (n_measurements, n_voxels)
            Weight of each measurement in the sum.
        weighted : tensor of shape (n_parameters, n_measurements, n_voxels)
            The jacobian at `theta` times the weights. It saves work where second derivatives
            are multiples of first ones.

        Returns
        -------
        tensor of shape (n_parameters, n_parameters, n_voxels) or None
            Only the upper triangle of the first two axes is read.
        """
        return

    def curvature_by_differences(self, theta, weights, weighted):
        """Same as `curvature`, by forward differences of the jacobian.

        Parameters
        ----------
        theta, weights, weighted : tensor
            Same as in `curvature`, in float64.

        Returns
        -------
        tensor of shape (n_parameters, n_parameters, n_voxels)
            Symmetric except for the errors of the differences.
        """
        # Row j is the change with theta_j of the weighted gradient, the sum over measurements.
        gradient, rows = weighted.sum(1), []
        for j, p in enumerate(self.parameters):
            step = torch.zeros_like(theta)
            step[j] = _STEP * theta[j].abs().clamp(min=p.loss_scale)
            # Lanes are independent, so that one step of all of them is one evaluation.
            moved = (self.jacobian(theta + step)[1] * weights).sum(1)
            rows.append((moved - gradient) / step[j])
        return torch.stack(rows)

    def start(self, signals):
        """Starting point of each voxel, or None for those of the solver's own dictionary.

        Parameters
        ----------
        signals : tensor of shape (n_measurements, n_voxels)
            Measured signals.

        Returns
        -------
        tensor of shape (n_parameters, n_voxels) or None
            The only starting point if it is not None.
        """
        return

    def changes_sign(self):
        """Whether tissues within the bounds have signals of both signs, as after an inversion.

        A few hundred tissues from all over the bounds are tried; the prior takes the place of
        infinite bounds.

        Returns
        -------
        bool
            False where the signals of all tissues tried have one sign.
        """
        low, high = np.array([p.bounds for p in self.parameters]).T
        prior = np.array([p.prior for p in self.parameters]).T
        low, high = (
            np.where(np.isfinite(low), low, prior[0]),
            np.where(np.isfinite(high), high, prior[1]),
        )
        # Multiples of irrational numbers, modulo 1, fill the unit cube evenly (Weyl).
        steps = np.sqrt(np.arange(2, 2 + len(low)) + 0.5)
        unit = np.outer(np.arange(1, _TRIALS + 1), steps) % 1
        log = np.array([p.log for p in self.parameters]) & (low > 0)
        # Logarithmic axes have low * (high / low)^unit; others get a harmless ratio of 1.
        ratio = np.where(log, high / np.where(low > 0, low, 1.0), 1.0)
        tissues = np.where(log, low * ratio**unit, low + (high - low) * unit)
        signals = self.simulate(tissues)
        return bool((signals < 0).any() and (signals > 0).any())

    @property
    def parameter_names(self):
        """Names of the parameters, in the order of the columns of y."""
        return tuple(p.name for p in self.parameters)

    @property
    def n_measurements(self):
        """Number of measurements per voxel."""
        # Counted in a signal, as only the formula knows which acquisitions there are.
        middle = torch.tensor([[np.mean(p.prior)] for p in self.parameters], dtype=torch.float64)
        return self.signal(middle).shape[0]
