"""Simulated signals and real scans."""

from ._signals import make_signals

__all__ = ["make_signals"]
