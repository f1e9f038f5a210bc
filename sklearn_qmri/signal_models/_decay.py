"""Transverse relaxation: decay of the signal over echo times."""

import torch

from ._closed_form import ClosedFormModel
from ._parameter import Parameter, amplitude

_S0 = amplitude("S0")


class T2Decay(ClosedFormModel):
    """Mono-exponential T2 decay.

    ::

        S0 * exp(-TE / T2) + offset

    Parameters
    ----------
    echo_times : array-like of shape (n_measurements,)
        TE in ms.
    offset : bool, default=False
        Whether there is a constant offset, a third parameter. For noise floors, Rician noise is a
        better remedy.

    Notes
    -----
    S0 and offset in the units of the signal, T2 in ms. With an offset at least three echo times
    are needed, and T2 well above the longest of them is not identifiable.

    References
    ----------
    Hahn, Phys Rev 1950;80:580. Bounds as in qMRLab; cerebrospinal fluid is beyond the prior.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import T2Decay
    >>> T2Decay([0, 80]).simulate([[1.0, 80.0]]).round(3)
    array([[1.   , 0.368]])
    """

    def __init__(self, echo_times, offset=False):
        self.echo_times = echo_times
        self.offset = offset

    @property
    def parameters(self):
        """S0, T2 and, if there is one, the offset."""
        offset = Parameter("offset", "signal", (0.0, float("inf")), (0.0, 0.2), amplitude=True)
        decay = (_S0, Parameter("T2", "ms", (1.0, 3000.0), (20.0, 300.0), log=True))
        return (*decay, offset) if self.offset else decay

    def evaluate(self, theta, derivatives=False):
        S0, T2, *offset = theta
        times = self.acquisition("echo_times", theta)
        decay = torch.exp(-times / T2)
        decayed = S0 * decay
        signal = decayed + offset[0] if offset else decayed
        if not derivatives:
            return signal
        # Chain rule: -TE / T2 changes by TE / T2^2 with T2.
        # An offset has the derivative 1.
        return signal, [decay, decayed * times / T2**2, *(torch.ones_like(decay) for _ in offset)]


class BiexponentialT2(ClosedFormModel):
    """Two T2 components: water between myelin sheaths, and the rest.

    ::

        S0 * (MWF * exp(-TE / T2s) + (1 - MWF) * exp(-TE / T2l))

    Parameters
    ----------
    echo_times : array-like of shape (n_measurements,)
        TE in ms.

    Notes
    -----
    S0 in the units of the signal, MWF (myelin water fraction) without unit, T2s and T2l (short
    and long) in ms, with bounds that do not overlap. Where MWF is near 0, T2s is not identifiable.

    References
    ----------
    MacKay et al., Magn Reson Med 1994;31:673. Ranges as in qMRLab (mwf).

    Examples
    --------
    >>> from sklearn_qmri.signal_models import BiexponentialT2
    >>> BiexponentialT2([0, 20]).simulate([[1.0, 0.5, 20.0, 80.0]]).round(3)
    array([[1.   , 0.573]])
    """

    parameters = (
        _S0,
        Parameter("MWF", "", (0.0, 1.0), (0.0, 0.3), affine=True),
        Parameter("T2s", "ms", (5.0, 40.0), (10.0, 35.0), log=True),
        Parameter("T2l", "ms", (40.0, 200.0), (60.0, 120.0), log=True),
    )

    def __init__(self, echo_times):
        self.echo_times = echo_times

    def evaluate(self, theta, derivatives=False):
        S0, MWF, T2s, T2l = theta
        times = self.acquisition("echo_times", theta)
        short, long = torch.exp(-times / T2s), torch.exp(-times / T2l)
        shape = MWF * short + (1 - MWF) * long
        if not derivatives:
            return S0 * shape
        # Chain rule: -TE / T2 changes by TE / T2^2 with T2, and only its own compartment with it.
        # The fraction moves signal from the long compartment to the short one.
        return S0 * shape, [
            shape,
            S0 * (short - long),
            S0 * MWF * short * times / T2s**2,
            S0 * (1 - MWF) * long * times / T2l**2,
        ]


class R2StarDecay(ClosedFormModel):
    """Mono-exponential decay of a multi-echo gradient-echo signal.

    ::

        S0 * exp(-TE * R2_star / 1000)

    Parameters
    ----------
    echo_times : array-like of shape (n_measurements,)
        TE in ms.

    Notes
    -----
    S0 in the units of the signal, R2_star in 1/s. The prior covers tissue from brain to mild iron
    overload, the bounds also severe overload.

    References
    ----------
    Wood et al., Blood 2005;106:1460 (liver iron).

    Examples
    --------
    >>> from sklearn_qmri.signal_models import R2StarDecay
    >>> R2StarDecay([0, 20]).simulate([[1.0, 50.0]]).round(3)
    array([[1.   , 0.368]])
    """

    parameters = (
        _S0,
        Parameter("R2_star", "1/s", (0.5, 1000.0), (10.0, 100.0), log=True),
    )

    def __init__(self, echo_times):
        self.echo_times = echo_times

    def evaluate(self, theta, derivatives=False):
        S0, R2_star = theta
        # Echo times in s, for rates in 1/s.
        times = self.acquisition("echo_times", theta) * 1e-3
        decay = torch.exp(-times * R2_star)
        signal = S0 * decay
        return (signal, [decay, -times * signal]) if derivatives else signal
