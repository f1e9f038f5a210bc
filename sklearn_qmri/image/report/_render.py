"""Templates to pages to files."""

import importlib
import json

from ..._files import replacing
from ..._version import __version__


def optional(name):
    """Module of a library that only reports need.

    Raises
    ------
    ImportError
        If it is missing, with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"{error}. Reports need: pip install 'sklearn-qmri[report]'"
        raise ImportError(message) from error


def render(template, **values):
    """Page from a template and its values.

    Raises
    ------
    ImportError
        If Jinja2 is missing.
    """
    jinja2 = optional("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "templates"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(template).render(**values, version=__version__)


def in_page(value):
    """JSON of a value, to be read by a script of the page."""
    # A "<" in a name must not end the element of the page that holds the text.
    return json.dumps(value).replace("<", "\\u003c")


def write_page(path, page):
    """Write a page, whole or not at all."""
    with replacing(path) as scratch:
        scratch.write_text(page, encoding="utf-8")
