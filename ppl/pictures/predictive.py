"""Data that the posterior predicts, with the data that were seen: does the model tell what happened?

What a node is decides how it is shown. One number: a density or bars, and a mark. A series, or rows with one input: bands along it. Rows without an order: an
interval each, or, when they are many, how often which values occur. Labels and yes or no: how often each occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch

from .cells import MOST_BARS
from .shapes import bars, density, labels, mark, ticks
from .spans import LEVELS, central, dots, intervals
from .style import COLOURS, legend, panels, whole_steps

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Posterior

__all__ = ["draw"]

#: Predictions; nodes and their columns that are shown at most; columns of a table that get a panel each.
DRAWS, MOST, COLUMNS = 1000, 9, 4
#: Rows without an order that are shown one by one, and bins for more of them.
ROWS, BINS = 60, 20


@dataclass(frozen=True, eq=False)
class _Shown:
    """Predictions of one panel, with what was seen.

    Args:
        title: Its name.
        draws: `(draws, members)`.
        seen: NaN where nothing was, `(members,)`.
        states: Labels of the values, or `None`.
        along: Where the members stand if they have an order, `(members,)`, or `None`.
        axis: What they stand along.
    """

    title: str
    draws: numpy.ndarray
    seen: numpy.ndarray
    states: tuple | None
    along: numpy.ndarray | None
    axis: str

    @property
    def values(self) -> numpy.ndarray:
        """The distinct values that occur; none where they are many or no whole numbers."""
        found = numpy.unique(self.draws)
        seen = self.seen[numpy.isfinite(self.seen)]
        whole = bool((found == found.round()).all())
        found = numpy.union1d(found, seen)
        return found if whole and len(found) <= MOST_BARS else found[:0]


def draw(posterior: Posterior, of: str | Sequence[str] | None, seed: int) -> Any:
    """A panel for each observed node.

    Raises:
        QueryError: If the model observes nothing, and no node is named.
    """
    names = [of] if isinstance(of, str) else None if of is None else list(of)
    drawn = posterior.predict(names, n=DRAWS, seed=seed)
    shown = [one for name, value in drawn.items() for one in _columns(posterior, name, value)]
    figure, places = panels([one.title for one in shown], MOST)
    for axes, one in zip(places, shown, strict=False):
        if one.draws.shape[1] == 1:
            _number(axes, one)
        elif len(one.values) and (one.states is not None or len(one.values) <= 2):
            _counted(axes, one) if one.along is None or one.states else _along(axes, one)
        elif one.along is not None:
            _along(axes, one)
        elif len(one.values) and one.draws.shape[1] > len(one.values):
            _counted(axes, one)
        elif one.draws.shape[1] <= ROWS:
            _rows(axes, one)
        else:
            _heap(axes, one)
    legend(figure)
    return figure


def _columns(posterior: Posterior, name: str, value: Tensor) -> list[_Shown]:
    """The panels of one node: one, or one for each column of a table with a few."""
    node, data = posterior.graph[name], posterior.observation
    draws = value.to(torch.float64).numpy()
    seen = numpy.full(draws.shape[1:], numpy.nan)
    if name in data.observed and data.observed[name].shape[1:] == value.shape[1:]:
        known, there = data.observed[name][0].to(torch.float64), data.present[name][0]
        mask = there.reshape((*there.shape, *[1] * (known.dim() - there.dim()))).expand(known.shape)
        seen = known.masked_fill(~mask, torch.nan).numpy()
    along, axis = _along_what(posterior, name, draws.shape[1:])
    rest = draws.shape[2:]
    if along is None or not rest or int(numpy.prod(rest)) > COLUMNS:
        flat = draws.reshape((len(draws), -1))
        along = along if not rest else None
        axis = axis if not rest else "entries"
        return [_Shown(name, flat, seen.reshape(-1), node.states, along, axis)]
    return [
        _Shown(
            f"{name}[:, {', '.join(map(str, at))}]",
            draws[(slice(None), slice(None), *at)],
            seen[(slice(None), *at)],
            node.states,
            along,
            axis,
        )
        for at in numpy.ndindex(*rest)
    ]


def _along_what(
    posterior: Posterior, name: str, shape: Sequence[int]
) -> tuple[numpy.ndarray | None, str]:
    """What the first axis runs along: the only numeric input of the same plate, or the order of the plate."""
    node, graph = posterior.graph[name], posterior.graph
    if not shape or not node.axes:
        return None, "entries"
    plate, inputs = node.axes[0], posterior.data.inputs
    known = {
        x: inputs[x][0]
        for x in inputs
        if x in graph
        and graph[x].axes == (plate,)
        and inputs[x].dim() == 2
        and x in graph.ancestors_of([name])
        and graph[x].states is None
    }
    real = {x: v for x, v in known.items() if len(torch.unique(v)) > 2 and len(v) == shape[0]}
    if len(real) == 1:
        ((x, value),) = real.items()
        return value.to(torch.float64).numpy(), x
    if graph.plates[plate].ordered:
        return numpy.arange(shape[0]), plate
    return None, plate


def _number(axes: Any, one: _Shown) -> None:
    """One number: its law, and where what was seen lies."""
    values, column, known = one.values, one.draws[:, 0], None
    if one.states is not None:
        values = numpy.arange(len(one.states), dtype=float)
    if len(values):
        probs = numpy.array([(column == value).mean() for value in values])
        domain = torch.from_numpy(values)
        known = bars(axes, domain, one.states, [("predicted", probs, COLOURS[0])], told=False)
        if not numpy.isnan(one.seen[0]) and one.seen[0] not in known:
            known = None
    else:
        density(axes, torch.from_numpy(column), "predicted", COLOURS[0])
        axes.set_yticks([])
    if numpy.isfinite(one.seen[0]):
        mark(axes, float(one.seen[0]), known, label="seen")


def _counted(axes: Any, one: _Shown) -> None:
    """How often each value occurs among the members that were seen."""
    there = numpy.isfinite(one.seen)
    used = there if there.any() else numpy.ones_like(there)
    states = one.states
    values = one.values if states is None else numpy.arange(len(states), dtype=float)
    counts = (one.draws[:, used, None] == values).sum(axis=1)
    places = numpy.arange(len(values))
    intervals(axes, places, counts)
    if there.any():
        axes.plot(places, (one.seen[there, None] == values).sum(axis=0), **dots())
    names = labels(torch.from_numpy(values), states, range(len(values)))
    ticks(axes.xaxis, names)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"how many of {int(used.sum())}", fontsize=9)


def _along(axes: Any, one: _Shown) -> None:
    """Bands."""
    assert one.along is not None
    order = numpy.argsort(one.along, kind="stable")
    places, draws = one.along[order], one.draws[:, order]
    if len(one.values) and len(one.values) <= 2:
        top = one.values[-1]
        line = (draws == top).mean(axis=0)
        label = f"predicted probability of {top:g}"
        axes.plot(places, line, color=COLOURS[0], linewidth=1.3, label=label)
        axes.plot(places, (one.seen[order] == top) + 0 * one.seen[order], **dots())
    else:
        for level, alpha in LEVELS:
            low, high = central(draws, level)
            look = {"color": COLOURS[0], "alpha": alpha, "linewidth": 0}
            axes.fill_between(places, low, high, label=f"{level:.0%} of predictions", **look)
        axes.plot(places, one.seen[order], **dots())
    if (places == places.round()).all():
        whole_steps(axes, one.axis)
    axes.set_xlabel(one.axis, fontsize=9, parse_math=False)


def _rows(axes: Any, one: _Shown) -> None:
    """An interval for each member."""
    places = numpy.arange(one.draws.shape[1])
    intervals(axes, places, one.draws)
    axes.plot(places, one.seen, **dots())
    whole_steps(axes, one.axis)


def _heap(axes: Any, one: _Shown) -> None:
    """How many members have values in which range."""
    there = numpy.isfinite(one.seen)
    used = there if there.any() else numpy.ones_like(there)
    draws = one.draws[:, used]
    ends = numpy.quantile(draws, [0.001, 0.999])
    if there.any():
        ends = numpy.array(
            [min(ends[0], one.seen[there].min()), max(ends[1], one.seen[there].max())]
        )
    edges: Any = numpy.linspace(ends[0], ends[1], BINS + 1) if ends[1] > ends[0] else BINS
    counts = numpy.stack([numpy.histogram(row, edges)[0] for row in draws])
    middle = (numpy.asarray(edges)[1:] + numpy.asarray(edges)[:-1]) / 2
    for level, alpha in LEVELS:
        low, high = central(counts, level)
        look = {"color": COLOURS[0], "alpha": alpha, "linewidth": 0, "step": "mid"}
        axes.fill_between(middle, low, high, label=f"{level:.0%} of predictions", **look)
    if there.any():
        axes.plot(middle, numpy.histogram(one.seen[there], edges)[0], **dots())
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"how many of {int(used.sum())}", fontsize=9)
