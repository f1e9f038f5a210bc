"""Conversion between the units of maps in files (those of BIDS) and in memory."""

# Unit in memory: unit in files, and the factor that converts a value in memory to one in a file.
_IN_FILES = {
    "ms": ("s", 1e-3),
    "um^2/ms": ("mm^2/s", 1e-3),
    "1/s": ("Hz", 1.0),
}


def unit_in_files(unit):
    """Unit of maps in files, and the factor from values in memory to values in files.

    Parameters
    ----------
    unit : str
        Unit of a parameter of a signal model. Other units (of the signal, of angles, or none for
        fractions) are the same in files.

    Returns
    -------
    unit : str
    factor : float

    Examples
    --------
    >>> from sklearn_qmri.image._units import unit_in_files
    >>> unit_in_files("ms")
    ('s', 0.001)
    """
    return _IN_FILES.get(unit, (unit, 1.0))


def factor_to_memory(unit):
    """Factor from values in a file to values in this package's unit.

    Parameters
    ----------
    unit : str
        Unit in the file. A unit of this package has the factor 1.

    Returns
    -------
    float
    """
    return {name: 1 / factor for name, factor in _IN_FILES.values()}.get(unit, 1.0)
