"""Formulas as MathML, by docutils: every current browser shows it, without scripts or fonts."""

from docutils.nodes import SkipNode
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging


def convert(node, as_block):
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
        return f"<code>{node.astext()}</code>"


def inline(translator, node):
    translator.body.append(convert(node, as_block=False))
    raise SkipNode


def block(translator, node):
    translator.body.append(f"<p>{convert(node, as_block=True)}</p>")
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
