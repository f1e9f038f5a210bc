"""The parts that every signal model shares: parameters, acquisition, identity by value."""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch

from .._value import Value
from ._units import likely_unit

_TRIALS = 256  # tissues at which the sign of the signal is looked at
_STEP = 2.0**-26  # square root of the precision of float64


@dataclass(frozen=True)
class Parameter:
    """One tissue parameter of a signal model.

    Parameters
    ----------
    name : str
        The field's usual symbol, e.g. ``"D_star"``.
    unit : str
        Unit of the values, e.g. ``"um^2/ms"``; empty for fractions.
    bounds : tuple of float
        Smallest and largest value that an estimate may take; may be infinite.
    prior : tuple of float
        Range from which tissues are simulated; finite.
    scale : float, default=None
        Divides the parameter's errors when errors of several parameters are added. None: the
        midpoint of the prior, or its half-width where the prior includes 0.
    amplitude : bool, default=False
        True where the signal is proportional to this parameter (jointly, where several are).
    affine : bool, default=False
        True where the signal is affine in this parameter, as in a signal fraction; it is then
        eliminated from the search for starting points. Needs finite bounds.
    log : bool, default=False
        True where the parameter is better searched for on a logarithmic axis; needs a
        positive lower bound.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import Parameter
    >>> Parameter("T2", "ms", bounds=(1, 3000), prior=(20, 300), log=True).loss_scale
    160.0
    """

    name: str
    unit: str
    bounds: tuple[float, float]
    prior: tuple[float, float]
    scale: float | None = None
    amplitude: bool = False
    affine: bool = False
    log: bool = False

    @property
    def loss_scale(self):
        """`scale`, or what stands for it where that is None."""
        low, high = self.prior
        if self.scale is not None:
            return self.scale
        return (high - low) / 2 if low <= 0 <= high else abs(low + high) / 2


def amplitude(name):
    """Parameter to which the signal is proportional, about 1 in simulations.

    Parameters
    ----------
    name : str
        Its symbol, e.g. ``"S0"``.

    Returns
    -------
    Parameter
        In the units of the signal, not negative, with a prior from 0.8 to 1.2.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import amplitude
    >>> amplitude("S0").loss_scale
    1.0
    """
    return Parameter(name, "signal", (0.0, float("inf")), (0.8, 1.2), amplitude=True)


class SignalModel(Value, ABC):
    """Base class of signal models.

    A subclass stores its acquisition in ``__init__`` exactly as given, declares `parameters`
    and computes `signal`. It may also override `jacobian`, `curvature` and `start`, which are
    exact or good enough without, but faster by hand. What an acquisition must not be is refused
    with a ValueError when the signal is first computed, not before.

    Arrays are torch tensors with the parameters (or measurements) along the *first* axis and
    voxels along the last, so that ``S0, D = theta`` unpacks them and a formula reads as printed.

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
    from scipy.stats import qmc
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
            Parameters in their own units.

        Returns
        -------
        tensor of shape (n_measurements, n_voxels)
            In the units of the amplitudes, on the device of `theta`.

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
            In order; ``...`` stands for the default of an argument that must be given.

        Examples
        --------
        >>> from sklearn_qmri.signal_models import T2Decay
        >>> T2Decay.arguments()
        {'echo_times': Ellipsis, 'offset': False}
        """
        spec = inspect.getfullargspec(cls.__init__)
        names, defaults = spec.args[1:], spec.defaults or ()
        needed = dict.fromkeys(names, ...)
        return needed | dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))

    def named_tissues(self):
        """Typical tissues by name, from the literature; empty where none are given.

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
            In their own units, in the order of `parameter_names`.

        Returns
        -------
        ndarray of shape (n_tissues, n_measurements)
            In float64, in the units of the amplitudes.

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
        theta = np.ascontiguousarray(np.asarray(parameters, dtype=np.float64).T)
        if theta.ndim != 2 or len(theta) != len(self.parameters):
            raise ValueError(
                f"simulate expects tissues of shape (n, {len(self.parameters)}) with columns "
                f"{list(self.parameter_names)}, got shape {theta.T.shape}."
            )
        return self.signal(torch.as_tensor(theta)).numpy().T

    def jacobian(self, theta):
        """Signal and its first derivatives; by forward-mode differentiation unless overridden.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Parameters in their own units.

        Returns
        -------
        signal : tensor of shape (n_measurements, n_voxels)
            As of `signal`.
        jacobian : tensor of shape (n_parameters, n_measurements, n_voxels)
            Its derivatives by each parameter.
        """
        columns = []
        for j in range(len(theta)):
            tangent = torch.zeros_like(theta)
            tangent[j] = 1.0
            signal, column = torch.func.jvp(self.signal, (theta,), (tangent,))
            columns.append(column)
        return signal, torch.stack(columns)

    def curvature(self, theta, weights, weighted):
        """Weighted sum of the signal's second derivatives, or None where not known.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Parameters in their own units.
        weights : tensor of shape (n_measurements, n_voxels)
            Of each measurement in the sum.
        weighted : tensor of shape (n_parameters, n_measurements, n_voxels)
            The jacobian at `theta` times the weights; second derivatives often are multiples
            of first ones.

        Returns
        -------
        tensor of shape (n_parameters, n_parameters, n_voxels) or None
            Only the upper triangle of the first two axes is read.
        """
        return

    def curvature_by_differences(self, theta, weights, weighted):
        """As `curvature`, by forward differences of the jacobian.

        Parameters
        ----------
        theta, weights, weighted : tensor
            As of `curvature`, in float64.

        Returns
        -------
        tensor of shape (n_parameters, n_parameters, n_voxels)
            Symmetric but for the error of the differences.
        """
        gradient, rows = weighted.sum(1), []
        for j, p in enumerate(self.parameters):
            step = torch.zeros_like(theta)
            step[j] = _STEP * theta[j].abs().clamp(min=p.loss_scale)
            moved = (self.jacobian(theta + step)[1] * weights).sum(1)
            rows.append((moved - gradient) / step[j])
        return torch.stack(rows)

    def start(self, signals):
        """Starting point of each voxel, or None for those of the solver's own dictionary.

        Parameters
        ----------
        signals : tensor of shape (n_measurements, n_voxels)
            As measured.

        Returns
        -------
        tensor of shape (n_parameters, n_voxels) or None
            Parameters; the only starting point then.
        """
        return

    def changes_sign(self):
        """Whether tissues within the bounds have signals of both signs, as after an inversion.

        Looked at for a few hundred tissues from all over the bounds, or the prior where a bound
        is infinite.

        Returns
        -------
        bool
            False where all signals that were looked at have one sign.
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
        middle = torch.tensor([[np.mean(p.prior)] for p in self.parameters], dtype=torch.float64)
        return self.signal(middle).shape[0]

    def acquisition(self, name, theta):
        """The acquisition attribute `name` as a column that broadcasts against rows of `theta`.

        Parameters
        ----------
        name : str
            Of an attribute with one value per measurement.
        theta : tensor
            Gives the column its type and device.

        Returns
        -------
        tensor of shape (n_measurements, 1)
            In the units of the attribute.

        Raises
        ------
        ValueError
            If it is not a non-empty 1-D sequence of finite real numbers of at least 0, or
            looks like having another unit.
        """
        given = getattr(self, name)
        owner = f"{type(self).__name__}({name}=...)"
        if np.iscomplexobj(given):
            raise ValueError(f"{owner} expects real numbers, got {given!r}.")
        try:
            values = np.asarray(given, dtype=np.float64)
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
        return torch.as_tensor(values, dtype=theta.dtype, device=theta.device)[:, None]

    def number(self, name, default=None):
        """The acquisition attribute `name` that is one positive number.

        Parameters
        ----------
        name : str
            Of the attribute.
        default : float, default=None
            What stands for an attribute that is None. None: such a one is refused.

        Returns
        -------
        float
            In the units of the attribute.

        Raises
        ------
        ValueError
            If it is anything else, or looks like having another unit.
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
            Of the attributes.

        Returns
        -------
        list of tensor of shape (n_measurements, 1)
            As of `acquisition`.

        Raises
        ------
        ValueError
            As of `acquisition`, or if they differ in length.
        """
        columns = [self.acquisition(name, theta) for name in names]
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            given = ", ".join(f"{n} {name}" for n, name in zip(lengths, names, strict=True))
            raise ValueError(f"{type(self).__name__} expects as many of each, got {given}.")
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
