"""The shortest interval that holds a given probability: the highest-density interval of a marginal with one mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import torch
from numpy import ndarray
from torch import Tensor

__all__ = ["of_curve", "of_draws", "of_table"]

#: Levels at which a quantile function is looked at; they crowd together at both ends.
LEVELS = 61
#: How far they reach on the scale of log-odds.
REACH = 9.0
#: Positions that are compared between the levels.
FINE = 4001


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

    The interval leaves p below it and 1 - level - p above it; its width is smooth in the log-odds of p's share, and the p of the
    shortest one is read off a spline through the widths.
    """
    from scipy.interpolate import CubicSpline

    t = numpy.linspace(-REACH, REACH, LEVELS)
    share = 1 / (1 + numpy.exp(-t))
    p = numpy.concatenate([(1 - level) * share, [0.0, 1 - level]])
    found = quantiles(numpy.concatenate([p, numpy.minimum(p + level, 1.0)]))
    shape = found.shape[1:]
    lows, highs = found.reshape((2, LEVELS + 2, -1)).numpy()
    fine = numpy.linspace(-REACH, REACH, FINE)
    low = CubicSpline(t, lows[:LEVELS])(fine)
    high = CubicSpline(t, highs[:LEVELS])(fine)
    best, each = (high - low).argmin(axis=0), numpy.arange(low.shape[1])
    low, high = low[best, each], high[best, each]
    # A density that is highest at the edge of its support: the interval begins, or ends, there.
    for k in (LEVELS, LEVELS + 1):
        edge = numpy.isfinite(lows[k]) & numpy.isfinite(highs[k])
        shorter = edge & (numpy.where(edge, highs[k] - lows[k], numpy.inf) <= high - low)
        low, high = numpy.where(shorter, lows[k], low), numpy.where(shorter, highs[k], high)
    return torch.from_numpy(low).reshape(shape), torch.from_numpy(high).reshape(shape)
