"""The shortest interval that holds a given probability: the highest-density interval of a marginal with one mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import torch
from numpy import ndarray
from torch import Tensor

__all__ = ["of_curve", "of_draws", "of_table"]

#: Levels at which a quantile function is looked at; they crowd together at both ends.
LEVELS = 41
#: How far they reach on the scale of log-odds.
REACH = 9.0
#: Levels about the best one that are looked at next.
FINE = 17


def of_table(values: Tensor, probs: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Of a finite law: from one value to another; among equally short ones the most probable.

    Args:
        values: `(cardinality,)`.
        probs: `(*plates, cardinality)`.
        level: The probability that it holds at least.
    """
    order = values.argsort()
    places = values[order].numpy()
    masses = probs[..., order].reshape(-1, len(order)).numpy()
    ends = [_window(places, mass, level) for mass in masses]
    found = torch.tensor(ends, dtype=torch.int64).reshape((*probs.shape[:-1], 2))
    return values[order][found[..., 0]], values[order][found[..., 1]]


def _window(values: ndarray, mass: ndarray, level: float) -> tuple[int, int]:
    """Where the shortest interval of one law begins and ends."""
    below = numpy.concatenate([[0.0], mass.cumsum()])
    # A sum that should reach the level exactly may miss it by a rounding error.
    last = numpy.searchsorted(below, below[:-1] + level - 1e-12) - 1
    start = (last < len(mass)).nonzero()[0]
    start = start if len(start) else numpy.zeros(1, dtype=int)
    last = last[start].clip(start, len(mass) - 1)
    width, held = values[last] - values[start], below[last + 1] - below[start]
    best = numpy.lexsort((-held.round(12), width))[0]
    return int(start[best]), int(last[best])


def of_draws(values: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Of draws `(draws, *shape)`: the shortest window that holds this share of them."""
    ordered = values.sort(dim=0).values
    n = len(ordered)
    span = min(max(int(numpy.ceil(level * n - 1e-9)), 1), n) - 1
    width = ordered[span:] - ordered[: n - span]
    first = width.argmin(dim=0, keepdim=True)
    return ordered.gather(0, first)[0], ordered.gather(0, first + span)[0]


def of_curve(quantiles: Callable[[ndarray], Tensor], level: float) -> tuple[Tensor, Tensor]:
    """Of a continuous law: where the two ends are equally dense, or at the edge of the support.

    Args:
        quantiles: The quantile function, from levels `(levels,)` to values `(levels, *shape)`.
        level: The probability that it holds.

    The interval leaves p below it and 1 - level - p above it. Widths are compared on a grid of p, then on finer ones about the best, and the last
    three make a parabola. Where the density has a gap a spline through all of them would go astray.
    """
    t = numpy.linspace(-REACH, REACH, LEVELS)
    low, high = _ends(quantiles, (1 - level) / (1 + numpy.exp(-t)), level)
    shape = low.shape[1:]
    low, high = low.reshape((LEVELS, -1)), high.reshape((LEVELS, -1))
    best, each = (high - low).argmin(axis=0), numpy.arange(low.shape[1])
    found = numpy.stack([low[best, each], high[best, each]])
    for start in numpy.unique(best):
        mine = each[best == start]
        found[:, mine] = _zoomed(quantiles, t[start], level, mine)
    # A density that is highest at the edge of its support: the interval begins, or ends, there.
    low, high = _ends(quantiles, numpy.array([0.0, 1 - level]), level)
    for edge in numpy.stack([low.reshape((2, -1)), high.reshape((2, -1))], axis=1):
        known = numpy.isfinite(edge).all(axis=0)
        width = numpy.where(known, edge[1] - edge[0], numpy.inf)
        found = numpy.where(width <= found[1] - found[0], edge, found)
    ends = torch.from_numpy(found)
    return ends[0].reshape(shape), ends[1].reshape(shape)


def _ends(
    quantiles: Callable[[ndarray], Tensor], p: ndarray, level: float
) -> tuple[ndarray, ndarray]:
    """Where intervals begin and end that leave p below them, `(levels, *shape)` each."""
    found = quantiles(numpy.concatenate([p, numpy.minimum(p + level, 1.0)])).numpy()
    return found[: len(p)], found[len(p) :]


def _zoomed(
    quantiles: Callable[[ndarray], Tensor], middle: float, level: float, entries: ndarray
) -> ndarray:
    """Both ends for some entries, whose best p is near `middle` on the scale of log-odds, `(2, entries)`."""
    found, step = numpy.empty((2, len(entries))), 2 * REACH / (LEVELS - 1)
    t = middle + numpy.linspace(-step, step, FINE)
    low, high = _ends(quantiles, (1 - level) / (1 + numpy.exp(-t)), level)
    low, high = low.reshape((FINE, -1))[:, entries], high.reshape((FINE, -1))[:, entries]
    best, each = (high - low).argmin(axis=0).clip(1, FINE - 2), numpy.arange(len(entries))
    around = best + numpy.array([[-1], [0], [1]])
    low, high = low[around, each], high[around, each]
    a, b, c = high - low
    bend = a - 2 * b + c
    # The vertex of the parabola through three widths, in steps from the middle one.
    x = numpy.where(bend > 0, (a - c) / (2 * numpy.where(bend > 0, bend, 1)), 0).clip(-1, 1)
    for k, end in enumerate((low, high)):
        found[k] = end[1] + x * (end[2] - end[0]) / 2 + x**2 * (end[0] - 2 * end[1] + end[2]) / 2
    return found
