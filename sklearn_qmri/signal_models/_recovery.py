"""Longitudinal relaxation: recovery of the signal after inversion, saturation or excitation."""

import torch

from ._closed_form import ClosedFormModel
from ._parameter import Parameter, amplitude

_S0 = amplitude("S0")
_T1 = Parameter("T1", "ms", (10.0, 6000.0), (300.0, 4500.0), log=True)
_ETA = Parameter("eta", "", (0.5, 1.0), (0.8, 1.0))


class InversionRecovery(ClosedFormModel):
    """Inversion recovery, signed or magnitude.

    ::

        S0 * (1 - (1 + eta) * exp(-TI / T1) + eta * exp(-TR / T1))

    Parameters
    ----------
    inversion_times : array-like of shape (n_measurements,)
        TI in ms.
    repetition_time : float, default=None
        TR in ms, from one inversion to the next, so that no TI exceeds it. None: so long that its
        term vanishes.
    magnitude : bool, default=False
        Whether the scanner's magnitude of the signal was measured (Rician noise), not a signed
        real part (Gaussian).

    Notes
    -----
    S0 in the units of the signal, T1 in ms, eta (inversion efficiency) without unit. `signal` is
    signed in either case: the Rician likelihood is even in it. With magnitudes, only inversion
    times around the null point, ``T1 * log(1 + eta)``, determine the sign. With a short TR, a
    spin-echo readout adds a term that this formula neglects.

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
        # A repetition time of 0 stands for an infinite one, whose exponential is 0.
        repeated = torch.exp(-repetition / T1) if repetition else torch.zeros_like(T1)
        return times, repetition, torch.exp(-times / T1), repeated

    def evaluate(self, theta, derivatives=False):
        S0, T1, eta = theta
        times, repetition, inverted, repeated = self._terms(theta)
        shape = 1 - (1 + eta) * inverted + eta * repeated
        if not derivatives:
            return S0 * shape
        # Chain rule: -t / T1 changes by t / T1^2 with T1, for t = TI and t = TR. By eta, the
        # formula has -exp(-TI / T1) + exp(-TR / T1).
        by_T1 = S0 * (eta * repeated * repetition - (1 + eta) * inverted * times) / T1**2
        return S0 * shape, [shape, by_T1, S0 * (repeated - inverted)]


class SaturationRecovery(ClosedFormModel):
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

    def evaluate(self, theta, derivatives=False):
        S0, T1, eta = theta
        times = self.acquisition("repetition_times", theta)
        missing = torch.exp(-times / T1)
        shape = 1 - eta * missing
        if not derivatives:
            return S0 * shape
        # Chain rule: -TR / T1 changes by TR / T1^2 with T1.
        by_T1 = -S0 * eta * missing * times / T1**2
        return S0 * shape, [shape, by_T1, -S0 * missing]


class SPGR(ClosedFormModel):
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

    def evaluate(self, theta, derivatives=False):
        S0, T1, B1 = theta
        angles = torch.deg2rad(self.acquisition("flip_angles", theta))
        repetition = self.number("repetition_time")
        recovery = torch.exp(-repetition / T1)
        sine, cosine = (B1 * angles).sin(), (B1 * angles).cos()
        below = 1 - cosine * recovery
        shape = sine * (1 - recovery) / below
        if not derivatives:
            return S0 * shape
        # Quotient rule for sin * (1 - E) / (1 - cos * E). By E, the numerator over below^2 is
        #   sin * (-(1 - cos * E) + (1 - E) * cos) = sin * (cos - 1),
        # and by the angle, with sin^2 + cos^2 = 1,
        #   (1 - E) * (cos * (1 - cos * E) - sin^2 * E) = (1 - E) * (cos - E).
        # E = exp(-TR / T1) changes by E * TR / T1^2 with T1, the angle by a with B1.
        by_recovery = S0 * sine * (cosine - 1) / below**2
        by_angle = S0 * (1 - recovery) * (cosine - recovery) / below**2
        by_T1 = by_recovery * recovery * repetition / T1**2
        return S0 * shape, [shape, by_T1, by_angle * angles]
