"""Examples have what every page of the gallery has; building the documentation runs them."""

import ast
import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_argues(path):
    """A title, an argument of some paragraphs, a figure; and last what it does not show."""
    source = path.read_text()
    title, underline, text = ast.get_docstring(ast.parse(source)).split("\n", maxsplit=2)
    assert underline == "=" * len(title)
    assert len(text.strip().split("\n\n")) in (2, 3, 4)
    assert "What to look for:" in text
    assert "plt.show()" in source
    *_, last = re.findall(r"^# (.+)\n# -+\n#\n", source, flags=re.MULTILINE)
    assert last == "Limits"
    sections = re.findall(r"^# (.+)\n# (-+)$", source, flags=re.MULTILINE)
    assert all(len(name) == len(line) for name, line in sections)
