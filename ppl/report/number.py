"""Numbers, values and lists of names as a page shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["labelled", "listed", "number"]

#: Names in a heading.
MOST_NAMES = 6


def number(value: Any, error: float = 0.0) -> str:
    """A number with no more digits than its error leaves, and with at most five that mean something; a text as it is.

    Example:
        >>> number(-0.123456789), number(0.123456789, error=0.02), number(12_345.6), number("two")
        ('−0.12346', '0.12', '12,346', 'two')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return _digits(value, error).replace("-", "−")


def labelled(value: float, states: tuple | None = None) -> str:
    """A value of a node, by its label where it has one."""
    if states and float(value).is_integer() and 0 <= value < len(states):
        return str(states[int(value)])
    return f"{value:g}".replace("-", "−") if abs(value) < 1e6 else number(float(value))


def listed(names: Iterable[str]) -> str:
    """Names with commas, as many as a heading can hold."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMES])
    return shown + (f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else "")


def _digits(value: float, error: float) -> str:
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if error > 0 and math.isfinite(error):
        digits = -math.floor(math.log10(error))
        return f"{value:,.{digits}f}" if 0 <= digits <= 8 else f"{value:.2g}"
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.5g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
