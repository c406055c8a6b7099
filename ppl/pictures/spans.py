"""Spans: where a share of the draws lies, beside what was seen."""

from __future__ import annotations

from typing import Any

import numpy

from .style import COLOURS, SEEN

__all__ = ["LEVELS", "central", "dots", "intervals"]

#: Central intervals, the widest first, and how dark they are.
LEVELS = ((0.9, 0.25), (0.5, 0.45))


def intervals(
    axes: Any, places: numpy.ndarray, draws: numpy.ndarray, what: str = "predictions"
) -> None:
    """A pale bar inside of which is a darker one, for each column of draws."""
    width = max(min(7.0, 160 / len(places)), 1.5)
    for level, alpha in LEVELS:
        low, high = central(draws, level)
        # Where all predictions agree, a bar without a height would not be seen.
        short = numpy.maximum(high - low, 0.006 * max(float(numpy.ptp(draws)), 1e-300))
        axes.vlines(
            places,
            (low + high - short) / 2,
            (low + high + short) / 2,
            color=COLOURS[0],
            alpha=alpha,
            linewidth=width,
            label=f"{level:.0%} of {what}",
        )


def central(draws: numpy.ndarray, level: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The ends of the central interval, for each column of draws."""
    return tuple(numpy.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0))  # type: ignore[return-value]


def dots() -> dict[str, Any]:
    """How what was seen is drawn."""
    return {"marker": "o", "ls": "", "ms": 3.5, "color": SEEN, "label": "seen", "zorder": 3}
