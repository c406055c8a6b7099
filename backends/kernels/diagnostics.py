"""What several chains say about themselves: rank R-hat, effective sample sizes, energy.

References:
    | Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021); by ArviZ
    | Diagnosing biased inference with divergences and E-BFMI (Betancourt, 2016)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy
from numpy import ndarray

__all__ = ["Diagnosis", "diagnose"]

#: What grade B asks for.
RHAT, ESS, BFMI = 1.01, 400, 0.3


@dataclass(frozen=True)
class Diagnosis:
    """The worst figures over all quantities.

    Args:
        rhat: Rank R-hat.
        bulk, tail: Effective sample sizes.
        sizes: Bulk effective sample size of each quantity.
        bfmi: The smallest energy fraction of missing information.
        divergences: Trajectories that diverged.
    """

    rhat: float
    bulk: float
    tail: float
    sizes: ndarray
    bfmi: float = 1.0
    divergences: int = 0

    @property
    def passed(self) -> bool:
        """Whether they are as good as grade B asks for."""
        return (
            self.rhat < RHAT
            and self.bulk >= ESS
            and self.tail >= ESS
            and not self.divergences
            and self.bfmi > BFMI
        )

    def worst(self, other: Diagnosis) -> Diagnosis:
        """The worse of each figure; `sizes` stay."""
        return replace(
            self,
            rhat=max(self.rhat, other.rhat),
            bulk=min(self.bulk, other.bulk),
            tail=min(self.tail, other.tail),
        )

    @property
    def disagree(self) -> bool:
        """Whether the chains are in different places, rather than only short."""
        return self.rhat > 1.1


def diagnose(draws: ndarray, energy: ndarray | None = None, divergences: int = 0) -> Diagnosis:
    """Look at draws `(chains, draws, quantities)`; quantities that never move are left out."""
    from arviz_stats.base import array_stats

    moving = draws.reshape((-1, draws.shape[2])).std(axis=0) > 0
    sizes = numpy.full(draws.shape[2], float(draws.shape[0] * draws.shape[1]))
    if draws.shape[1] < 4:
        return Diagnosis(numpy.inf, 0.0, 0.0, numpy.ones(draws.shape[2]), 0.0, divergences)
    kept = draws[:, :, moving]
    axes = {"chain_axis": 0, "draw_axis": 1}
    rhat = bulk = tail = numpy.zeros(0)
    if kept.shape[2]:
        rhat = array_stats.rhat(kept, **axes)
        bulk = array_stats.ess(kept, method="bulk", **axes)
        tail = array_stats.ess(kept, method="tail", prob=(0.05, 0.95), **axes)
        sizes[moving] = numpy.nan_to_num(bulk, nan=1.0)
    bfmi = 1.0
    if energy is not None and energy.shape[1] > 3:
        change = (numpy.diff(energy, axis=1) ** 2).mean(axis=1)
        bfmi = float((change / energy.var(axis=1).clip(min=1e-300)).min())
    return Diagnosis(
        float(numpy.max(rhat, initial=1.0)),
        float(numpy.min(bulk, initial=numpy.inf)),
        float(numpy.min(tail, initial=numpy.inf)),
        sizes,
        bfmi,
        divergences,
    )
