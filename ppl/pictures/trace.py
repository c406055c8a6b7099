"""Chains, draw by draw, and whether each visits all ranks equally.

References:
    | Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of MCMC (Vehtari et al., 2021)
    | https://doi.org/10.1214/20-BA1221
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch
from scipy.stats import norm

from ..errors import QueryError
from ..posterior import Chains
from .cells import Cell
from .style import BAND, COLOURS, FAINT, bare, legend, new_figure, whole_steps

if TYPE_CHECKING:
    from ..posterior import Posterior

__all__ = ["draw"]

#: Rows of panels at most, bins of ranks, chains that have a colour of their own, and the share of good chains that stay in the band.
MOST, BINS, COLOURED, LEVEL = 8, 20, 6, 0.95


def draw(posterior: Posterior, which: Sequence[Cell]) -> Any:
    """Left the draws of each chain, right the ranks of its draws among all.

    The band holds all bins of all chains for 95 % of chains that agree, if these are worth as many independent draws.

    Raises:
        QueryError: If the posterior has no chains.
    """
    found = {name: a for a in posterior.answers if isinstance(a, Chains) for name in a.names}
    shown = [cell for cell in which if cell.name in found]
    if not shown:
        raise QueryError(
            f"plot: 'trace' shows chains, and this posterior has none: it was found by {posterior.method}. method='nuts' or 'abc-mcmc' has chains."
        )
    hidden, shown = len(shown) - MOST, shown[:MOST]
    figure = new_figure(2, len(shown), 4.6, 1.8)
    for row, cell in enumerate(shown):
        chains = found[cell.name].chains[cell.name]
        at: Any = (slice(None), slice(None), *cell.at)
        values = chains[at].to(torch.float64).numpy()
        left = bare(figure.add_subplot(len(shown), 2, 2 * row + 1), cell.label)
        right = bare(figure.add_subplot(len(shown), 2, 2 * row + 2), f"ranks of {cell.label}")
        _draws(left, values)
        size = getattr(posterior[cell.name], "effective_size", values.size)
        unit = found[cell.name].unit
        _ranks(right, values, float(size) / len(values), unit)
        if row == len(shown) - 1:
            whole_steps(left, "draw" if unit == "chain" else f"draw of its {unit}, in no order")
            right.set_xlabel(f"rank among the draws of all {unit}s, as a share", fontsize=9)
    if hidden > 0:
        figure.supxlabel(f"and {hidden} more; of= chooses", fontsize=9)
    legend(figure)
    return figure


def _draws(axes: Any, values: numpy.ndarray) -> None:
    for k, chain in enumerate(values):
        axes.plot(chain, color=_colour(k, len(values)), linewidth=0.5, alpha=0.7, rasterized=True)


def _ranks(axes: Any, values: numpy.ndarray, size: float, unit: str) -> None:
    """How many times as often as equal shares each chain's draws have ranks in each bin."""
    count, length = values.shape
    # Values that occur often, as those of finite nodes, get their ranks in random order.
    broken = numpy.random.default_rng(0).permutation(values.size)
    order = numpy.lexsort((broken, values.ravel())).argsort().reshape(values.shape)
    edges = numpy.linspace(0, values.size, BINS + 1)
    # Bonferroni over bins and chains; a bin holds a chain's draw with probability 1 / BINS.
    sd = ((BINS - 1) / max(size, 1.0)) ** 0.5
    reach = float(norm.ppf(1 - (1 - LEVEL) / (2 * BINS * count))) * sd
    axes.axhspan(max(1 - reach, 0), 1 + reach, color=BAND, linewidth=0, label=f"{unit}s that agree")
    axes.axhline(1, color=FAINT, linewidth=0.8)
    for k, ranks in enumerate(order):
        counts = numpy.histogram(ranks, edges)[0] * BINS / length
        label = f"{unit} {k + 1}" if count <= COLOURED else None
        colour = _colour(k, count)
        axes.stairs(counts, edges / values.size, color=colour, label=label, baseline=None)
    axes.set_ylim(0, max(1.1 * axes.dataLim.y1, 1 + 1.1 * reach))
    axes.set_yticks([0, 1], ["0", "equal"])


def _colour(k: int, count: int) -> Any:
    """Okabe and Ito's for a few chains; many are shades from dark to light."""
    if count <= COLOURED:
        return COLOURS[k]
    from matplotlib import colormaps

    return colormaps["viridis"](0.9 * k / (count - 1))
