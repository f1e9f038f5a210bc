"""Tissue parameters of signal models: names, units, ranges."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """One tissue parameter of a signal model.

    Parameters
    ----------
    name : str
        Usual symbol in the field, e.g. ``"D_star"``.
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
        True where the signal is affine in this parameter, e.g. in a signal fraction. It is then
        eliminated from the search for starting points, which needs finite bounds.
    log : bool, default=False
        True where the parameter is better searched for on a logarithmic axis, which needs a
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
        """`scale`, or its default where that is None."""
        # A midpoint near 0 would be no scale of the errors.
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
        Parameter in the units of the signal, at least 0, with a prior from 0.8 to 1.2.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import amplitude
    >>> amplitude("S0").loss_scale
    1.0
    """
    return Parameter(name, "signal", (0.0, float("inf")), (0.8, 1.2), amplitude=True)
