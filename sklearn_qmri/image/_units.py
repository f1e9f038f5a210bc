"""Conversion between the units of maps in files (those of BIDS) and in memory."""

# Unit in memory: unit in files, and the factor that converts a value in memory to one in a file.
_IN_FILES = {
    "ms": ("s", 1e-3),
    "um^2/ms": ("mm^2/s", 1e-3),
}
# Fractions that BIDS stores in per cent.
_PER_CENT = ("MWF",)


def unit_in_files(parameter):
    """Unit of maps in files, and the factor from values in memory to values in files.

    Parameters
    ----------
    parameter : Parameter
        Parameter of a signal model. Units that BIDS has no other for (of rates, of the signal, of
        angles, or none for fractions) are the same in files.

    Returns
    -------
    unit : str
    factor : float

    Examples
    --------
    >>> from sklearn_qmri.image._units import unit_in_files
    >>> from sklearn_qmri.signal_models import Parameter
    >>> unit_in_files(Parameter("T2", "ms", bounds=(1, 3000), prior=(20, 300)))
    ('s', 0.001)
    """
    if parameter.name in _PER_CENT and not parameter.unit:
        return "%", 100.0
    return _IN_FILES.get(parameter.unit, (parameter.unit, 1.0))


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
    factors = {name: 1 / factor for name, factor in _IN_FILES.values()}
    return {**factors, "%": 0.01}.get(unit, 1.0)
