"""Small pieces of HTML for notebooks: tables and printed text, in whatever colours the notebook has.

Nothing here sets a colour, so that it can be read on a dark ground and on a light one; and every text is escaped, since names and labels
are whatever users write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["printed", "table"]


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
        rows: The cells; the first of each row is its title.
        caption: What stands above it.
        below: Lines that stand below it.

    Example:
        >>> table(["", "mean"], [["<x>", 3]]).count("&lt;x&gt;")
        1
    """
    side = 'style="text-align: left; font-weight: normal"'
    parts = ["<table>"]
    if caption:
        parts.append(
            f'<caption style="caption-side: top; text-align: left">{escape(caption)}</caption>'
        )
    parts.append(f"<thead><tr>{''.join(f'<th>{escape(str(h))}</th>' for h in head)}</tr></thead>")
    parts.append("<tbody>")
    for first, *rest in rows:
        parts.append(f"<tr><th {side}>{_cell(first)}</th>{''.join(map(_data, rest))}</tr>")
    parts.append("</tbody></table>")
    lines = list(below)
    if lines:
        parts.append(f"<p>{'<br>'.join(escape(line) for line in lines)}</p>")
    return "".join(parts)


def _data(value: Any) -> str:
    return f'<td style="text-align: left">{_cell(value)}</td>'


def _cell(value: Any) -> str:
    return escape(str(value))
