"""One page per scan: maps, figures, findings and the text for a methods section."""

from ._run import Run
from ._write import page_names, write_pages, write_report

__all__ = ["Run", "page_names", "write_pages", "write_report"]
