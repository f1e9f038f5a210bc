"""Posteriors of an amplitude and of a signal fraction, for given values of the other parameters.

A signal that is proportional to an amplitude S and affine in a fraction is ``S * (c + t * d)``. The
position t of the fraction goes from 0 to 1 in its range, c is the signal at ``t = 0`` and d its
change to ``t = 1``. With weights w and data y, the log-likelihood is to second order
``-sum w * (y - S c - S t d)^2 / 2``: S and ``B = S t`` are normal.

With sums over measurements, ``k = sum w c d / sum w c^2`` and ``r = d - k c``, which is orthogonal
to c, the signal is ``(S + k B) c + B r``. So ``S + k B`` and B are independent, with the precisions
``sum w c^2`` and ``sum w r^2``.
"""

import math
from typing import NamedTuple

import torch

_LEAST = 1e-20  # keeps divisions by sums over no measurement finite
_DETERMINED = 1e-9  # least share of c^2 in r^2: with less, the fraction is not determined
_NEAR_ZERO = 1e-3  # least amplitude to divide by, as a share of the largest
_FARTHEST = 8.0  # standard deviations up to which the tail of a normal distribution is computed
_SQRT_2_PI = math.sqrt(2 * math.pi)


class Linear(NamedTuple):
    """Sums that determine the posterior of both; see the text above for symbols.

    Attributes
    ----------
    size, along : tensor of shape (n_voxels, n_tissues)
        ``sum w c^2`` and ``sum w c y``.
    slant : tensor of shape (n_voxels, n_tissues)
        k.
    rest, beyond : tensor of shape (n_voxels, n_tissues)
        ``sum w r^2`` and ``sum w r y``.
    """

    size: torch.Tensor
    along: torch.Tensor
    slant: torch.Tensor
    rest: torch.Tensor
    beyond: torch.Tensor


def eliminate(column, change, weight, data):
    """Sums of tissues that each voxel has of its own, and the least loss.

    Parameters
    ----------
    column, change : tensor of shape (n_measurements, n_voxels, n_tissues)
        c and d.
    weight, data : tensor of shape (n_measurements, n_voxels, 1)
        w and y.

    Returns
    -------
    Linear
    loss : tensor of shape (n_voxels, n_tissues)
        Loss at the best amplitude and fraction, in or out of their ranges.
    """
    weighted = weight * column
    size = (weighted * column).sum(0).clamp_(min=_LEAST)
    along = (weighted * data).sum(0)
    slant = (weighted * change).sum(0) / size
    orthogonal = torch.addcmul(change, slant, column, value=-1)
    weighted = weight * orthogonal
    rest = (weighted * orthogonal).sum(0).clamp_(min=_LEAST)
    rest = torch.maximum(rest, _DETERMINED * size)
    beyond = (weighted * data).sum(0)
    # From residuals, as the difference of large sums would lose its digits.
    residual = torch.addcmul(data, along / size, column, value=-1)
    residual.addcmul_(beyond / rest, orthogonal, value=-1)
    loss = 0.5 * (weight * residual.square_()).sum(0)
    return Linear(size, along, slant, rest, beyond), loss


class Table(NamedTuple):
    """Columns of tissues that all voxels share, and their products; each (n_measurements, n)."""

    column: torch.Tensor
    change: torch.Tensor
    products: torch.Tensor

    @classmethod
    def of(cls, column, change):
        """Table of columns c and d."""
        return cls(
            column, change, torch.cat([column * column, column * change, change * change], 1)
        )


def best_of_shared(table, weight, pull, low, high):
    """Amplitudes, positions and gains of tissues that all voxels share, by matrix products.

    Parameters
    ----------
    table : Table
    weight, pull : tensor of shape (n_voxels, n_measurements)
        w and w * y.
    low, high : float
        Range of the amplitude.

    Returns
    -------
    gain, amplitude, position : tensor of shape (n_voxels, n_tissues)
        Gain in log-likelihood over no signal, of an amplitude and a position in their ranges.
    """
    size, both, other = (weight @ table.products).chunk(3, 1)
    along, beyond = pull @ table.column, pull @ table.change
    # Cramer's rule for S and B, whose ratio is the position; then the best amplitude there.
    first = torch.addcmul(other * along, both, beyond, value=-1)
    second = torch.addcmul(size * beyond, both, along, value=-1)
    total = first.abs().add_(second.abs()).clamp_(min=_LEAST)
    # A fit with a negative amplitude has its position at the end that is less bad.
    position = second.div_(torch.where(first > 0, first, total)).clamp_(0, 1)
    pull = torch.addcmul(along, position, beyond)
    curve = torch.addcmul(both + both, position, other)
    precision = torch.addcmul(size, position, curve).clamp_(min=_LEAST)
    amplitude = (pull / precision).clamp_(low, high)
    gain = torch.addcmul(pull, amplitude, precision, value=-0.5).mul_(amplitude)
    return gain, amplitude, position


class Shares(NamedTuple):
    """Normal approximation of the posterior of both, and its integral over their ranges.

    Attributes
    ----------
    log_mass : tensor of shape (n_voxels, n_tissues)
        Logarithm of the integral of the likelihood, relative to that of the best fit.
    position, deviation : tensor of shape (n_voxels, n_tissues)
        Mean and standard deviation of the position, the amplitude being in its range, before the
        position is limited to 0 to 1.
    amplitude, slope, spread : tensor of shape (n_voxels, n_tissues)
        Mean of the amplitude at that position, its change with the position, and its standard
        deviation at a given position; all before the limit to the range.
    """

    log_mass: torch.Tensor
    position: torch.Tensor
    deviation: torch.Tensor
    amplitude: torch.Tensor
    slope: torch.Tensor
    spread: torch.Tensor


def integrate(linear, low, high):
    """Integrate over the range of the amplitude and over that of the fraction.

    The position ``t = B / S`` is expanded to first order around the most likely amplitude in its
    range. A limit to the range changes the mean and the variance of S, and those of t by regression
    of t on S. With ``V = 1 / sum w r^2`` and ``U = 1 / sum w c^2``, the covariance of B and S is
    ``-k V``, the variance of S is ``U + k^2 V``, and ``dt = (dB - t dS) / S``.

    Parameters
    ----------
    linear : Linear
    low, high : float
        Range of the amplitude.

    Returns
    -------
    Shares
    """
    size, along, slant, rest, beyond = linear
    spread, own = 1 / rest, 1 / size
    product = beyond * spread
    amplitude = torch.addcmul(along * own, slant, product, value=-1)
    leaning = slant * spread
    variance = torch.addcmul(own, slant, leaning)
    center = amplitude.clamp(max(low, _NEAR_ZERO * high), high)
    # Regression of B on S gives B at the center.
    position = torch.addcdiv(product, leaning * (amplitude - center), variance).div_(center)
    near = position.clamp(-1, 2)
    turned = torch.addcmul(torch.ones_like(near), near, slant)
    weighted = own * near
    of_position = torch.addcmul(spread * turned * turned, weighted, near).div_(center * center)
    slope = torch.addcmul(weighted, leaning, turned).div_(center * variance).neg_()
    deviation = variance.sqrt()
    tail = Tail.of((low - amplitude) / deviation, (high - amplitude) / deviation)
    mean, limited = tail.moments()
    mean = torch.addcmul(amplitude - center, deviation, mean)
    position = torch.addcmul(position, slope, mean)
    of_position = torch.addcmul(of_position, slope * slope * variance, limited - 1)
    of_position = of_position.clamp_(min=1e-10).sqrt_()
    inside = Tail.of(-position / of_position, (1 - position) / of_position).log_mass()
    # The integral over S and B has the root of the product of U and V; from B to t, dB = S dt.
    log_mass = tail.log_mass() + inside - (size * rest).sqrt_().mul_(center).log_()
    # The amplitude at a position t has the column c + t d = (1 + t k) c + t r.
    near = position.clamp(0, 1)
    turned = torch.addcmul(torch.ones_like(near), near, slant)
    pull = torch.addcmul(along * turned, near, beyond)
    precision = torch.addcmul(size * turned * turned, rest * near, near).clamp_(min=_LEAST)
    amplitude = pull / precision
    # Derivative of pull / precision by t.
    change = torch.addcmul(beyond, along, slant)
    change = change - 2 * amplitude * torch.addcmul(rest * near, size * turned, slant)
    return Shares(log_mass, position, of_position, amplitude, change / precision, precision.rsqrt())


class Tail(NamedTuple):
    """Range of a standard normal variable, whose lower end is the one that is nearer to 0.

    By symmetry any range is one, perhaps mirrored. The mass between two ends is a difference of
    tails, which has all digits there. Ranges that begin more than `_FARTHEST` from 0 are moved
    there, as the density in them falls so fast that mean and variance change little with the place.
    """

    near: torch.Tensor
    far: torch.Tensor
    half: torch.Tensor
    start: torch.Tensor
    sign: torch.Tensor
    mass: torch.Tensor

    @classmethod
    def of(cls, low, high):
        """Tail of a range."""
        sign = torch.where(low + high < 0, -1.0, 1.0)
        half, middle = (high - low).mul_(0.5), (high + low).mul_(sign).mul_(0.5)
        start = middle.sub_(half)
        near = start.clamp(max=_FARTHEST)
        far = torch.add(near, half, alpha=2).clamp_(max=4 * _FARTHEST)
        mass = torch.special.erfc(near * math.sqrt(0.5))
        mass.sub_(torch.special.erfc(far * math.sqrt(0.5))).mul_(0.5).clamp_(min=1e-30)
        return cls(near, far, half, start, sign, mass)

    def log_mass(self):
        """Logarithm of the probability of the range."""
        moved = (self.start - self.near).mul_(self.start + self.near)
        return self.mass.log().add_(moved, alpha=-0.5)

    def moments(self):
        """Mean and variance within the range."""
        near, far, half, start, sign, mass = self
        scale = (_SQRT_2_PI * mass).reciprocal_()
        at_near = (near * near).mul_(-0.5).exp_().mul_(scale)
        at_far = (far * far).mul_(-0.5).exp_().mul_(scale)
        mean = at_near - at_far
        variance = (near * at_near).addcmul_(far, at_far, value=-1).addcmul_(mean, mean, value=-1)
        variance = torch.minimum(variance.add_(1).clamp_(1e-4, 1), half * half / 3)
        mean = torch.minimum(torch.maximum(mean, near), far).add_(start).sub_(near).mul_(sign)
        return mean, variance


def draw_truncated(unit, mean, deviation, low, high):
    """Draws of a logistic variable in a range, and one over their density.

    Its tails are heavier than those of a normal variable, and its quantiles are elementary.

    Parameters
    ----------
    unit : tensor
        Numbers in (0, 1).
    mean, deviation : tensor
        Before the limit to the range.
    low, high : float

    Returns
    -------
    values, volume : tensor
    """
    scale = deviation * (math.sqrt(3) / math.pi)
    # A mean that is farther outside would cost all digits of the mass inside.
    mean = torch.minimum(torch.maximum(mean, low - 4 * scale), high + 4 * scale)
    below = torch.sigmoid((low - mean) / scale)
    inside = torch.sigmoid((high - mean) / scale).sub_(below).clamp_(min=1e-30)
    share = torch.addcmul(below, unit, inside).clamp_(1e-7, 1 - 1e-7)
    values = torch.addcmul(mean, scale, torch.logit(share)).clamp_(low, high)
    return values, inside.mul_(scale).div_(torch.addcmul(share, share, share, value=-1))
