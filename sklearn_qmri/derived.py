"""Maps derived from estimates: other conventions, rates instead of times, products."""

import numpy as np

from ._arrays import as_floats

__all__ = ["additive_of_total", "mm2_per_s", "perfusion_flow", "rate_of_time", "total_of_additive"]

_MS_PER_S = 1000.0


def perfusion_flow(f, D_star):
    """Product of perfusion fraction and pseudo-diffusivity, f * D_star.

    It is proportional to blood flow, and better determined than either factor where f is small (Le
    Bihan and Turner, Magn Reson Med 1992;27:171).

    Parameters
    ----------
    f : array-like
        Perfusion fraction, without unit.
    D_star : array-like
        Pseudo-diffusivity in um^2/ms.

    Returns
    -------
    ndarray
        Product in um^2/ms.

    Examples
    --------
    >>> from sklearn_qmri.derived import perfusion_flow
    >>> perfusion_flow([0.1, 0.2], [50.0, 20.0])
    array([5., 4.])
    """
    return as_floats(f) * as_floats(D_star)


def rate_of_time(time):
    """Relaxation rate in 1/s of a relaxation time in ms, or the inverse.

    Parameters
    ----------
    time : array-like
        T1, T2 or T2_star in ms (or a rate in 1/s).

    Returns
    -------
    ndarray
        Rate in 1/s (or a time in ms); infinite for 0.

    Examples
    --------
    >>> from sklearn_qmri.derived import rate_of_time
    >>> rate_of_time([80.0, 20.0])
    array([12.5, 50. ])
    """
    # A time of 0 has an infinite rate, which needs no warning.
    with np.errstate(divide="ignore"):
        return _MS_PER_S / as_floats(time)


def total_of_additive(D, D_star):
    """D_star of ``convention="total"`` from a D_star that is added to D.

    Parameters
    ----------
    D, D_star : array-like
        um^2/ms.

    Returns
    -------
    ndarray
        um^2/ms.

    Examples
    --------
    >>> from sklearn_qmri.derived import total_of_additive
    >>> total_of_additive([1.0], [40.0])
    array([41.])
    """
    return as_floats(D) + as_floats(D_star)


def additive_of_total(D, D_star):
    """D_star of ``convention="additive"`` from a D_star that includes D.

    Parameters
    ----------
    D, D_star : array-like
        um^2/ms.

    Returns
    -------
    ndarray
        um^2/ms; negative where the compartments are swapped.

    Examples
    --------
    >>> from sklearn_qmri.derived import additive_of_total
    >>> additive_of_total([1.0], [41.0])
    array([40.])
    """
    return as_floats(D_star) - as_floats(D)


def mm2_per_s(diffusivity):
    """Diffusivity in mm^2/s, the unit of other packages, from one in um^2/ms.

    Parameters
    ----------
    diffusivity : array-like
        um^2/ms.

    Returns
    -------
    ndarray
        mm^2/s.

    Examples
    --------
    >>> from sklearn_qmri.derived import mm2_per_s
    >>> mm2_per_s([1.0])
    array([0.001])
    """
    # 1 um^2 = 1e-6 mm^2, and 1 ms = 1e-3 s.
    return as_floats(diffusivity) * 1e-3
