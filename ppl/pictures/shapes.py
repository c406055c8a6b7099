"""The shapes that laws of one number are drawn in: bars, and densities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from .style import SEEN

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Marginal

__all__ = ["bars", "density", "labels", "mark", "spread", "ticks", "worth_showing"]

#: Probabilities that are not worth a place at either end, bars that have their number written above, and ticks at most.
NOTHING, TOLD, TICKS = 1e-4, 4, 12
#: Equally likely values that a density is smoothed from.
LEVELS = (numpy.arange(2000) + 0.5) / 2000


def spread(marginal: Marginal) -> Tensor:
    """Equally likely values of a node, `(values, *plates, *event)`: no draws, so that no noise is added to what is known."""
    return marginal._quantiles(LEVELS)


def density(
    axes: Any,
    values: Tensor,
    label: str,
    colour: str,
    height: float | None = None,
    filled: float = 0.2,
) -> None:
    """A smoothed density, which does not leak beyond the values.

    Args:
        values: Equally likely, `(n,)`.
        height: Of the summit; by default the area is one.
        filled: How dark the area is; many on top of each other should be pale.
    """
    from arviz_stats.base import array_stats

    known = numpy.asarray(values, dtype=float)
    known = known[numpy.isfinite(known)]
    if not len(known) or numpy.ptp(known) <= 1e-12 * max(abs(known).max(), 1e-300):
        for value in known[:1]:
            axes.axvline(value, color=colour, label=label or None)
        return
    places, heights, _ = array_stats.kde(known)
    if height is not None:
        heights = heights * (height / heights.max())
    axes.plot(places, heights, color=colour, label=label or None, linewidth=1.3)
    axes.fill_between(places, heights, alpha=filled, color=colour, linewidth=0)
    top = max(axes.get_ylim()[1] if len(axes.lines) > 1 else 0, 1.06 * heights.max())
    axes.set_ylim(0, top)


def bars(
    axes: Any,
    domain: Tensor,
    states: tuple | None,
    series: Sequence[tuple[str, numpy.ndarray, str]],
    told: bool = True,
) -> list[float]:
    """Probabilities of a few values, side by side.

    Args:
        domain: The values, `(cardinality,)`.
        states: Their labels, or `None`.
        series: Label, probabilities and colour of each.
        told: Whether the probabilities of a few bars are written above them.

    Returns:
        The value at each place 0, 1, 2, … of the axis.
    """
    order = worth_showing(domain, states, [probs for _, probs, _ in series])
    width = 0.8 / len(series)
    places = numpy.arange(len(order))
    for k, (label, probs, colour) in enumerate(series):
        left = places + (k - (len(series) - 1) / 2) * width
        drawn = axes.bar(left, probs[order], width, color=colour, label=label or None)
        if told and len(order) * len(series) <= TOLD:
            above = [f"{p:.2f}" if p >= 0.01 or p == 0 else f"{p:.1g}" for p in probs[order]]
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            # In front of a line that marks a value.
            axes.bar_label(drawn, above, fontsize=8, padding=1, zorder=5, bbox=paper)
    top = max(float(probs.max()) for _, probs, _ in series)
    axes.set_ylim(0, max(1.12 * top, 1e-9))
    axes.locator_params(axis="y", nbins=4)
    axes.set_xlim(-0.6, len(order) - 0.4)
    ticks(axes.xaxis, labels(domain, states, order))
    return domain[order.tolist()].tolist()


def worth_showing(
    domain: Tensor, states: tuple | None, series: Sequence[numpy.ndarray]
) -> numpy.ndarray:
    """Which values have a bar, in order: all labels; numbers without the improbable ones at either end."""
    if states is not None:
        return numpy.arange(len(domain))
    order = numpy.argsort(domain.numpy(), kind="stable")
    there = numpy.flatnonzero(numpy.max(series, axis=0)[order] > NOTHING)
    return order[there[0] : there[-1] + 1] if len(there) else order


def mark(
    axes: Any,
    value: float,
    known: Sequence[float] | None = None,
    horizontal: bool = False,
    label: str = "true",
) -> None:
    """A line at a true or a seen value.

    Args:
        value: Which.
        known: The values that bars stand for, where there are bars; a value without a bar is not marked.
        horizontal: Whether the values run upwards.
        label: For the legend.
    """
    if known is not None:
        if value not in known:
            return
        value = list(known).index(value)
    line = axes.axhline if horizontal else axes.axvline
    line(value, color=SEEN, linewidth=1.1, linestyle=(0, (4, 2)), label=label)


def labels(domain: Tensor, states: tuple | None, order: Iterable[int]) -> list[str]:
    """What some of the values are called."""
    return [str(states[k]) if states else f"{float(domain[int(k)]):g}" for k in order]


def ticks(axis: Any, names: Sequence[str]) -> None:
    """Names along an axis at 0, 1, 2, …: every second or third number where there are many, slanted or cut where they are long."""
    step = max(-(-len(names) // TICKS), 1)
    if any(not _number(name) for name in names):
        step = 1
    short = [name if len(name) <= 16 else f"{name[:15]}…" for name in names[::step]]
    slanted = axis.axis_name == "x" and sum(map(len, short)) > 26
    look = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axis.set_ticks(range(0, len(names), step), short, fontsize=8, parse_math=False, **look)


def _number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
