"""Diffusion-weighted signals, of one direction or of a trace."""

import torch

from ._closed_form import ClosedFormModel
from ._parameter import Parameter, amplitude


class ADC(ClosedFormModel):
    """Mono-exponential diffusion signal, apparent diffusion coefficient.

    ::

        S0 * exp(-b * D)

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2.

    Notes
    -----
    S0 in the units of the signal, D in um^2/ms (1e-3 mm^2/s). The prior reaches from dense tumours
    to free water; bounds leave room on both sides.

    References
    ----------
    Le Bihan et al., Radiology 1986;161:401.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import ADC
    >>> ADC([0, 1000]).simulate([[1.0, 1.0]]).round(3)
    array([[1.   , 0.368]])
    """

    parameters = (
        amplitude("S0"),
        Parameter("D", "um^2/ms", (0.01, 4.0), (0.3, 3.0), log=True),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        b, (S0, D) = self.b(theta), theta
        decay = torch.exp(-b * D)
        signal = S0 * decay
        return (signal, [decay, -b * signal]) if derivatives else signal


def kurtosis_decay(u, K):
    """``exp(-u + u^2 * K / 6)`` with u = b * D, and its relative derivatives by u and K.

    The expansion holds for u < 3 / K. There it has its minimum. For larger u the signal stays at
    this minimum instead of growing without limit.
    """
    # Exponent -u + u^2 K / 6: its derivative by u, u K / 3 - 1, vanishes at u = 3 / K. Clipping u
    # makes that 0 beyond, too. By K the derivative is u^2 / 6, also beyond, where u = 3 / K makes
    # the exponent -3 / (2 K), with the derivative 3 / (2 K^2) = u^2 / 6.
    u = torch.where(K > 0, torch.minimum(u, 3 / K.clamp(min=1e-6)), u)
    return torch.exp(-u + u * u * K / 6), u * K / 3 - 1, u * u / 6


class Kurtosis(ClosedFormModel):
    """Diffusional kurtosis along one direction, or of a trace.

    ::

        S0 * exp(-b * D + b^2 * D^2 * K / 6)

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2; the expansion holds for b < 3 / (D * K), where it has its minimum. For larger
        b-values the signal stays at this minimum.

    Notes
    -----
    S0 in the units of the signal, D in um^2/ms, K without unit. Needs at least two b-values
    beyond 0. Ranges cover the values of tissue in the review below, up to free water.

    References
    ----------
    Jensen and Helpern, NMR Biomed 2010;23:698.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import Kurtosis
    >>> Kurtosis([0, 1000]).simulate([[1.0, 1.0, 1.2]]).round(3)
    array([[1.   , 0.449]])
    """

    parameters = (
        amplitude("S0"),
        Parameter("D", "um^2/ms", (0.1, 4.0), (0.3, 3.0)),
        Parameter("K", "", (0.0, 3.0), (0.2, 2.0)),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        b, (S0, D, K) = self.b(theta), theta
        decay, by_u, by_K = kurtosis_decay(b * D, K)
        signal = S0 * decay
        if not derivatives:
            return signal
        # Derivatives of the decay are relative (over the decay), and u = b * D changes by b with D.
        return signal, [decay, signal * b * by_u, signal * by_K]


class StretchedExponential(ClosedFormModel):
    """Stretched-exponential diffusion signal.

    ::

        S0 * exp(-(b * DDC)^alpha)

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2.

    Notes
    -----
    S0 in the units of the signal, DDC (distributed diffusion coefficient) in um^2/ms, alpha
    (heterogeneity index: 1 for one exponential) without unit. Needs at least two b-values
    beyond 0. Ranges are those of the cortex in the reference, widened.

    References
    ----------
    Bennett et al., Magn Reson Med 2003;50:727.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import StretchedExponential
    >>> StretchedExponential([0, 1000, 4000]).simulate([[1.0, 1.0, 0.5]]).round(3)
    array([[1.   , 0.368, 0.135]])
    """

    parameters = (
        amplitude("S0"),
        Parameter("DDC", "um^2/ms", (0.01, 5.0), (0.3, 3.0), log=True),
        Parameter("alpha", "", (0.1, 1.0), (0.5, 1.0)),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        S0, DDC, alpha = theta
        u = self.b(theta) * DDC
        exponent = u**alpha
        decay = torch.exp(-exponent)
        signal = S0 * decay
        if not derivatives:
            return signal
        # u^alpha = exp(alpha * log u) changes by u^alpha * alpha / DDC with DDC, and by
        # u^alpha * log u with alpha. The latter tends to 0 with u, where log u is infinite.
        slope = -signal * exponent
        by_alpha = torch.where(u > 0, slope * torch.log(u.clamp(min=1e-30)), 0.0)
        return signal, [decay, slope * alpha / DDC, by_alpha]


class TriExponential(ClosedFormModel):
    """Tri-exponential diffusion signal: tissue, and slow and fast perfusion.

    ::

        S0 * (f2 * exp(-b * D2) + (1 - f2) * (f1 * exp(-b * D1) + (1 - f1) * exp(-b * D)))

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2.

    Notes
    -----
    S0 in the units of the signal; D, D1 and D2 in um^2/ms, with bounds that do not overlap; f2
    is the fraction of the signal with D2, and f1 the fraction *of the rest* with D1, so that no sum
    of fractions exceeds 1. D1 has the fraction ``f1 * (1 - f2)`` of the whole. D2 needs b-values
    near its own scale (1 to 5 s/mm^2); without them it is not identifiable.

    References
    ----------
    Cercueil et al., Eur Radiol 2015;25:1541; ranges as in github.com/oliverchampion/IVIMNET.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import TriExponential
    >>> TriExponential([0, 1000]).simulate([[1.0, 0.2, 0.1, 1.0, 20.0, 500.0]]).round(3)
    array([[1.   , 0.265]])
    """

    parameters = (
        amplitude("S0"),
        Parameter("f1", "", (0.0, 1.0), (0.05, 0.3)),
        Parameter("f2", "", (0.0, 1.0), (0.05, 0.3), affine=True),
        Parameter("D", "um^2/ms", (0.0, 8.0), (0.5, 3.0)),
        Parameter("D1", "um^2/ms", (8.0, 80.0), (10.0, 50.0), log=True),
        Parameter("D2", "um^2/ms", (80.0, 5000.0), (200.0, 4000.0), log=True),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        b, (S0, f1, f2, *diffusivities) = self.b(theta), theta
        slow, middle, fast = (torch.exp(-b * D) for D in diffusivities)
        rest = f1 * middle + (1 - f1) * slow
        shape = f2 * fast + (1 - f2) * rest
        if not derivatives:
            return S0 * shape
        # A fraction moves signal between its two sides; a diffusivity changes its compartment
        # by -b times that compartment's share.
        return S0 * shape, [
            shape,
            S0 * (1 - f2) * (middle - slow),
            S0 * (fast - rest),
            -b * S0 * (1 - f2) * (1 - f1) * slow,
            -b * S0 * (1 - f2) * f1 * middle,
            -b * S0 * f2 * fast,
        ]
