"""Docstrings of public names: numpydoc's checks, less those that pyproject.toml takes out."""

import importlib
import inspect
import tomllib
import types
from pathlib import Path

import pytest
from numpydoc.validate import ERROR_MSGS, validate

MODULES = [
    "sklearn_qmri",
    "sklearn_qmri.compare",
    "sklearn_qmri.datasets",
    "sklearn_qmri.derived",
    "sklearn_qmri.image",
    "sklearn_qmri.inspection",
    "sklearn_qmri.metrics",
    "sklearn_qmri.noise",
    "sklearn_qmri.persistence",
    "sklearn_qmri.published",
    "sklearn_qmri.signal_models",
]
PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
LEFT_OUT = set(PYPROJECT["tool"]["numpydoc_validation"]["checks"]) - {"all"}


def public_names():
    """Full names of all public classes and functions."""
    return [
        f"{module}.{name}"
        for module in MODULES
        for name in importlib.import_module(module).__all__
        if not name.startswith("__")
    ]


def resolve(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def public_methods():
    """Methods and properties of public classes, by the place in this package that defines them."""
    kinds = (types.FunctionType, classmethod, staticmethod, property)
    return sorted(
        {
            f"{base.__module__}.{base.__qualname__}.{name}"
            for owner in public_names()
            for base in getattr(resolve(owner), "__mro__", [])
            if base.__module__.startswith("sklearn_qmri")
            for name, value in vars(base).items()
            if isinstance(value, kinds) and not name.startswith("_")
            if value.__doc__ or not inspect.getdoc(getattr(base, name))  # not inherited
        }
    )


def complaints(name, left_out=LEFT_OUT):
    return [
        f"{code} {message}" for code, message in validate(name)["errors"] if code not in left_out
    ]


@pytest.mark.parametrize("name", public_names())
def test_class_or_function(name):
    assert complaints(name) == []


@pytest.mark.parametrize("name", public_methods())
def test_method(name):
    assert complaints(name, LEFT_OUT | {"EX01"}) == []


def test_checks_left_out_exist():
    assert set(ERROR_MSGS) > LEFT_OUT
