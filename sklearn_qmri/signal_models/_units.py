"""Acquisitions in the wrong unit, recognised by values that no protocol has in the right one."""

import math
from typing import NamedTuple


class _Range(NamedTuple):
    """Plausible range of the largest value of an acquisition, and texts about values outside."""

    above: float
    below: float
    if_less: str
    if_more: str = ""


_SECONDS = "seconds; give ms (1000 times as much)"
_PLAUSIBLE = {
    "b_values": _Range(10, 1e6, "ms/um^2; give s/mm^2 (1000 times as much)", "s/m^2; give s/mm^2"),
    "echo_times": _Range(0.5, 1e4, _SECONDS, "microseconds; give ms"),
    "inversion_times": _Range(20, math.inf, _SECONDS),
    "delay_times": _Range(20, math.inf, _SECONDS),
    "repetition_times": _Range(20, math.inf, _SECONDS),
    "repetition_time": _Range(1, math.inf, _SECONDS),
    "flip_angles": _Range(math.pi, 360, "radians; give degrees", "no angles of a pulse"),
}


def likely_unit(name, values):
    """Text about the unit that an acquisition seems to have, or None if its values are plausible.

    Parameters
    ----------
    name : str
        Name of the attribute; unknown ones are not judged.
    values : ndarray
        Values of at least 0.

    Returns
    -------
    str or None
    """
    # Zeros alone are the same in any unit.
    if name not in _PLAUSIBLE or not values.any():
        return None
    plausible, largest = _PLAUSIBLE[name], values.max()
    if largest <= plausible.above:
        return f"look like {plausible.if_less}."
    if largest >= plausible.below:
        return f"look like {plausible.if_more}."
    return None
