"""Chains, draw by draw, and whether each visits all ranks equally."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from ..errors import QueryError
from .pairs import columns
from .style import COLOURS, bare, new_figure

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["draw"]

#: Rows of panels at most, and bins of ranks.
MOST, BINS = 8, 20


def draw(posterior: Posterior, names: Sequence[str]) -> Any:
    """Left the draws of each chain, right the ranks of its draws among all (Vehtari et al. 2021)."""
    chains = {
        name: answer.chains[name]
        for answer in posterior.answers
        if hasattr(answer, "chains")
        for name in answer.chains
        if name in names
    }
    if not chains:
        raise QueryError(
            f"plot: 'trace' shows chains, and {posterior.method} has none; method='nuts' or 'abc-mcmc' has."
        )
    count = next(iter(chains.values())).shape[0]
    numbers = columns({n: v.flatten(0, 1) for n, v in chains.items()}, list(chains))
    labels = list(numbers)[:MOST]
    figure = new_figure(2, len(labels), 4.6, 1.7)
    for row, label in enumerate(labels):
        by_chain = numbers[label].reshape(count, -1)
        left = bare(figure.add_subplot(len(labels), 2, 2 * row + 1), label)
        right = bare(figure.add_subplot(len(labels), 2, 2 * row + 2), f"ranks of {label}")
        order = numbers[label].argsort().argsort().reshape(count, -1).to(torch.float64)
        edges = numpy.linspace(0, order.numel(), BINS + 1)
        for k in range(min(count, 8)):
            colour = COLOURS[k % len(COLOURS)]
            left.plot(by_chain[k], color=colour, linewidth=0.5, alpha=0.8)
            counts, _ = numpy.histogram(order[k].numpy(), edges)
            right.stairs(counts, edges, color=colour)
        right.axhline(by_chain.shape[1] / BINS, color="#808080", ls="--", linewidth=0.8)
        right.set_yticks([])
        right.set_ylim(bottom=0)
    return figure
