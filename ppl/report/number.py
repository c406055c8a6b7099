"""Numbers, values and lists of names as a page shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..posterior.figures import number as rounded

__all__ = ["labelled", "listed", "number", "typeset"]

#: Names in a heading.
MOST_NAMES = 6


def number(value: Any, error: float = 0.0) -> str:
    """A number with no more digits than its error leaves, and with at most five that mean something; a text as it is.

    Example:
        >>> number(-0.123456789), number(0.123456789, error=0.02), number(12_345), number("two")
        ('−0.12346', '0.12', '12,345', 'two')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return typeset(f"{value:,}" if isinstance(value, int) else rounded(value, error, 5))


def typeset(text: str) -> str:
    """Digits with the minus sign that pages have."""
    return text.replace("-", "−")


def labelled(value: float, states: tuple | None = None) -> str:
    """A value of a node, by its label where it has one."""
    if states and float(value).is_integer() and 0 <= value < len(states):
        return str(states[int(value)])
    return typeset(f"{value:g}") if abs(value) < 1e6 else number(float(value))


def listed(names: Iterable[str]) -> str:
    """Names with commas, as many as a heading can hold."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMES])
    return shown + (f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else "")
