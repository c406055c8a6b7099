"""Formulas as MathML, written when the site is built.

MathJax would be fetched from a network whenever a page is read; every browser of today draws MathML by itself. The translation is docutils' own.
"""

from __future__ import annotations

import html

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator as HTMLTranslator

logger = logging.getLogger(__name__)


def _inline(writer: HTMLTranslator, node: nodes.math) -> None:
    writer.body.append(mathml(node, display=False))
    raise nodes.SkipNode


def _block(writer: HTMLTranslator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mathml(node, display=True)}</div>\n')
    raise nodes.SkipNode


def mathml(node: nodes.Element, display: bool) -> str:
    """A formula's MathML; a formula that cannot be read is a warning, which ends a build with `-W`."""
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=display)
    except MathError as error:
        logger.warning("%s in %s", error, node.astext(), location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_html_math_renderer(
        "mathml", inline_renderers=(_inline, None), block_renderers=(_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
