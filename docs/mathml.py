"""Formulas as MathML, written when the site is built.

MathJax would be fetched from a network whenever a page is read; every browser of today draws MathML by itself. The translation is docutils' own.
"""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx


def _inline(writer, node) -> None:
    writer.body.append(_mathml(node.astext(), display=False))
    raise nodes.SkipNode


def _block(writer, node) -> None:
    writer.body.append(f'<div class="math">{_mathml(node.astext(), display=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(text: str, display: bool) -> str:
    root = latex2mathml.tex2mathml(text, as_block=display)
    return root if isinstance(root, str) else root.toprettyxml()


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
