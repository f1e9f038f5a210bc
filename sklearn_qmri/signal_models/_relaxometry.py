"""Relaxation times and rates."""

import torch

from ._base import Parameter, SignalModel, amplitude

_S0 = amplitude("S0")
_T1 = Parameter("T1", "ms", (10.0, 6000.0), (300.0, 4500.0), log=True)
_ETA = Parameter("eta", "", (0.5, 1.0), (0.8, 1.0))


class T2Decay(SignalModel):
    """Mono-exponential T2 decay.

    ::

        S0 * exp(-TE / T2) + offset

    Parameters
    ----------
    echo_times : array-like of shape (n_measurements,)
        TE in ms.
    offset : bool, default=False
        Whether there is a constant offset, a fourth of its own (noise floors have a better remedy:
        Rician noise).

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

    def signal(self, theta):
        """Noise-free signal; see `SignalModel.signal`."""
        S0, T2, *offset = theta
        return S0 * torch.exp(-self.acquisition("echo_times", theta) / T2) + sum(offset)

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, T2, *offset = theta
        times = self.acquisition("echo_times", theta)
        decay = torch.exp(-times / T2)
        signal = S0 * decay
        columns = [decay, signal * times / T2**2, *(torch.ones_like(decay) for _ in offset)]
        return signal + sum(offset), torch.stack(columns)


class BiexponentialT2(SignalModel):
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

    def signal(self, theta):
        """Noise-free signal; see `SignalModel.signal`."""
        S0, MWF, T2s, T2l = theta
        times = self.acquisition("echo_times", theta)
        return S0 * (MWF * torch.exp(-times / T2s) + (1 - MWF) * torch.exp(-times / T2l))

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, MWF, T2s, T2l = theta
        times = self.acquisition("echo_times", theta)
        short, long = torch.exp(-times / T2s), torch.exp(-times / T2l)
        shape = MWF * short + (1 - MWF) * long
        columns = [
            shape,
            S0 * (short - long),
            S0 * MWF * short * times / T2s**2,
            S0 * (1 - MWF) * long * times / T2l**2,
        ]
        return S0 * shape, torch.stack(columns)


class R2StarDecay(SignalModel):
    """Mono-exponential decay of a multi-echo gradient-echo signal.

    ::

        S0 * exp(-TE * R2_star / 1000)

    Parameters
    ----------
    echo_times : array-like of shape (n_measurements,)
        TE in ms.

    Notes
    -----
    S0 in the units of the signal, R2_star in 1/s. The prior holds tissue from brain to mild iron
    overload, bounds also a severe one.

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

    def signal(self, theta):
        """Noise-free signal; see `SignalModel.signal`."""
        S0, R2_star = theta
        return S0 * torch.exp(-self.acquisition("echo_times", theta) * 1e-3 * R2_star)

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, R2_star = theta
        times = self.acquisition("echo_times", theta) * 1e-3
        decay = torch.exp(-times * R2_star)
        return S0 * decay, torch.stack([decay, -times * S0 * decay])


class InversionRecovery(SignalModel):
    """Inversion recovery, signed or magnitude.

    ::

        S0 * (1 - (1 + eta) * exp(-TI / T1) + eta * exp(-TR / T1))

    Parameters
    ----------
    inversion_times : array-like of shape (n_measurements,)
        TI in ms.
    repetition_time : float, default=None
        TR in ms, from one inversion to the next. None: long enough that its term vanishes.
    magnitude : bool, default=False
        Whether the scanner's magnitude of the signal was measured (Rician noise), not a signed
        real part (Gaussian).

    Notes
    -----
    S0 in the units of the signal, T1 in ms, eta (inversion efficiency) without unit. `signal` is
    signed in either case: the Rician likelihood is even in it. Magnitudes leave it to the
    inversion times around the null point, ``T1 * log(1 + eta)``, to tell the sign. With a short TR
    a spin-echo readout adds a term that this leaves out.

    References
    ----------
    Barral et al., Magn Reson Med 2010;64:1057. Bounds as in qMRLab; 3 T: white matter about 1000
    ms, grey matter 1500 ms, cerebrospinal fluid 3400 ms.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import InversionRecovery
    >>> InversionRecovery([0, 693.147]).simulate([[1.0, 1000.0, 1.0]]).round(3) + 0
    array([[-1.,  0.]])
    """

    parameters = (_S0, _T1, _ETA)

    def __init__(self, inversion_times, repetition_time=None, magnitude=False):
        self.inversion_times = inversion_times
        self.repetition_time = repetition_time
        self.magnitude = magnitude

    def _terms(self, theta):
        _, T1, _ = theta
        times = self.acquisition("inversion_times", theta)
        repetition = self.number("repetition_time", 0.0)
        if 0 < repetition < times.max():
            raise ValueError(
                f"InversionRecovery(repetition_time={repetition:g}) is less than the longest of "
                f"its inversion_times, {times.max():g} ms: does it mean seconds?"
            )
        repeated = torch.exp(-repetition / T1) if repetition else torch.zeros_like(T1)
        return times, repetition, torch.exp(-times / T1), repeated

    def signal(self, theta):
        """Noise-free signal, with its sign; see `SignalModel.signal`."""
        S0, _, eta = theta
        *_, inverted, repeated = self._terms(theta)
        return S0 * (1 - (1 + eta) * inverted + eta * repeated)

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, T1, eta = theta
        times, repetition, inverted, repeated = self._terms(theta)
        shape = 1 - (1 + eta) * inverted + eta * repeated
        by_T1 = S0 * (eta * repeated * repetition - (1 + eta) * inverted * times) / T1**2
        return S0 * shape, torch.stack([shape, by_T1, S0 * (repeated - inverted)])


class SaturationRecovery(SignalModel):
    """Saturation recovery with several repetition times.

    ::

        S0 * (1 - eta * exp(-TR / T1))

    Parameters
    ----------
    repetition_times : array-like of shape (n_measurements,)
        TR in ms.

    Notes
    -----
    S0 in the units of the signal, T1 in ms, eta (saturation efficiency) without unit. T1 well
    above the longest repetition time is not identifiable.

    References
    ----------
    Markley et al., J Chem Phys 1971;55:3604. Bounds as in qMRLab.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import SaturationRecovery
    >>> SaturationRecovery([0, 1000]).simulate([[1.0, 1000.0, 1.0]]).round(3)
    array([[0.   , 0.632]])
    """

    parameters = (_S0, _T1, _ETA)

    def __init__(self, repetition_times):
        self.repetition_times = repetition_times

    def signal(self, theta):
        """Noise-free signal; see `SignalModel.signal`."""
        S0, T1, eta = theta
        return S0 * (1 - eta * torch.exp(-self.acquisition("repetition_times", theta) / T1))

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, T1, eta = theta
        times = self.acquisition("repetition_times", theta)
        missing = torch.exp(-times / T1)
        shape = 1 - eta * missing
        by_T1 = -S0 * eta * missing * times / T1**2
        return S0 * shape, torch.stack([shape, by_T1, -S0 * missing])


class SPGR(SignalModel):
    """Spoiled gradient echo with variable flip angles, for T1.

    ::

        S0 * sin(B1 * a) * (1 - E) / (1 - cos(B1 * a) * E),    E = exp(-TR / T1)

    Parameters
    ----------
    flip_angles : array-like of shape (n_measurements,)
        Nominal angles a in degrees.
    repetition_time : float
        TR in ms.

    Notes
    -----
    S0 in the units of the signal, T1 in ms, B1 (actual over nominal flip angle) without unit. T1
    and B1 are not identifiable together: give B1 by ``fixed``, one value for all voxels or one
    per voxel from a B1 map.

    References
    ----------
    Deoni et al., Magn Reson Med 2003;49:515. Bounds as in qMRLab (vfa_t1).

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.signal_models import SPGR
    >>> model = SPGR([2, 5, 10, 15, 20], repetition_time=15)
    >>> X = model.simulate([[1.0, 1000.0, 0.9], [1.0, 1500.0, 1.1]])
    >>> mle = MLEEstimator(model, sigma=0.001, fixed={"B1": 1.0}).fit(X)
    >>> mle.estimate(X, fixed={"B1": [0.9, 1.1]}).parameters[:, 1].round()
    array([1000., 1500.])
    """

    parameters = (
        _S0,
        Parameter("T1", "ms", (10.0, 6000.0), (300.0, 3500.0), log=True),
        Parameter("B1", "", (0.5, 1.5), (0.8, 1.2)),
    )

    def __init__(self, flip_angles, repetition_time):
        self.flip_angles = flip_angles
        self.repetition_time = repetition_time

    def _terms(self, theta):
        _, T1, B1 = theta
        angles = torch.deg2rad(self.acquisition("flip_angles", theta))
        repetition = self.number("repetition_time")
        return angles, repetition, torch.exp(-repetition / T1), B1 * angles

    def signal(self, theta):
        """Noise-free signal; see `SignalModel.signal`."""
        _, _, recovery, actual = self._terms(theta)
        return theta[0] * actual.sin() * (1 - recovery) / (1 - actual.cos() * recovery)

    def jacobian(self, theta):
        """Signal and its derivatives; see `SignalModel.jacobian`."""
        S0, T1, _ = theta
        angles, repetition, recovery, actual = self._terms(theta)
        sine, cosine = actual.sin(), actual.cos()
        below = 1 - cosine * recovery
        shape = sine * (1 - recovery) / below
        by_recovery = S0 * sine * (cosine - 1) / below**2
        by_angle = S0 * (1 - recovery) * (cosine - recovery) / below**2
        columns = [shape, by_recovery * recovery * repetition / T1**2, by_angle * angles]
        return S0 * shape, torch.stack(columns)
