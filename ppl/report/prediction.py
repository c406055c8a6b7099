"""The predictive check in a report: would data from this posterior look like the data that were seen?

Figures of the observed nodes (a value, or mean, spread and extremes of many) are compared with the same figures of data that the
posterior predicts.

References:
    | Posterior predictive assessment of model fitness via realized discrepancies (Gelman, Meng, Stern, 1996)
    | http://www.jstor.org/stable/24306036
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import GaltonError
from .figures import figure
from .image import Image
from .number import labelled, number

if TYPE_CHECKING:
    from ..graph import Node
    from ..posterior import Posterior

__all__ = ["Agreed", "Compared", "Prediction", "predicted"]

#: The probability of the interval, and how many values of a finite node are told apart.
LEVEL, FEW = 0.9, 4
#: Statistics of a node with many cells.
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda cells: cells.mean(dim=-1),
    "sd": lambda cells: cells.std(dim=-1, correction=0),
    "smallest": lambda cells: cells.min(dim=-1).values,
    "largest": lambda cells: cells.max(dim=-1).values,
}


@dataclass(frozen=True)
class Compared:
    """One figure of the data beside what was predicted.

    Args:
        name: The node.
        what: The figure.
        seen: Of the data.
        middle: The predicted median.
        interval: The central predicted interval.
        beyond: The share of predictions at least as far out, to the nearer side, times two.
        outside: Whether the data lie outside the interval.
        low, high, at, mark: Ends of the interval, place of the data and the median, in percent of the picture's width.
    """

    name: str
    what: str
    seen: str
    middle: str
    interval: str
    beyond: str
    outside: bool
    low: float
    high: float
    at: float
    mark: float


@dataclass(frozen=True)
class Agreed:
    """One value of a finite node, and how often it was predicted, in percent."""

    name: str
    seen: str
    share: float


@dataclass(frozen=True)
class Prediction:
    """A predictive check, or why there is none.

    Args:
        reason: Why there is none; empty where there is one.
        draws: How many data sets were predicted.
        rows: The figures.
        agreed: Single values of finite nodes.
        outside: How many lie outside their interval.
        level: The probability of an interval, in percent.
        picture: The data among predictions.
    """

    reason: str = ""
    draws: int = 0
    rows: tuple[Compared, ...] = ()
    agreed: tuple[Agreed, ...] = ()
    outside: int = 0
    level: int = round(100 * LEVEL)
    picture: Image | None = None


def predicted(posterior: Posterior, draws: int) -> Prediction:
    """Compare what was seen with what the posterior predicts."""
    data = posterior.observation
    names = [
        name
        for name in data.observed
        if not posterior.graph[name].outputs and name not in data.soft
    ]
    if not names:
        return Prediction("Nothing was observed, so there is nothing to compare with.")
    if draws == 0:
        return Prediction("It was left out, as asked for by draws=0.")
    try:
        batches = posterior.predict(names, n=draws)
    except GaltonError as error:
        return Prediction(f"The model could not be asked for predictions. {error}")
    found = [
        row
        for name in names
        for row in _compared(
            posterior.graph[name], batches[name], data.observed[name][0], data.present[name][0]
        )
    ]
    if not found:
        return Prediction("Every cell of the observation is missing.")
    rows = tuple(row for row in found if isinstance(row, Compared))
    agreed = tuple(row for row in found if isinstance(row, Agreed))
    outside = sum(row.outside for row in rows)
    picture = figure(posterior, "predictive", "The data among predictions")
    return Prediction("", draws, rows, agreed, outside, picture=picture)


def _compared(
    node: Node, drawn: Tensor, seen: Tensor, there: Tensor
) -> Iterator[Compared | Agreed]:
    """The figures of one node, from draws `(draws, *plates, *event)`."""
    mask = there.reshape((*there.shape, *[1] * (seen.dim() - there.dim()))).expand(seen.shape)
    cells, own = drawn.to(torch.float64)[:, mask], seen.to(torch.float64)[mask]
    if not own.numel():
        return
    values = torch.unique(torch.cat([cells.reshape(-1), own]))
    whole = bool((values == values.round()).all())
    if whole and (len(values) <= FEW or (node.states and len(node.states) <= FEW)):
        for value in values.tolist():
            shares, share = (
                (cells == value).to(torch.float64).mean(-1),
                (own == value).to(torch.float64).mean(),
            )
            what = f"share of {labelled(value, node.states)}"
            if own.numel() > 1:
                yield _row(node.name, what, share, shares)
            elif value == float(own[0]):
                yield Agreed(node.name, labelled(value, node.states), 100 * float(shares.mean()))
    elif own.numel() == 1:
        yield _row(node.name, "value", own[0], cells[:, 0])
    else:
        for what, statistic in STATISTICS.items():
            yield _row(node.name, what, statistic(own), statistic(cells))


def _row(name: str, what: str, seen: Tensor, drawn: Tensor) -> Compared:
    tail = (1 - LEVEL) / 2
    low, middle, high = (float(drawn.quantile(q)) for q in (tail, 0.5, 1 - tail))
    own = float(seen)
    # Half of the ties lie on either side.
    above = float(
        (drawn > own).to(torch.float64).mean() + (drawn == own).to(torch.float64).mean() / 2
    )
    # Quantiles of a few hundred draws have few digits.
    error = float(drawn.std(correction=0)) / len(drawn) ** 0.5
    ends = [float(drawn.quantile(0.005)), float(drawn.quantile(0.995)), own]
    least, width = min(ends), max(ends) - min(ends)

    def place(value: float) -> float:
        return 50.0 if width <= 0 else round(4 + 92 * (value - least) / width, 2)

    return Compared(
        name,
        what,
        number(own),
        number(middle, error),
        f"[{number(low, error)}, {number(high, error)}]",
        f"{2 * min(above, 1 - above):.2f}",
        not low <= own <= high,
        place(low),
        place(high),
        place(own),
        place(middle),
    )
