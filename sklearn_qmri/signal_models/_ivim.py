"""Intravoxel incoherent motion."""

from typing import ClassVar

import torch

from ..derived import additive_of_total
from ._closed_form import ClosedFormModel
from ._diffusion import kurtosis_decay
from ._parameter import Parameter, amplitude

_S0 = amplitude("S0")

_PARAMETERS = {
    "additive": (
        _S0,
        Parameter("f", "", (0.0, 1.0), (0.1, 0.5), affine=True),
        Parameter("D", "um^2/ms", (0.01, 4.0), (0.4, 3.0)),
        Parameter("D_star", "um^2/ms", (2.0, 300.0), (10.0, 150.0), log=True),
    ),
    "total": (
        _S0,
        Parameter("f", "", (0.0, 1.0), (0.05, 0.55), affine=True),
        Parameter("D", "um^2/ms", (0.0, 5.0), (0.5, 3.0)),
        Parameter("D_star", "um^2/ms", (5.0, 200.0), (10.0, 100.0), log=True),
    ),
}

# f, D and total D_star, from the file named in the docstring of IVIM.
_TISSUES = {
    "brain": (0.076, 0.83, 10.9),
    "kidney": (0.19, 1.89, 40.5),
    "liver": (0.23, 1.09, 70.0),
    "muscle": (0.10, 1.47, 30.9),
}


class _Conventions(ClosedFormModel):
    """Shared parts of models whose D_star may include D or be added to it."""

    _by_convention: ClassVar = {}

    @property
    def parameters(self):
        """Parameters with the bounds and priors of the convention."""
        conventions = self._by_convention
        if self.convention not in conventions:
            raise ValueError(
                f"{type(self).__name__}(convention=...) expects one of {list(conventions)}, "
                f"got {self.convention!r}."
            )
        return conventions[self.convention]

    @property
    def _additive(self):
        return self.convention == "additive"


class IVIM(_Conventions):
    """Bi-exponential diffusion and perfusion signal, intravoxel incoherent motion.

    With ``convention="additive"`` (arXiv 2205.05587), whose compartments cannot swap::

        S0 * (f * exp(-b * (D + D_star)) + (1 - f) * exp(-b * D))

    and with ``convention="total"`` (the consensus form of OSIPI and DIPY)::

        S0 * (f * exp(-b * D_star) + (1 - f) * exp(-b * D))

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        b-values in s/mm^2, in the order of the columns of X.
    convention : {"additive", "total"}, default="additive"
        Meaning of D_star. Bounds and priors differ too.

    Notes
    -----
    Tissue parameters: S0 (units of the signal), f (perfusion fraction, 0-1), D and D_star in
    um^2/ms (1e-3 mm^2/s). Ranges are those of Epstein et al. (additive; f up to 1 instead of 0.5),
    or bounds of the OSIPI code collection and the prior of Kaandorp et al. (total). Brain, kidney,
    liver and muscle are `named_tissues` with S0 = 1. They are the mean tissues on which that
    collection is tested (tests/IVIMmodels/unit_tests/generic.json).

    References
    ----------
    Le Bihan et al., Radiology 1988;168:497. Epstein et al., arXiv 2205.05587. Kaandorp et al.,
    Magn Reson Med 2021;86:2250. OSIPI: github.com/OSIPI/TF2.4_IVIM-MRI_CodeCollection.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import IVIM
    >>> IVIM([0, 50, 800]).parameter_names
    ('S0', 'f', 'D', 'D_star')
    """

    _by_convention = _PARAMETERS

    def __init__(self, b_values, convention="additive"):
        self.b_values = b_values
        self.convention = convention

    def named_tissues(self):
        return {
            name: (1.0, f, D, float(additive_of_total(D, D_star)) if self._additive else D_star)
            for name, (f, D, D_star) in _TISSUES.items()
        }

    def evaluate(self, theta, derivatives=False):
        b, (S0, f, D, D_star) = self.b(theta), theta
        slow = torch.exp(-b * D)
        fast = torch.exp(-b * D_star)
        if self._additive:
            fast = fast * slow  # exp(-b * (D + D_star))
        # This model is fitted most often. Its derivatives are written straight to where they are
        # needed, (n_parameters, n_measurements, n_voxels), which saves temporary arrays.
        columns = slow.new_empty(4, *slow.shape) if derivatives else [None] * 4
        by_S0, by_f, by_D, by_D_star = columns
        signal = S0 * torch.lerp(slow, fast, f, out=by_S0)  # slow + f * (fast - slow)
        if not derivatives:
            return signal
        torch.sub(fast, slow, out=by_f).mul_(S0)
        # A diffusivity changes its compartment by -b times that compartment. If D_star is added to
        # D, D is in both compartments and changes the whole signal by -b times the signal.
        torch.mul(fast, -b, out=by_D_star).mul_(S0 * f)
        if self._additive:
            torch.mul(signal, -b, out=by_D)
        else:
            torch.mul(slow, -b, out=by_D).mul_(S0 * (1 - f))
        return signal, columns

    def curvature(self, theta, weights, weighted):
        # Second derivatives are multiples of first ones: the signal is proportional to S0, so that
        # d^2 s / d S0 d p = (ds / dp) / S0, and linear in f. A diffusivity multiplies by -b.
        b = self.b(theta)
        S0, f, _, _ = theta
        plain = weighted.sum(1)
        times_b = (weighted * b).sum(1)
        curvature = plain.new_zeros(4, 4, plain.shape[-1])  # only its upper triangle is read
        curvature[0, 1:] = plain[1:] / S0.clamp(min=torch.finfo(S0.dtype).tiny)
        # S0 * exp(-b * D_slow) and S0 * exp(-b * D_fast), each times -b, weighted and summed. With
        # s the signal and c = ds / df their difference, they are s - f * c and s + (1 - f) * c.
        slow = -S0 * times_b[0] + f * times_b[1]
        fast = -S0 * times_b[0] - (1 - f) * times_b[1]
        curvature[1, 3] = fast
        curvature[3, 3] = -times_b[3]
        if self._additive:
            # D is in both compartments: any derivative times -b is the one by D as well.
            curvature[1, 2] = -times_b[1]
            curvature[2, 2] = -times_b[2]
            curvature[2, 3] = -times_b[3]
        else:
            # D is in the compartment of 1 - f only, and shares none with D_star.
            curvature[1, 2] = -slow
            curvature[2, 2] = -times_b[2]
        return curvature


_DECAYS = (
    _S0,
    Parameter("f", "", (0.0, 0.5), (0.02, 0.3), affine=True),
    Parameter("D", "um^2/ms", (0.1, 4.0), (0.4, 1.5)),
)
_KURTOSIS = {
    "additive": (
        *_DECAYS,
        Parameter("D_star", "um^2/ms", (3.0, 300.0), (5.0, 100.0), log=True),
        Parameter("K", "", (0.0, 3.0), (0.2, 1.5)),
    ),
    "total": (
        *_DECAYS,
        Parameter("D_star", "um^2/ms", (4.0, 300.0), (5.0, 100.0), log=True),
        Parameter("K", "", (0.0, 3.0), (0.2, 1.5)),
    ),
}


class IVIMKurtosis(_Conventions):
    """Intravoxel incoherent motion with kurtosis of the tissue compartment.

    With ``convention="total"``::

        S0 * (f * exp(-b * D_star) + (1 - f) * exp(-b * D + b^2 * D^2 * K / 6))

    and with ``convention="additive"`` D_star is added to D.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2; the expansion holds for b < 3 / (D * K), see `Kurtosis`.
    convention : {"total", "additive"}, default="total"
        Meaning of D_star. Its bounds differ too.

    Notes
    -----
    S0 in the units of the signal, f and K without unit, D and D_star in um^2/ms. Ranges are ours,
    around the values of brain in the references. Bounds keep f up to 0.5 and D_star (total) at or
    above D. Where f is below about 0.05, D_star is hardly identifiable at clinical noise levels.

    References
    ----------
    Bertleff et al., NMR Biomed 2017;30:e3833. Jensen and Helpern, NMR Biomed 2010;23:698.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import IVIMKurtosis
    >>> IVIMKurtosis([0, 1000]).simulate([[1.0, 0.0, 1.0, 40.0, 1.2]]).round(3)
    array([[1.   , 0.449]])
    """

    _by_convention = _KURTOSIS

    def __init__(self, b_values, convention="total"):
        self.b_values = b_values
        self.convention = convention

    def evaluate(self, theta, derivatives=False):
        b, (S0, f, D, D_star, K) = self.b(theta), theta
        slow, by_u, by_K = kurtosis_decay(b * D, K)
        fast = torch.exp(-b * (D + D_star if self._additive else D_star))
        contrast = fast - slow
        shape = slow + f * contrast
        if not derivatives:
            return S0 * shape
        # Derivatives of the tissue's decay are relative, and u = b * D changes by b with D.
        tissue, blood = S0 * (1 - f) * slow, S0 * f * fast
        by_D = tissue * b * by_u
        if self._additive:
            by_D = by_D - b * blood
        return S0 * shape, [shape, S0 * contrast, by_D, -b * blood, tissue * by_K]
