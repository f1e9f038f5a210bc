"""One page per scan: maps, figures, findings and the text for a methods section."""

from ._write import write_report

__all__ = ["write_report"]
