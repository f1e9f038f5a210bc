"""Published methods, as unfitted estimators with their published settings."""

from ._bias import diskin2023, mao2024, zhang2022
from ._ivim import barbieri2019, bertleff2017, epstein2022, kaandorp2021
from ._microstructure import grussu2021, gyori2022, gyori2022_prior
from ._rician import parker2025

__all__ = [
    "barbieri2019",
    "bertleff2017",
    "diskin2023",
    "epstein2022",
    "grussu2021",
    "gyori2022",
    "gyori2022_prior",
    "kaandorp2021",
    "mao2024",
    "parker2025",
    "zhang2022",
]
