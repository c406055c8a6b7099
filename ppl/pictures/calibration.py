"""Calibration: distribution functions of ranks, with the band in which those of a calibrated posterior stay as a whole.

References:
    | Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison
    | (Säilynoja, Bürkner and Vehtari, 2022)
    | https://doi.org/10.1007/s11222-022-10090-6
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy

from ..checks.ranks import band, below
from ..errors import QueryError
from .style import BAND, COLOURS, FAINT, bare, legend, new_figure, saved

if TYPE_CHECKING:
    from torch import Tensor

    from ..posterior import Posterior

__all__ = ["coverage", "draw", "ranks"]

#: The share of calibrated posteriors whose whole line stays inside.
LEVEL = 0.95
#: Lines in one panel at most.
MOST = 12


def ranks(
    ranks: Tensor, draws: int, names: Sequence[str], path: str | PathLike[str] | None = None
) -> Any:
    """How far the distribution functions of ranks are from the diagonal.

    A line that rises above the band has too many low ranks: the posterior lies too high. Above at the left and below at the right, it is too
    narrow; the other way round, too wide.

    Args:
        ranks: Of the truth among posterior draws, from 0 to `draws`, `(datasets, statistics)`.
        draws: How many there were.
        names: Of the statistics.
        path: Where to save it.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        QueryError: If the ranks do not fit the draws or the names.

    Example:
        >>> import torch
        >>> uniform = torch.arange(50).reshape(50, 1) * 2
        >>> ranks(uniform, 99, ["slope"]).axes[0].get_title()
        '50 data sets'
    """
    known = _checked(ranks, draws)
    if known.ndim != 2 or known.shape[1] != len(names):
        raise QueryError(
            f"ranks: {len(names)} names for ranks {known.shape}, which are (datasets, statistics)."
        )
    figure = new_figure(1, 1, 6.4, 3.8)
    _ranks(bare(figure.add_subplot()), known, draws, names)
    legend(figure)
    return saved(figure, path)


def coverage(ranks: Tensor, draws: int, path: str | PathLike[str] | None = None) -> Any:
    """How often the densest region of each size holds the truth; below the diagonal the posterior is too sure.

    Args:
        ranks: Of the truth's posterior density among that of posterior draws, from 0 to `draws`, `(datasets,)`.
        draws: How many there were.
        path: Where to save it.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        QueryError: If the ranks do not fit the draws.
    """
    known = _checked(ranks, draws)
    if known.ndim != 1:
        raise QueryError(f"coverage: ranks of one statistic are (datasets,), not {known.shape}.")
    figure = new_figure(1, 1, 4.4, 4.4)
    _coverage(bare(figure.add_subplot()), known, draws)
    legend(figure)
    return saved(figure, path)


def draw(posterior: Posterior, kind: str) -> Any:
    """From the ranks that the posterior's check left: a panel for each component.

    Raises:
        QueryError: If it was not checked so.
    """
    found = posterior.calibrations
    if not found:
        checked = bool(posterior.certificate.tests)
        raise QueryError(
            f"plot: '{kind}' shows ranks in simulated data sets, and this posterior, found by {posterior.method} "
            f"(grade {posterior.certificate.grade}), has none"
            + (
                "; its check needed or could make none."
                if checked
                else ". posterior.check() makes them where nothing stronger can be established."
            )
        )
    if kind == "coverage":
        found = tuple(one for one in found if "density" in one.names)
        if not found:
            raise QueryError(
                f"plot: 'coverage' needs the posterior's density, which {posterior.method} does not know; kind='ranks' shows what there is."
            )
    figure = new_figure(len(found), 1, *((4.4, 4.4) if kind == "coverage" else (6.4, 3.8)))
    for k, one in enumerate(found):
        axes = bare(figure.add_subplot(1, len(found), k + 1))
        if kind == "coverage":
            _coverage(axes, one.of("density")[:, 0].numpy(), one.draws)
        else:
            _ranks(axes, one.ranks.numpy(), one.draws, one.names)
        if len(found) > 1:
            axes.set_title(", ".join(one.parameters), fontsize=10, parse_math=False)
    legend(figure)
    return figure


def _ranks(axes: Any, known: numpy.ndarray, draws: int, names: Sequence[str]) -> None:
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    low, high = band(len(known), draws, LEVEL)
    axes.fill_between(grid, low - grid, high - grid, color=BAND, linewidth=0, label=_said())
    axes.axhline(0, color=FAINT, linewidth=0.8)
    for k, name in enumerate(names[:MOST]):
        look = {"color": COLOURS[k % len(COLOURS)], "linestyle": "-" if k < len(COLOURS) else "--"}
        axes.plot(
            grid, below(known[:, k], draws) / len(known) - grid, linewidth=1.3, label=name, **look
        )
    axes.set_title(f"{len(known)} data sets", fontsize=10)
    axes.set_xlabel("rank of the truth among the draws, as a share", fontsize=9)
    axes.set_ylabel("share of data sets below, less that", fontsize=9)
    if len(names) > MOST:
        axes.set_xlabel(f"{axes.get_xlabel()}  ({len(names) - MOST} more are not shown)")


def _coverage(axes: Any, known: numpy.ndarray, draws: int) -> None:
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    low, high = band(len(known), draws, LEVEL)
    axes.fill_between(grid, low, high, color=BAND, linewidth=0, label=_said())
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    # The truth is in the region of size c when fewer than a share c of the draws are denser.
    held = below(draws - known, draws) / len(known)
    axes.plot(grid, held, color=COLOURS[0], linewidth=1.3, label="this posterior")
    axes.set_aspect("equal")
    axes.set_title(f"{len(known)} data sets", fontsize=10)
    axes.set_xlabel("size of the densest region", fontsize=9)
    axes.set_ylabel("share of data sets whose truth it holds", fontsize=9)


def _said() -> str:
    return f"{LEVEL:.0%} of calibrated posteriors"


def _checked(ranks: Tensor, draws: int) -> numpy.ndarray:
    known = numpy.asarray(ranks)
    if not len(known):
        raise QueryError("ranks: there is no data set.")
    if known.dtype.kind not in "iu" or known.min() < 0 or known.max() > draws:
        raise QueryError(
            f"ranks: whole numbers from 0 to {draws}, the number of draws; these are from {known.min()} to {known.max()}."
        )
    return known
