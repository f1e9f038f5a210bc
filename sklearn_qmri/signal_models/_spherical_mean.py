"""Signals averaged over gradient directions, which do not depend on fibre orientation."""

import math

import numpy as np
import torch

from .._arrays import as_floats
from ._closed_form import ClosedFormModel
from ._parameter import Parameter, amplitude
from ._units import likely_unit

# Below this argument the closed forms lose digits, and a few terms of the series suffice: the first
# one that is omitted, of the slope, is 0.3^13 / (13! * 29) < 1e-18.
_SERIES = 0.3
_TERMS = 14

_LAMBDA = Parameter("lambda", "um^2/ms", (0.1, 3.2), (0.5, 3.0))
_V = Parameter("v", "", (0.0, 1.0), (0.05, 0.95))
_FREE_WATER = 3.0  # um^2/ms, at body temperature


def stick(x):
    """Spherical mean of ``exp(-x * cos^2)`` and its derivative by x, for x >= 0.

    The mean is ``sqrt(pi) / 2 * erf(sqrt(x)) / sqrt(x)``, taken from its series near 0.

    Parameters
    ----------
    x : tensor
        b-value times the difference of the axial and radial diffusivities.

    Returns
    -------
    mean, slope : tensors of the shape of x
    """
    small = x < _SERIES
    # Both branches are computed everywhere; 1 and 0 keep the one that is not taken finite.
    large = torch.where(small, 1.0, x)
    # The mean over directions of exp(-x c^2) is its integral over c = cos from 0 to 1. With the
    # derivative of erf(sqrt(x)), exp(-x) / sqrt(pi x), the slope is (exp(-x) - mean) / (2 x).
    mean = math.sqrt(math.pi) / 2 * torch.erf(large.sqrt()) / large.sqrt()
    slope = (torch.exp(-large) - mean) / (2 * large)
    # Term by term, with the mean of c^(2 k) being 1 / (2 k + 1).
    x = torch.where(small, x, 0.0)
    series = sum((-x) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(_TERMS))
    by_x = -sum((-x) ** (k - 1) / (math.factorial(k - 1) * (2 * k + 1)) for k in range(1, _TERMS))
    return torch.where(small, series, mean), torch.where(small, by_x, slope)


def _neurites(b, v, axial):
    """Two-compartment spherical mean and its derivatives by v and by the axial diffusivity.

    The tissue around neurites is ``outside = exp(-b * (1 - v) * axial) * g(b * v * axial)``.
    """
    # Product rule for outside = decay * g(b * v * axial):
    #   by v      b * axial * (outside + decay * g'),
    #   by axial  -b * (1 - v) * outside + b * v * decay * g'.
    # Fractions weigh both compartments, and v moves signal from outside to inside.
    inside, inside_slope = stick(b * axial)
    around, around_slope = stick(b * v * axial)
    decay = torch.exp(-b * (1 - v) * axial)
    outside = decay * around
    by_axial = v * b * inside_slope + (1 - v) * b * (v * decay * around_slope - (1 - v) * outside)
    by_v = inside - outside + (1 - v) * b * axial * (outside + decay * around_slope)
    return v * inside + (1 - v) * outside, by_v, by_axial


class SphericalMeanTwoCompartment(ClosedFormModel):
    """Spherical mean of neurites and the tissue around them.

    With g the spherical mean of a stick::

        S0 * (v * g(b * lambda) + (1 - v) * exp(-b * (1 - v) * lambda) * g(b * v * lambda))
        g(x) = sqrt(pi) / 2 * erf(sqrt(x)) / sqrt(x)

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2, of the shells; signals are their means, see `powder_average`.

    Notes
    -----
    S0 in the units of the signal, v (neurite fraction) without unit, lambda (intrinsic
    diffusivity) in um^2/ms. The diffusivity across fibres outside of neurites is
    ``(1 - v) * lambda``. Needs at least two nonzero shells. Means over directions have Gaussian
    noise, and keep the bias of what is averaged.

    References
    ----------
    Kaden et al., NeuroImage 2016;139:346. Ranges as in dmipy, github.com/AthenaEPI/dmipy.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import SphericalMeanTwoCompartment
    >>> SphericalMeanTwoCompartment([0, 1000]).simulate([[1.0, 0.0, 1.0]]).round(3)
    array([[1.   , 0.368]])
    """

    magnitude = False
    parameters = (amplitude("S0"), _V, _LAMBDA)

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        S0, v, axial = theta
        shape, by_v, by_axial = _neurites(self.b(theta), v, axial)
        return (S0 * shape, [shape, S0 * by_v, S0 * by_axial]) if derivatives else S0 * shape


class SphericalMeanThreeCompartment(ClosedFormModel):
    """Spherical mean of neurites, the tissue around them, and free water.

    ::

        S0 * (f_w * exp(-b * 3) + (1 - f_w) * two_compartments(v, lambda))

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2, of the shells; signals are their means, see `powder_average`.

    Notes
    -----
    Same as `SphericalMeanTwoCompartment`, with f_w the fraction of free water (3 um^2/ms). Needs at
    least three nonzero shells. Where f_w is near 1, v and lambda are hardly identifiable. Where the
    diffusivity around neurites is close to that of free water (small v, lambda near 3), f_w is
    hardly identifiable.

    References
    ----------
    Kaden et al., NeuroImage 2016;139:346. Gyori et al., Magn Reson Med 2022;87:932.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import SphericalMeanThreeCompartment
    >>> SphericalMeanThreeCompartment([0, 1000]).simulate([[1.0, 0.5, 2.0, 1.0]]).round(3)
    array([[1.  , 0.05]])
    """

    magnitude = False
    parameters = (
        amplitude("S0"),
        _V,
        _LAMBDA,
        Parameter("f_w", "", (0.0, 1.0), (0.0, 0.9), affine=True),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def evaluate(self, theta, derivatives=False):
        b, (S0, v, axial, f_w) = self.b(theta), theta
        tissue, by_v, by_axial = _neurites(b, v, axial)
        contrast = torch.exp(-b * _FREE_WATER) - tissue
        shape = tissue + f_w * contrast
        if not derivatives:
            return S0 * shape
        # Free water has no free diffusivity: v and lambda only change the share of the tissue.
        part = S0 * (1 - f_w)
        return S0 * shape, [shape, part * by_v, part * by_axial, S0 * contrast]


def powder_average(X, b_values, directions=None):
    """Means over the directions of each shell.

    Means of many magnitudes have Gaussian noise, with a standard deviation divided by the square
    root of the number of directions. They keep the Rician bias of the magnitudes: at low signal a
    mean is too high, which cannot be detected afterwards. Estimators assume the same noise in all
    measurements: with unequal numbers of directions their standard deviations cannot be trusted.

    Parameters
    ----------
    X : array-like of shape (n_voxels, n_measurements)
        Signals, a voxel per row.
    b_values : array-like of shape (n_measurements,)
        s/mm^2; values within 5 % (or within 5 s/mm^2) of the mean of a shell belong to it.
    directions : array-like of shape (n_measurements, 3), default=None
        Gradient directions; opposite ones are the same. If they are passed, repeats of a direction
        are averaged first, so that each direction weighs the same.

    Returns
    -------
    means : ndarray of shape (n_voxels, n_shells)
        Means in the units of X, NaN where a measurement of the shell is NaN or masked.
    shells : ndarray of shape (n_shells,)
        Mean b-value of each shell in s/mm^2, in ascending order.
    counts : ndarray of shape (n_shells,)
        Number of directions of each shell, repeats included unless directions are passed.

    Raises
    ------
    ValueError
        If shapes disagree, b-values are not finite, negative or in another unit, or directions
        are not finite.

    Examples
    --------
    >>> from sklearn_qmri.signal_models import powder_average
    >>> powder_average([[1.0, 0.5, 0.3]], [0, 995, 1005])
    (array([[1. , 0.4]]), array([   0., 1000.]), array([1, 2]))
    """
    X = as_floats(X)
    b = as_floats(b_values)
    if X.ndim != 2:
        raise ValueError(f"X expects shape (n_voxels, n_measurements), got {X.shape}.")
    if b.shape != X.shape[1:] or not (np.isfinite(b) & (b >= 0)).all():
        raise ValueError(
            f"b_values expects {X.shape[1]} finite values of at least 0, got shape {b.shape}: "
            f"{b_values!r}."
        )
    if unit := likely_unit("b_values", b):
        raise ValueError(f"b_values got values up to {b.max():g}, which {unit}")
    weights = np.ones(len(b))
    shell = _number_shells(b)
    if directions is not None:
        weights = _weigh_directions(directions, shell, b)
    members = [shell == k for k in range(shell.max() + 1)]
    means = [np.average(X[:, member], axis=1, weights=weights[member]) for member in members]
    # Weights of the repeats of a direction add up to 1, so that their sum counts directions.
    shells = np.array([b[member].mean() for member in members])
    return np.stack(means, axis=1), shells, np.bincount(shell, weights).round().astype(int)


def _number_shells(b):
    """Shell of each b-value, in ascending order of the b-values.

    A new shell begins where a value is too far from the mean of the shell so far.
    """
    shell, members = np.empty(len(b), dtype=int), []
    number = 0
    for place in np.argsort(b, kind="stable"):
        mean = np.mean(members) if members else b[place]
        if b[place] - mean > max(5.0, 0.05 * mean):
            number, members = number + 1, []
        members.append(b[place])
        shell[place] = number
    return shell


def _weigh_directions(directions, shell, b):
    """Weight of each measurement: 1 over the number of repeats of its direction in its shell."""
    directions = as_floats(directions)
    if directions.shape != (len(b), 3) or not np.isfinite(directions).all():
        raise ValueError(
            f"directions expects finite numbers of shape ({len(b)}, 3), "
            f"got shape {directions.shape}."
        )
    size = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.where(size > 0, directions / np.where(size > 0, size, 1), 0.0)
    # A cosine of 0.9999 is an angle of 0.8 degrees. Directions of zeros (b = 0) are all one.
    same = (np.abs(unit @ unit.T) > 0.9999) | ((size == 0) & (size == 0).T)
    return 1 / (same & (shell[:, None] == shell)).sum(axis=1)
