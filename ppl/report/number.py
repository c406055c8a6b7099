"""Numbers and values as a page shows them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["labelled", "number"]


def number(value: Any, error: float = 0.0) -> str:
    """A number with no more digits than its error leaves, and with at most five that mean something; a text as it is.

    Example:
        >>> number(0.123456789), number(0.123456789, error=0.02), number(12_345.6), number("two")
        ('0.12346', '0.12', '12,346', 'two')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return f"{value:,}"
    if error > 0 and math.isfinite(error):
        digits = -math.floor(math.log10(error))
        return f"{value:,.{digits}f}" if 0 <= digits <= 8 else f"{value:.2g}"
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.5g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def labelled(value: float, states: tuple | None) -> str:
    """A value of a node, by its label where it has one."""
    if states and float(value).is_integer() and 0 <= value < len(states):
        return str(states[int(value)])
    return f"{value:g}" if abs(value) < 1e6 else number(float(value))
