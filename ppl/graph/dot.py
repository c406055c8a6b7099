"""Words in Graphviz' language, in which a name is never mistaken for something else."""

from __future__ import annotations

import html

__all__ = ["escaped", "quoted", "small"]


def small(words: str, colour: str) -> str:
    """Small print, in a label."""
    return f'<font point-size="9" color="{colour}">{escaped(words)}</font>'


def escaped(words: str) -> str:
    """Text for a label in Graphviz' HTML, in which a backslash still begins an escape."""
    printable = "".join(c if c.isprintable() else " " for c in words)
    return html.escape(printable.replace("\\", "\\\\"))


def quoted(words: str) -> str:
    """A DOT identifier; quoted, a colon is no port and `<b>` no HTML."""
    printable = "".join(c if c.isprintable() else " " for c in words)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
