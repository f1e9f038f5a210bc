"""Units of maps in files, which are those of BIDS, and in memory, which are this package's."""

# Unit in memory: unit in files, and the factor from the former to the latter.
_IN_FILES = {
    "ms": ("s", 1e-3),
    "um^2/ms": ("mm^2/s", 1e-3),
    "1/s": ("Hz", 1.0),
}


def unit_in_files(unit):
    """Unit of maps in files, and what values in memory are multiplied by.

    Parameters
    ----------
    unit : str
        Of a parameter of a signal model. Units that are not converted (of the signal, of angles,
        none for fractions) stay.

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
    """What values in a file are multiplied by to have this package's unit.

    Parameters
    ----------
    unit : str
        In the file, or already this package's.

    Returns
    -------
    float
    """
    return {name: 1 / factor for name, factor in _IN_FILES.values()}.get(unit, 1.0)
