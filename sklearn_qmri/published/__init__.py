"""Published methods, as unfitted estimators with their published settings."""

from ._ivim import barbieri2019, bertleff2017, epstein2022, kaandorp2021
from ._microstructure import grussu2021, gyori2022, gyori2022_prior

__all__ = [
    "barbieri2019",
    "bertleff2017",
    "epstein2022",
    "grussu2021",
    "gyori2022",
    "gyori2022_prior",
    "kaandorp2021",
]
