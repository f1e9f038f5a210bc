"""Quadratic forms of squared bias and variance along the line between two estimators."""

import numpy as np


def quadratic(form, alpha):
    """Values of quadratic forms (2, 2, ...) at (1 - alpha, alpha)."""
    both = (form[0, 1] + form[1, 0]) * alpha * (1 - alpha)
    return form[0, 0] * (1 - alpha) ** 2 + both + form[1, 1] * alpha**2


def _polynomial(form):
    """Coefficients c, b, a of the quadratic form, ``c + 2 * b * alpha + a * alpha^2``."""
    # (1 - x)^2 F_00 + 2 x (1 - x) F_01 + x^2 F_11
    #     = F_00 + 2 x (F_01 - F_00) + x^2 (F_00 - 2 F_01 + F_11)
    cross = (form[0, 1] + form[1, 0]) / 2
    return form[0, 0], cross - form[0, 0], form[0, 0] + form[1, 1] - 2 * cross


def stationary(form):
    """Alpha at which a quadratic form has its minimum, as a list; empty if there is none."""
    _, b, a = _polynomial(form)
    # The derivative 2 b + 2 a alpha is 0 at -b / a, which is a minimum only if a > 0.
    return [-b / a] if a > 0 else []


def crossings(form, level):
    """Alphas at which a quadratic form in (1 - alpha, alpha) has the value `level`.

    They are the roots of ``c + 2 * b * alpha + a * alpha^2`` with the level subtracted from c,
    ``(-b +- sqrt(b^2 - a * c)) / a``.
    """
    c, b, a = _polynomial(form)
    c = c - level
    # Where the form only touches the level, as a squared bias with a zero does at a level of 0,
    # the discriminant is 0, or slightly negative by rounding. Within a few eps of its terms it
    # counts as 0.
    discriminant = b * b - a * c
    if discriminant < -8 * np.finfo(float).eps * (b * b + abs(a * c)):
        return []
    # Adding the root with the sign of b avoids cancellation, which gives one root as q / a. The
    # product of the roots is c / a, so the other root is c / q. For a = 0, q is -2 b, and c / q
    # is the root of the linear equation.
    q = -b - np.copysign(np.sqrt(max(discriminant, 0.0)), b)
    return [numerator / divisor for numerator, divisor in ((q, a), (c, q)) if divisor != 0]
