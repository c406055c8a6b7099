"""Small pieces of HTML for notebooks: tables and printed text, in whatever colours the notebook has.

Nothing here sets a colour, so that it can be read on a dark ground and on a light one; and every text is escaped, since names and labels
are whatever users write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["printed", "table"]

LEFT = 'style="text-align: left; padding-right: 1em"'


def printed(text: object, title: str = "") -> str:
    """What a thing prints, as it prints it.

    Example:
        >>> printed("p < 0.05")
        '<pre style="white-space: pre; overflow-x: auto">p &lt; 0.05</pre>'
    """
    head = f"<b>{escape(title)}</b>" if title else ""
    return f'{head}<pre style="white-space: pre; overflow-x: auto">{escape(str(text))}</pre>'


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    caption: str = "",
    below: Iterable[str] = (),
) -> str:
    """A table.

    Args:
        head: Titles of the columns.
        rows: The cells; the first of each row is its title. The last cell of a row that is too short fills it.
        caption: What stands above it.
        below: Lines that stand below it.

    Example:
        >>> table(["", "mean"], [["<x>", 3]]).count("&lt;x&gt;")
        1
    """
    # Pages without a doctype give tables a colour of their own.
    parts = ['<table style="color: inherit">']
    if caption:
        parts.append(
            f'<caption style="caption-side: top; text-align: left">{escape(caption)}</caption>'
        )
    titles = "".join(f'<th scope="col" {LEFT}>{escape(str(title))}</th>' for title in head)
    parts.append(f"<thead><tr>{titles}</tr></thead>")
    parts.append("<tbody>")
    for first, *rest in rows:
        cells = [f"<td {LEFT}>{escape(str(value))}</td>" for value in rest]
        if cells and len(rest) < len(head) - 1:  # one long text instead of numbers
            cells[-1] = cells[-1].replace("<td", f'<td colspan="{len(head) - len(rest)}"', 1)
        parts.append(f'<tr><th scope="row" {LEFT}>{escape(str(first))}</th>{"".join(cells)}</tr>')
    parts.append("</tbody></table>")
    lines = list(below)
    if lines:
        parts.append(f'<p style="white-space: pre-wrap">{escape(chr(10).join(lines))}</p>')
    return "".join(parts)
