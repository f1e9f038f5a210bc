"""Displays: figures made from results."""

from ._maps import ParameterMapDisplay

__all__ = ["ParameterMapDisplay"]
