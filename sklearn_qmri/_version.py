"""The version, as installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sklearn-qmri")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"
