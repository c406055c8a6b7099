"""Data that the posterior predicts, with the data that were seen: does the model tell what happened?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..errors import QueryError
from .marginals import MOST_BARS, curve
from .style import COLOURS, SEEN, bare, new_figure

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Posterior

__all__ = ["draw"]

#: Predictions, and nodes that are shown at most.
DRAWS, MOST = 1000, 9
#: The bands: central intervals.
LEVELS = (0.5, 0.9)


def draw(posterior: Posterior, of: Sequence[str] | None, seed: int) -> Any:
    """A panel for each observed node: a density and a line for one number, bands and points for many."""
    if posterior.saved:
        raise QueryError("plot: this posterior came from a file; predictions need the model.")
    drawn = posterior.predict(list(of) if of else None, n=DRAWS, seed=seed)
    names = list(drawn)[:MOST]
    if not names:
        raise QueryError("plot: no node is observed, so that nothing can be predicted.")
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = new_figure(columns, rows)
    data = posterior.observation
    for k, name in enumerate(names):
        axes = bare(figure.add_subplot(rows, columns, k + 1), name)
        seen = there = None
        if name in data.observed:
            seen, there = data.observed[name][0], data.present[name][0]
        value = drawn[name].to(torch.float64).reshape(len(drawn[name]), -1)
        if value.shape[1] == 1:
            _number(axes, value[:, 0], seen, there, posterior.graph[name].states)
        else:
            _many(axes, value, drawn[name].shape[1:], seen, there)
        if k == 0:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _number(
    axes: Any, value: Tensor, seen: Tensor | None, there: Tensor | None, states: tuple | None
) -> None:
    distinct, counts = torch.unique(value, return_counts=True)
    whole = bool((distinct == distinct.round()).all()) and len(distinct) <= MOST_BARS
    if whole:
        axes.bar(
            distinct.numpy(),
            (counts / len(value)).numpy(),
            0.8,
            color=COLOURS[0],
            alpha=0.5,
            label="predicted",
        )
        if states is not None and int(distinct.max()) < len(states):
            axes.set_xticks(distinct.tolist(), [str(states[int(v)]) for v in distinct])
    else:
        curve(axes, value, "predicted", COLOURS[0])
    axes.set_yticks([])
    if seen is not None and there is not None and bool(there.all()):
        axes.axvline(float(seen.reshape(-1)[0]), color=SEEN, label="seen")


def _many(
    axes: Any, value: Tensor, shape: Sequence[int], seen: Tensor | None, there: Tensor | None
) -> None:
    where = numpy.arange(value.shape[1])
    for level in sorted(LEVELS, reverse=True):
        low = torch.quantile(value, (1 - level) / 2, dim=0)
        high = torch.quantile(value, (1 + level) / 2, dim=0)
        label = f"{level:.0%} of predictions"
        axes.fill_between(
            where, low, high, step="mid", color=COLOURS[0], alpha=0.25, linewidth=0, label=label
        )
    if seen is not None and there is not None:
        flat = seen.to(torch.float64)
        mask = there.reshape((*there.shape, *[1] * (flat.dim() - there.dim()))).expand(flat.shape)
        shown = flat.masked_fill(~mask, torch.nan).reshape(-1)
        axes.plot(where, shown, "o", ms=3, color=SEEN, label="seen")
    axes.set_xlabel("member" if len(shape) == 1 else "member, row by row", fontsize=8)
