"""The version, as installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sklearn-qmri")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"

_LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch")  # what results may depend on


def library_versions():
    """Versions of what results may depend on, besides this package's, by name."""
    return {name: version(name) for name in _LIBRARIES}
