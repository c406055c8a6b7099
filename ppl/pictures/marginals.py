"""Marginals: a panel for each number, bars for finite nodes, densities for continuous ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from .cells import Cell, drawn, few, truths
from .shapes import bars, density, labels, mark, spread, ticks, worth_showing
from .spans import dots, intervals
from .style import COLOURS, FAINT, legend, panels, whole_steps

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Marginal, Posterior

__all__ = ["PALE", "beside_prior", "draw", "shares"]

#: Panels in one figure at most; groups of values that a long table is drawn in; draws from a prior.
MOST, GROUPS, DRAWS = 12, 60, 4000
#: How dark areas are that lie on top of each other.
PALE = 0.07


def draw(
    many: Mapping[str, Posterior], which: Sequence[Cell], truth: Mapping[str, Any] | None
) -> Any:
    """One posterior, or several overlaid."""
    first = next(iter(many.values()))
    true = truths(first, which, truth)
    rows = [] if len(many) > 1 else _rows(first, which)
    single = [cell for cell in which if cell.name not in rows]
    figure, places = panels([*rows, *(cell.label for cell in single)], MOST)
    for axes, name in zip(places, rows, strict=False):
        shown = _values if few(first[name]) else _along
        shown(axes, first[name], [cell for cell in which if cell.name == name], true)
    values: dict[tuple[str, str], Tensor] = {}
    for axes, cell in zip(places[len(rows) :], single, strict=False):
        marginal, known = first[cell.name], None
        if few(marginal):
            series = [
                (label, shares(one[cell.name], cell, marginal.domain), COLOURS[k % len(COLOURS)])
                for k, (label, one) in enumerate(many.items())
            ]
            known = bars(axes, marginal.domain, marginal.states, series)
        else:
            for k, (label, one) in enumerate(many.items()):
                colour = COLOURS[k % len(COLOURS)]
                own = one[cell.name]
                if own.finite and own.domain.dim() == 1:
                    _long(axes, own, cell, label, colour, PALE if len(many) > 1 else 0.2)
                    continue
                if (label, cell.name) not in values:
                    values[label, cell.name] = spread(own)
                pale = PALE if len(many) > 1 else 0.2
                density(axes, values[label, cell.name][cell.rows], label, colour, filled=pale)
            axes.set_yticks([])
        if cell in true:
            mark(axes, true[cell], known)
    legend(figure)
    return figure


def beside_prior(
    posterior: Posterior, which: Sequence[Cell], truth: Mapping[str, Any] | None, seed: int
) -> Any:
    """Prior and posterior; densities have the same height, because a posterior may be a hundred times as narrow."""
    from ..posterior.predict import prior_draws

    true = truths(posterior, which, truth)
    before = drawn(prior_draws(posterior, DRAWS, seed), which)
    figure, places = panels([cell.label for cell in which], MOST)
    for axes, cell in zip(places, which, strict=False):
        marginal, known = posterior[cell.name], None
        if few(marginal):
            counted = (before[cell].unsqueeze(-1) == marginal.domain).to(torch.float64).mean(dim=0)
            after = shares(marginal, cell, marginal.domain)
            series = [("prior", counted.numpy(), FAINT), ("posterior", after, COLOURS[0])]
            known = bars(axes, marginal.domain, marginal.states, series)
        else:
            density(axes, before[cell], "prior", FAINT, height=1)
            density(axes, spread(marginal)[cell.rows], "posterior", COLOURS[0], height=1)
            # A few draws of a heavy tail would leave no room for the rest.
            tails = torch.quantile(before[cell], torch.tensor([0.01, 0.99], dtype=torch.float64))
            ends = torch.cat([tails, spread(marginal)[cell.rows][[0, -1]].to(torch.float64)])
            width = float(ends.max() - ends.min())
            if width > 0:
                axes.set_xlim(float(ends.min()) - 0.03 * width, float(ends.max()) + 0.03 * width)
            axes.set_yticks([])
        if cell in true:
            mark(axes, true[cell], known)
    legend(figure)
    return figure


def _rows(posterior: Posterior, which: Sequence[Cell]) -> list[str]:
    """Nodes of which so many members are drawn that each is a place in one panel instead of a panel."""
    counts = Counter(cell.name for cell in which if len(cell.at) == 1)
    return [name for name, count in counts.items() if count > MOST]


def _along(
    axes: Any, marginal: Marginal, which: Sequence[Cell], true: Mapping[Cell, float]
) -> None:
    every = spread(marginal)
    values = torch.stack([every[cell.rows] for cell in which], dim=1).to(torch.float64)
    places = numpy.array([cell.at[0] for cell in which])
    intervals(axes, places, values.numpy(), "the posterior")
    known = [cell for cell in which if cell in true]
    if known:
        look = {**dots(), "label": "true"}
        axes.plot([cell.at[0] for cell in known], [true[cell] for cell in known], **look)
    whole_steps(axes, marginal.plates[0] if marginal.plates else "entry")


def _values(
    axes: Any, marginal: Marginal, which: Sequence[Cell], true: Mapping[Cell, float]
) -> None:
    """The darker, the more probable: values upwards, members to the right."""
    probs = numpy.stack([marginal.probs[cell.at].numpy() for cell in which])
    order = worth_showing(marginal.domain, marginal.states, list(probs))
    places = numpy.array([cell.at[0] for cell in which])
    mesh = axes.pcolormesh(
        places, numpy.arange(len(order)), probs[:, order].T, cmap="Blues", vmin=0, vmax=1
    )
    axes.figure.colorbar(mesh, ax=axes, label="probability", shrink=0.9)
    ticks(axes.yaxis, labels(marginal.domain, marginal.states, order))
    known = marginal.domain[order.tolist()].tolist()
    marked = [cell for cell in which if true.get(cell) in known]
    if marked:
        heights = [known.index(true[cell]) for cell in marked]
        axes.plot(
            [cell.at[0] for cell in marked], heights, **{**dots(), "label": "true", "mec": "white"}
        )
    whole_steps(axes, marginal.plates[0] if marginal.plates else "entry")


def shares(marginal: Marginal, cell: Cell, domain: Tensor) -> numpy.ndarray:
    """The probabilities of some values, zero for those that this posterior does not know, `(cardinality,)`."""
    known = dict(zip(marginal.domain.tolist(), marginal.probs[cell.at].tolist(), strict=True))
    return numpy.array([known.get(value, 0.0) for value in domain.tolist()])


def _long(
    axes: Any, marginal: Marginal, cell: Cell, label: str, colour: str, filled: float
) -> None:
    """Many values are a curve: their mean probability, group by group."""
    order = marginal.domain.argsort()
    values, probs = marginal.domain[order].numpy(), marginal.probs[cell.at][order].numpy()
    groups = numpy.array_split(numpy.arange(len(values)), min(len(values), GROUPS))
    centres = [float(values[g].mean()) for g in groups]
    heights = [float(probs[g].mean()) for g in groups]
    axes.plot(centres, heights, color=colour, label=label or None, linewidth=1.3)
    axes.fill_between(centres, heights, alpha=filled, color=colour, linewidth=0)
    top = max(axes.get_ylim()[1] if len(axes.lines) > 1 else 0, 1.06 * max(heights))
    axes.set_ylim(0, top)
