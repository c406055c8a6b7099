"""Ranks of the truth among posterior draws: uniform if the posterior is calibrated (Cook, Gelman and Rubin 2006; Talts et al. 2018).

Their distribution function is compared with that of uniform ranks at all points together (Säilynoja, Bürkner and Vehtari 2021).
"""

from __future__ import annotations

from functools import cache

import numpy
import torch
from scipy.stats import binom, kstwo, norm
from torch import Tensor

__all__ = ["band", "below", "p_values", "rank", "visible"]

#: Sets of uniform ranks from which the distribution of the farthest point is read.
SETS = 4000


def rank(truth: Tensor, draws: Tensor, generator: torch.Generator) -> Tensor:
    """How many draws lie below the truth, ties in random order, `(columns,)`.

    Args:
        truth: `(columns,)`.
        draws: `(draws, columns)`.
        generator: For ties.
    """
    below = (draws < truth).sum(dim=0)
    ties = (draws == truth).sum(dim=0)
    return below + (torch.rand(len(truth), generator=generator) * (ties + 1)).long()


def p_values(ranks: Tensor, draws: int) -> Tensor:
    """How often the ranks of a calibrated posterior leave the diagonal as far as these do, `(statistics,)`.

    Args:
        ranks: From 0 to `draws`, `(datasets, statistics)`.
        draws: Posterior draws for each data set.

    Example:
        >>> uniform = torch.arange(100).reshape(100, 1)
        >>> bool(p_values(uniform, 99) > 0.9), bool(p_values(uniform // 2, 99) < 0.01)
        (True, True)
    """
    null = _null(len(ranks), draws)
    found = _farthest(ranks.T.numpy(), draws)
    return torch.from_numpy((1 + numpy.searchsorted(null, found, "right")) / (1 + SETS))


def visible(datasets: int, level: float) -> str:
    """The smallest errors that ranks of so many data sets show half of the time: of a Gaussian posterior, in words.

    Args:
        datasets: How many.
        level: The share of calibrated posteriors that is refused.

    Example:
        >>> visible(200, 0.05)
        'would show means off by 0.24 sd, or an sd wrong by a factor of 1.5'
    """
    gap = float(kstwo.isf(level, datasets))
    # A mean off by d sd lifts the middle of the distribution function by 2 Φ(d/2) - 1; an sd wrong by a factor f its flanks.
    shift = 2 * norm.ppf(min(0.5 + gap / 2, 0.999))
    points = norm.ppf(numpy.linspace(0.005, 0.495, 99))
    factors = numpy.linspace(1.02, 10, 500)
    gaps = [numpy.abs(norm.cdf(f * points) - norm.cdf(points)).max() for f in factors]
    factor = factors[min(int(numpy.searchsorted(gaps, gap)), len(factors) - 1)]
    return f"would show means off by {shift:.2f} sd, or an sd wrong by a factor of {factor:.1f}"


def band(datasets: int, draws: int, level: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Limits of the distribution function of uniform ranks, `(draws,)` each, which hold at all points together.

    Args:
        datasets: How many ranks there are.
        draws: The largest rank.
        level: The share of sets of uniform ranks that stay inside as a whole.
    """
    # Pointwise limits of this level are left somewhere by the share of sets that is allowed.
    pointwise = numpy.quantile(_null(datasets, draws), 1 - level)
    grid = numpy.arange(1, draws + 1) / (draws + 1)
    low, high = (
        binom.ppf(p, datasets, grid) / datasets for p in (pointwise / 2, 1 - pointwise / 2)
    )
    return low, high


def below(ranks: numpy.ndarray, draws: int) -> numpy.ndarray:
    """How many ranks lie below 1, 2, … `draws`, `(draws,)`."""
    return numpy.bincount(ranks, minlength=draws + 1).cumsum()[:draws]


@cache
def _null(datasets: int, draws: int) -> numpy.ndarray:
    """How far sets of uniform ranks go, as `_farthest` says it, in order, `(SETS,)`."""
    ranks = numpy.random.default_rng(0).integers(draws + 1, size=(SETS, datasets))
    return numpy.sort(_farthest(ranks, draws))


def _farthest(ranks: numpy.ndarray, draws: int) -> numpy.ndarray:
    """The smallest two-sided binomial probability along each distribution function, `(sets,)`, of `(sets, datasets)`."""
    counts = numpy.stack([below(row, draws) for row in ranks])
    return _tails(ranks.shape[1], draws)[counts, numpy.arange(draws)].min(axis=1)


@cache
def _tails(datasets: int, draws: int) -> numpy.ndarray:
    """By count and point, `(datasets + 1, draws)`."""
    share = numpy.arange(1, draws + 1) / (draws + 1)  # P(rank < r) of uniform ranks
    count = numpy.arange(datasets + 1)[:, None]
    tails = numpy.minimum(binom.cdf(count, datasets, share), binom.sf(count - 1, datasets, share))
    return 2 * tails
