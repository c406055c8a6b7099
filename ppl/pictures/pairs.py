"""Numbers two by two: marginals on the diagonal, what they know of each other below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from scipy.ndimage import gaussian_filter

from ..errors import QueryError
from .cells import Cell, drawn, few, truths
from .marginals import PALE, shares
from .shapes import bars, density, labels, mark, spread, ticks, worth_showing
from .style import COLOURS, bare, legend, new_figure

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Marginal, Posterior

__all__ = ["draw"]

#: Numbers at most; draws that are shown; shares of the draws that the contours hold; bins of the histogram behind them.
MOST, DRAWS, LEVELS, BINS = 8, 2000, (0.5, 0.9), 48


def draw(
    many: Mapping[str, Posterior], which: Sequence[Cell], truth: Mapping[str, Any] | None, seed: int
) -> Any:
    """Each posterior in its colour.

    Raises:
        QueryError: If there are not two numbers.
    """
    if len(which) < 2:
        raise QueryError(
            f"plot: pairs need two numbers, and there is {which[0].label if which else 'none'}; kind='marginals' shows one."
        )
    first = next(iter(many.values()))
    shown, true = which[:MOST], truths(first, which, truth)
    numbers = [_Number.of(cell, many) for cell in shown]
    tables = [drawn(one.sample(DRAWS, seed), shown) for one in many.values()]
    count = len(shown)
    figure = new_figure(count, count, 1.9, 1.8)
    for row, below in enumerate(numbers):
        for column, left in enumerate(numbers[: row + 1]):
            axes = bare(figure.add_subplot(count, count, row * count + column + 1))
            if row == column:
                left.alone(axes, list(many))
            else:
                for k, table in enumerate(tables):
                    x, y = left.placed(table[left.cell]), below.placed(table[below.cell])
                    _two(axes, x, y, (left, below), COLOURS[k % len(COLOURS)], len(tables))
                below.stretch(axes.yaxis)
                if below.cell in true:
                    mark(axes, true[below.cell], below.values, horizontal=True)
            left.stretch(axes.xaxis)
            if left.cell in true:
                mark(axes, true[left.cell], left.values)
            axes.tick_params(labelbottom=row == count - 1, labelleft=column == 0 and row > 0)
            axes.tick_params(labelsize=7)
            if row == column:
                axes.set_yticks([])
            if row == count - 1:
                axes.set_xlabel(left.cell.label, fontsize=9, parse_math=False)
            if column == 0 and row:
                axes.set_ylabel(below.cell.label, fontsize=9, parse_math=False)
    if len(which) > count:
        figure.supxlabel(f"{count} of {len(which)} numbers; of= chooses", fontsize=8)
    legend(figure)
    return figure


@dataclass(frozen=True, eq=False)
class _Number:
    """One number and its axis, which is the same wherever it appears.

    Args:
        cell: Which.
        marginals: Of each posterior.
        values: Those that bars stand for, or `None` where it is continuous.
        ends: Of the axis.
    """

    cell: Cell
    marginals: tuple[Marginal, ...]
    values: list[float] | None
    ends: tuple[float, float]

    @classmethod
    def of(cls, cell: Cell, many: Mapping[str, Posterior]) -> _Number:
        """The axis holds what all posteriors find possible."""
        marginals = tuple(one[cell.name] for one in many.values())
        first = marginals[0]
        if few(first):
            probs = [shares(m, cell, first.domain) for m in marginals]
            order = worth_showing(first.domain, first.states, probs)
            return cls(
                cell, marginals, first.domain[order.tolist()].tolist(), (-0.6, len(order) - 0.4)
            )
        low, high = numpy.inf, -numpy.inf
        for marginal in marginals:
            # A few draws of a heavy tail would leave no room for the rest.
            inside = [float(marginal.quantile(q)[cell.at]) for q in (0.002, 0.5, 0.998)]
            low = min(low, inside[0] - 0.2 * (inside[1] - inside[0]))
            high = max(high, inside[2] + 0.2 * (inside[2] - inside[1]))
        return cls(cell, marginals, None, (low, high) if high > low else (low - 1, high + 1))

    def alone(self, axes: Any, names: Sequence[str]) -> None:
        """Its marginals."""
        first = self.marginals[0]
        colours = [COLOURS[k % len(COLOURS)] for k in range(len(names))]
        if self.values is not None:
            probs = [shares(m, self.cell, first.domain) for m in self.marginals]
            bars(
                axes, first.domain, first.states, [*zip(names, probs, colours, strict=True)], False
            )
            return
        pale = PALE if len(names) > 1 else 0.2
        for name, marginal, colour in zip(names, self.marginals, colours, strict=True):
            density(axes, spread(marginal)[self.cell.rows], name, colour, filled=pale)

    def placed(self, column: Tensor) -> numpy.ndarray:
        """Where draws stand; finite ones at the places of their bars, or nowhere."""
        if self.values is None:
            return column.numpy()
        places = {value: float(k) for k, value in enumerate(self.values)}
        return numpy.array([places.get(value, numpy.nan) for value in column.tolist()])

    def stretch(self, axis: Any) -> None:
        """Give an axis its ends, and its labels if the number is finite."""
        if self.values is not None:
            first = self.marginals[0]
            order = [first.domain.tolist().index(value) for value in self.values]
            ticks(axis, labels(first.domain, first.states, order))
        (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(*self.ends)


def _two(
    axes: Any,
    x: numpy.ndarray,
    y: numpy.ndarray,
    sides: tuple[_Number, _Number],
    colour: str,
    count: int,
) -> None:
    """Circles as large as probabilities for two finite numbers; dots otherwise, shaken along a finite axis, with contours for two continuous ones."""
    there = numpy.isfinite(x) & numpy.isfinite(y)
    x, y = x[there], y[there]
    finite = [side.values is not None for side in sides]
    if all(finite):
        spots, counts = numpy.unique(numpy.stack([x, y]), axis=1, return_counts=True)
        widest = max(len(side.values or ()) for side in sides)
        # In points squared: the most probable pair fills the room that it has.
        area = (85 / widest) ** 2 * counts / counts.max()
        look = {"facecolor": colour} if count == 1 else {"facecolor": "none", "linewidth": 1.5}
        axes.scatter(*spots, s=area, edgecolor=colour, **look)
        return
    shaken = numpy.random.default_rng(0).uniform(-0.3, 0.3, len(x))
    x, y = (x + shaken if finite[0] else x), (y + shaken if finite[1] else y)
    axes.plot(x, y, ".", color=colour, ms=2, alpha=0.3, mew=0, rasterized=True)
    if not any(finite):
        _contours(axes, x, y, colour)


def _contours(axes: Any, x: numpy.ndarray, y: numpy.ndarray, colour: str) -> None:
    """Lines around the densest regions that hold half and nine tenths of the draws."""
    if numpy.ptp(x) <= 0 or numpy.ptp(y) <= 0:
        return
    pad = [0.1 * numpy.ptp(v) for v in (x, y)]
    box = [(v.min() - p, v.max() + p) for v, p in zip((x, y), pad, strict=True)]
    counts, across, up = numpy.histogram2d(x, y, BINS, box)
    # Scott's rule, in bins.
    width = [v.std() * len(x) ** (-1 / 6) / (e[1] - e[0]) for v, e in ((x, across), (y, up))]
    smooth = gaussian_filter(counts, width, mode="constant")
    ranked = numpy.sort(smooth.ravel())[::-1]
    held = ranked.cumsum() / ranked.sum()
    limits = sorted({float(ranked[numpy.searchsorted(held, level)]) for level in LEVELS})
    middle = [(e[1:] + e[:-1]) / 2 for e in (across, up)]
    axes.contour(*middle, smooth.T, levels=limits, colors=[colour], linewidths=0.9)
