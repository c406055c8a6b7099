"""Numbers two by two: marginals on the diagonal, draws below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..errors import QueryError
from .marginals import curve
from .style import COLOURS, SEEN, bare, new_figure

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Posterior

__all__ = ["draw"]

#: Numbers at most, and draws that are shown.
MOST, DRAWS = 8, 2000


def draw(
    many: Mapping[str, Posterior], names: Sequence[str], truth: Mapping[str, Any], seed: int
) -> Any:
    """Each posterior in its colour."""
    tables = {label: columns(one.sample(DRAWS, seed), names) for label, one in many.items()}
    first = next(iter(tables.values()))
    labels = list(first)[:MOST]
    if len(labels) < 2:
        raise QueryError(
            f"plot: pairs need two numbers, and there is {labels[0] if labels else 'none'}."
        )
    true = columns(
        {n: torch.as_tensor(truth[n]).unsqueeze(0) for n in names if n in truth},
        [n for n in names if n in truth],
    )
    count = len(labels)
    figure = new_figure(count, count, 1.9, 1.8)
    for row, below in enumerate(labels):
        for column, left in enumerate(labels[: row + 1]):
            axes = bare(figure.add_subplot(count, count, row * count + column + 1))
            for i, (label, table) in enumerate(tables.items()):
                colour = COLOURS[i % len(COLOURS)]
                if row == column:
                    curve(axes, table[left], label, colour)
                else:
                    axes.plot(
                        table[left],
                        table[below],
                        ".",
                        color=colour,
                        ms=2,
                        alpha=0.35,
                        mew=0,
                        rasterized=True,
                    )
            if left in true:
                axes.axvline(float(true[left][0]), color=SEEN, linewidth=0.8)
            if row != column and below in true:
                axes.axhline(float(true[below][0]), color=SEEN, linewidth=0.8)
            if row == column:
                axes.set_yticks([])
            axes.tick_params(labelsize=7, labelbottom=row == count - 1, labelleft=column == 0)
            if row == count - 1:
                axes.set_xlabel(left, fontsize=8)
            if column == 0 and row:
                axes.set_ylabel(below, fontsize=8)
    if len(tables) > 1:
        figure.axes[0].legend(frameon=False, fontsize=7)
    hidden = len(first) - count
    figure.suptitle(f"{count} of {len(first)} numbers" if hidden else "", fontsize=9)
    return figure


def columns(values: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Each single number by its label, `(draws,)`."""
    found = {}
    for name in names:
        value = values[name]
        for at in numpy.ndindex(*value.shape[1:]):
            label = f"{name}[{', '.join(map(str, at))}]" if at else name
            found[label] = value[(slice(None), *at)].to(torch.float64)
    return found
