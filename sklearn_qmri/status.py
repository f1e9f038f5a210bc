"""The status of a voxel: each code with its text."""

from enum import IntEnum

import numpy as np


class Status(IntEnum):  # numpydoc ignore=PR01
    """Status of a voxel, a code in `status` of the result of ``estimate``.

    Each code has a `text` that follows a number of voxels: "4 `did not converge`".

    Attributes
    ----------
    OK : 0
        Nothing to report.
    AT_BOUND : 1
        Converged, with at least one parameter on a bound.
    NOT_CONVERGED : 2
        The optimum was not reached, or is not certain.
    OUT_OF_DOMAIN : 3
        Unlike anything that the network was trained on.
    BAD_INPUT : 4
        No possible measurement (e.g. infinity), or too few of them; estimates are NaN.
    TOO_FEW_ATOMS : 5
        Too few simulated tissues resemble the voxel for a reliable mean.

    Examples
    --------
    >>> from sklearn_qmri import Status
    >>> Status(4)
    <Status.BAD_INPUT: 4>
    >>> Status.BAD_INPUT.text
    'are no possible measurements (NaN there)'
    """

    def __new__(cls, code, text):
        """Member with the integer value `code` and its text."""
        # The value is the code alone, so that `Status(4)` finds the member.
        status = int.__new__(cls, code)
        status._value_ = code
        status.text = text
        return status

    OK = 0, "have nothing to report"
    AT_BOUND = 1, "have a parameter on a bound"
    NOT_CONVERGED = 2, "did not converge"
    OUT_OF_DOMAIN = 3, "are unlike what the network was trained on"
    BAD_INPUT = 4, "are no possible measurements (NaN there)"
    TOO_FEW_ATOMS = 5, "resemble too few tissues of the prior"

    @property
    def worth_a_warning(self):
        """Whether an image that has such voxels is worth a warning."""
        return self not in (Status.OK, Status.AT_BOUND)


def count_statuses(status):
    """Count the voxels of each status.

    Parameters
    ----------
    status : array-like of int
        Codes; values outside of `Status` are not counted.

    Returns
    -------
    dict of {str: int}
        Numbers by the name of the status, in the order of the codes.
    """
    status = np.asarray(status)
    return {code.name: int(np.count_nonzero(status == code)) for code in Status}


def describe_statuses(status):
    """One sentence about the voxels that are worth a warning, or an empty string without any.

    Parameters
    ----------
    status : array-like of int

    Returns
    -------
    str
    """
    counts = {Status[name]: n for name, n in count_statuses(status).items()}
    parts = [f"{n:,} {code.text}" for code, n in counts.items() if n and code.worth_a_warning]
    return f"Of {np.size(status):,} voxels {', '.join(parts)}." if parts else ""
