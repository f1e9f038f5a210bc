"""A finding about a scan or its maps: the fact and the remedy."""

from typing import NamedTuple

WRONG, DOUBTFUL, NOTE = 3, 2, 1  # ranks: maps are wrong, some are in doubt, good to know


class Finding(NamedTuple):
    """Finding about a scan or its maps.

    Attributes
    ----------
    rank : int
        `WRONG`, `DOUBTFUL` or `NOTE`.
    name : str
        Few words that name the defect.
    fact : str
        Sentence with the figures.
    remedy : str
        Sentence that says what to do.
    """

    rank: int
    name: str
    fact: str
    remedy: str


def percent(share):
    """Share as text."""
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %"


def listed(numbers):
    """Few numbers as text, and how many more there are."""
    numbers = [int(number) for number in numbers]
    more = f" and {len(numbers) - 6} more" if len(numbers) > 6 else ""
    return ", ".join(map(str, numbers[:6])) + more
