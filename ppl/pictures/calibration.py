"""Calibration: distribution functions of ranks, less the diagonal, with the band in which those of a calibrated posterior stay as a whole.

References:
    | Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison
    | (Säilynoja, Bürkner and Vehtari, 2022)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy
from scipy.stats import binom

from ..errors import QueryError
from .style import COLOURS, bare, new_figure, saved

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Posterior

__all__ = ["band", "coverage", "draw", "ranks"]

#: The share of calibrated posteriors whose whole line stays inside, and sets of ranks that it is found from.
LEVEL, SETS = 0.95, 2000
#: Lines in one panel at most.
MOST = 12


def ranks(
    ranks: Tensor, draws: int, names: Sequence[str], path: str | PathLike[str] | None = None
) -> Any:
    """How far the distribution functions of ranks are from the diagonal.

    Args:
        ranks: Of the truth among posterior draws, from 0 to `draws`, `(datasets, statistics)`.
        draws: How many there were.
        names: Of the statistics.
        path: Where to save it.

    Example:
        >>> import torch
        >>> figure = ranks(torch.randint(100, (50, 1)), 99, ["slope"])
        >>> figure.axes[0].get_title()
        '50 data sets'
    """
    figure = new_figure(1, 1, 7.4, 3.6)
    axes = bare(figure.add_subplot(), f"{len(ranks)} data sets")
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    low, high = band(len(ranks), draws)
    axes.fill_between(
        grid,
        low - grid,
        high - grid,
        color="#808080",
        alpha=0.25,
        linewidth=0,
        label=f"{LEVEL:.0%} of calibrated posteriors",
    )
    for k, name in enumerate(names[:MOST]):
        below = _below(ranks[:, k].numpy(), draws)
        axes.plot(
            grid,
            below - grid,
            color=COLOURS[k % len(COLOURS)],
            ls="-" if k < 6 else "--",
            label=name,
        )
    axes.axhline(0, color="#808080", linewidth=0.8)
    axes.set_xlabel("rank of the truth among the draws, as a share")
    axes.set_ylabel("share of data sets below, less that")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return saved(figure, path)


def coverage(ranks: Tensor, draws: int, path: str | PathLike[str] | None = None) -> Any:
    """How often the densest region of each size holds the truth.

    Args:
        ranks: Of the truth's posterior density among that of posterior draws, from 0 to `draws`, `(datasets,)`.
        draws: How many there were.
        path: Where to save it.
    """
    figure = new_figure(1, 1, 4.4, 4.2)
    axes = bare(figure.add_subplot(), f"{len(ranks)} data sets")
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    low, high = band(len(ranks), draws)
    axes.fill_between(
        grid,
        low,
        high,
        color="#808080",
        alpha=0.25,
        linewidth=0,
        label=f"{LEVEL:.0%} of calibrated posteriors",
    )
    axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8)
    # The truth is in the region of size c when fewer than a share c of the draws are denser.
    held = _below(draws - ranks.numpy(), draws)
    axes.plot(grid, held, color=COLOURS[0], label="this one")
    axes.set_xlabel("size of the densest region")
    axes.set_ylabel("share of data sets whose truth it holds")
    axes.legend(frameon=False, fontsize=8)
    return saved(figure, path)


def draw(posterior: Posterior, kind: str) -> Any:
    """From the ranks that the posterior's check left."""
    found = posterior.__dict__.get("calibrations", ())
    if not found:
        raise QueryError(
            f"plot: '{kind}' needs ranks in simulated data sets. posterior.check() makes them, for answers that are neither exact nor checked otherwise."
        )
    first = found[0]
    if kind == "ranks":
        return ranks(first.ranks, first.draws, first.names)
    if "density" not in first.names:
        raise QueryError(
            f"plot: coverage needs the posterior's density, which {posterior.method} does not know; kind='ranks' shows what there is."
        )
    return coverage(first.of("density")[:, 0], first.draws)


@cache
def band(datasets: int, draws: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Limits of the distribution function of uniform ranks, `(draws,)` each, which hold for all points together."""
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    sets = numpy.random.default_rng(0).integers(draws + 1, size=(SETS, datasets))
    counts = numpy.stack([_below(row, draws) for row in sets]) * datasets
    tails = 2 * numpy.minimum(
        binom.cdf(counts, datasets, grid), binom.sf(counts - 1, datasets, grid)
    )
    # Pointwise limits of this level are left somewhere by the share of sets that is allowed.
    level = numpy.quantile(tails.min(axis=1), 1 - LEVEL)
    low = binom.ppf(level / 2, datasets, grid) / datasets
    high = binom.ppf(1 - level / 2, datasets, grid) / datasets
    return low, high


def _below(ranks: numpy.ndarray, draws: int) -> numpy.ndarray:
    """The share of ranks below 1, 2, … `draws`, `(draws,)`."""
    return numpy.bincount(ranks, minlength=draws + 1).cumsum()[:draws] / len(ranks)
