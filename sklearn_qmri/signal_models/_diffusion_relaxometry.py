"""Diffusion and relaxation measured together; both acquisitions have a value per measurement."""

import torch

from ._closed_form import ClosedFormModel
from ._diffusion import kurtosis_decay
from ._parameter import Parameter, amplitude
from ._spherical_mean import stick

_S0 = amplitude("S0")


class TwoCompartmentDiffusionT2(ClosedFormModel):
    """Two compartments, each with a diffusivity and a T2; the slower one with kurtosis.

    ::

        Sa = exp(-b * Da - TE / T2a)
        Sb = exp(-b * Db + b^2 * Db^2 * Kb / 6 - TE / T2b),    Db = kb * Da
        S0 * (v * Sa + (1 - v) * Sb)

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2; the expansion in Kb holds for b < 3 / (Db * Kb), see `Kurtosis`.
    echo_times : array-like of shape (n_measurements,)
        TE in ms.

    Notes
    -----
    S0 in the units of the signal; v (fraction of the faster compartment), kb (ratio of the
    diffusivities, 0 to 1, which orders them) and Kb (kurtosis) without unit; Da in um^2/ms; T2a and
    T2b in ms. Not identifiable are similar compartments (kb near 1), nearly empty ones (v near 0 or
    1), a compartment that has decayed at the shortest echo time (T2 of a few ms), and the Kb of a
    compartment that hardly diffuses (kb near 0).

    References
    ----------
    Model and ranges of the qMRINet toolbox, github.com/fragrussu/qMRINet; there Da and Db are both
    free.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import TwoCompartmentDiffusionT2
    >>> model = TwoCompartmentDiffusionT2([0, 1000, 0], [50, 50, 100])
    >>> model.simulate([[1.0, 0.5, 2.0, 0.2, 100.0, 50.0, 1.0]]).round(3)
    array([[0.487, 0.168, 0.252]])
    """

    parameters = (
        _S0,
        Parameter("v", "", (0.0, 1.0), (0.0, 1.0), affine=True),
        Parameter("Da", "um^2/ms", (0.01, 3.2), (0.01, 3.2)),
        Parameter("kb", "", (0.0, 1.0), (0.0, 1.0)),
        Parameter("T2a", "ms", (1.0, 800.0), (1.0, 800.0), log=True),
        Parameter("T2b", "ms", (1.0, 800.0), (1.0, 800.0), log=True),
        Parameter("Kb", "", (-0.5, 3.0), (-0.5, 3.0)),
    )

    def __init__(self, b_values, echo_times):
        self.b_values = b_values
        self.echo_times = echo_times

    def evaluate(self, theta, derivatives=False):
        b, times = self.acquisitions(theta, "b_values", "echo_times")
        b = b * 1e-3
        S0, v, Da, kb, T2a, T2b, Kb = theta
        bent, by_u, by_K = kurtosis_decay(b * kb * Da, Kb)
        fast = torch.exp(-b * Da - times / T2a)
        slow = bent * torch.exp(-times / T2b)
        contrast = fast - slow
        shape = slow + v * contrast
        if not derivatives:
            return S0 * shape
        # Derivatives of the slower decay are relative (over the decay). Its u = b * kb * Da changes
        # by b * kb with Da and by b * Da with kb. Da is in the faster decay too, which changes by
        # -b times itself. -TE / T2 changes by TE / T2^2 with T2.
        a, rest = S0 * v * fast, S0 * (1 - v) * slow
        by_u = rest * by_u
        return S0 * shape, [
            shape,
            S0 * contrast,
            by_u * b * kb - b * a,
            by_u * b * Da,
            a * times / T2a**2,
            rest * times / T2b**2,
            rest * by_K,
        ]


class ProstateHybrid(ClosedFormModel):
    """Lumen, epithelium and stroma of the prostate, each with a diffusivity and a T2.

    With E(D, T2) = exp(-b * D - TE / T2)::

        S0 * (vl * E_lumen + (1 - vl) * (v * E_epithelium + (1 - v) * E_stroma))

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2.
    echo_times : array-like of shape (n_measurements,)
        TE in ms.

    Notes
    -----
    S0 in the units of the signal; vl (lumen fraction) and v (fraction of epithelium in the rest)
    without unit; D_lumen, D_epithelium and D_stroma in um^2/ms, with bounds that do not overlap;
    T2_lumen, T2_epithelium and T2_stroma in ms. The parameters of a nearly empty compartment are
    not identifiable.

    References
    ----------
    Chatterjee et al., Radiology 2018;287:864. Grussu et al., Front Phys 2021;9:752208. Ranges as
    in the qMRINet toolbox, github.com/fragrussu/qMRINet.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import ProstateHybrid
    >>> model = ProstateHybrid([0, 1500], [57, 200])
    >>> model.simulate([[1.0, 0.2, 0.5, 2.5, 0.5, 1.2, 500.0, 50.0, 80.0]]).round(3)
    array([[0.503, 0.012]])
    """

    parameters = (
        _S0,
        Parameter("vl", "", (0.0, 1.0), (0.0, 1.0), affine=True),
        Parameter("v", "", (0.0, 1.0), (0.0, 1.0)),
        Parameter("D_lumen", "um^2/ms", (2.0, 3.0), (2.0, 3.0)),
        Parameter("D_epithelium", "um^2/ms", (0.1, 0.7), (0.1, 0.7)),
        Parameter("D_stroma", "um^2/ms", (0.7, 2.0), (0.7, 2.0)),
        Parameter("T2_lumen", "ms", (300.0, 1000.0), (300.0, 1000.0)),
        Parameter("T2_epithelium", "ms", (20.0, 70.0), (20.0, 70.0)),
        Parameter("T2_stroma", "ms", (40.0, 150.0), (40.0, 150.0)),
    )

    def __init__(self, b_values, echo_times):
        self.b_values = b_values
        self.echo_times = echo_times

    def evaluate(self, theta, derivatives=False):
        b, times = self.acquisitions(theta, "b_values", "echo_times")
        b = b * 1e-3
        S0, vl, v = theta[:3]
        diffusivities, relaxation_times = theta[3:6], theta[6:9]
        pairs = zip(diffusivities, relaxation_times, strict=True)
        lumen, epithelium, stroma = (torch.exp(-b * D - times / T2) for D, T2 in pairs)
        rest = v * epithelium + (1 - v) * stroma
        shape = vl * lumen + (1 - vl) * rest
        if not derivatives:
            return S0 * shape
        # A compartment's share of the signal changes by -b times itself with its D, and by
        # TE / T2^2 times itself with its T2. A fraction moves signal between its two sides.
        shares = S0 * vl * lumen, S0 * (1 - vl) * v * epithelium, S0 * (1 - vl) * (1 - v) * stroma
        return S0 * shape, [
            shape,
            S0 * (lumen - rest),
            S0 * (1 - vl) * (epithelium - stroma),
            *(-b * share for share in shares),
            *(share * times / T2**2 for share, T2 in zip(shares, relaxation_times, strict=True)),
        ]


class SIRSphericalMean(ClosedFormModel):
    """Spherical mean of a diffusion tensor after saturation and inversion, SIR-SMDT.

    With g the spherical mean of a stick (see `SphericalMeanTwoCompartment`)::

        Dperp = kperp * Dpar
        S0 * (1 - (2 - exp(-TD / T1)) * exp(-TI / T1)) * exp(-b * Dperp) * g(b * (Dpar - Dperp))

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2, of the shells; signals are their means, see `powder_average`.
    inversion_times : array-like of shape (n_measurements,)
        TI in ms.
    delay_times : array-like of shape (n_measurements,)
        TD between saturation and inversion, in ms.
    magnitude : bool, default=True
        Whether magnitudes were measured (Rician noise), not a signed real part (Gaussian).

    Notes
    -----
    S0 in the units of the signal, Dpar in um^2/ms, kperp (Dperp over Dpar) without unit, T1 in
    ms. `signal` is signed in either case: the Rician likelihood is even in it. For means over
    directions that likelihood is an approximation: they have less noise, but the noise floor of one
    measurement. kperp is identifiable only with two nonzero shells, and not where Dpar is near 0.

    References
    ----------
    Grussu et al., CDMRI 2020 (bioRxiv 2020.10.20.347625). Ranges as in the qMRINet toolbox,
    github.com/fragrussu/qMRINet.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import SIRSphericalMean
    >>> model = SIRSphericalMean([0, 1000], [2000, 2000], [500, 500])
    >>> model.simulate([[1.0, 2.0, 0.3, 1000.0]]).round(3)
    array([[0.811, 0.302]])
    """

    parameters = (
        _S0,
        Parameter("Dpar", "um^2/ms", (0.01, 3.2), (0.01, 3.2)),
        Parameter("kperp", "", (0.0, 0.99), (0.0, 0.99)),
        Parameter("T1", "ms", (100.0, 4000.0), (100.0, 4000.0), log=True),
    )

    def __init__(self, b_values, inversion_times, delay_times, magnitude=True):
        self.b_values = b_values
        self.inversion_times = inversion_times
        self.delay_times = delay_times
        self.magnitude = magnitude

    def evaluate(self, theta, derivatives=False):
        b, inversion, delay = self.acquisitions(theta, "b_values", "inversion_times", "delay_times")
        b = b * 1e-3
        S0, Dpar, kperp, T1 = theta
        u = b * Dpar
        mean, slope = stick(u * (1 - kperp))
        radial = torch.exp(-u * kperp)
        weighting = radial * mean
        saturated, inverted = torch.exp(-delay / T1), torch.exp(-inversion / T1)
        recovered = 1 - (2 - saturated) * inverted
        shape = recovered * weighting
        if not derivatives:
            return S0 * shape
        # Product rule for exp(-u * kperp) * g(u * (1 - kperp)), with g' the slope: by u,
        #   radial * ((1 - kperp) * g' - kperp * g),
        # and by kperp, -u * radial * (g + g'). exp(-t / T1) changes by t / T1^2 times itself, so
        # that 1 - (2 - s) * i, with s and i those of TD and TI, changes by
        #   (s * TD - (2 - s) * TI) * i / T1^2.
        by_u = radial * ((1 - kperp) * slope - kperp * mean)
        by_kperp = -u * radial * (mean + slope)
        by_T1 = (saturated * delay - (2 - saturated) * inversion) * inverted / T1**2
        part = S0 * recovered
        return S0 * shape, [shape, part * by_u * b, part * by_kperp, S0 * weighting * by_T1]
