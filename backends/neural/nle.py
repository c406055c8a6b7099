"""Neural likelihood estimation: p(x | θ) is learned factor by factor as the graph writes it, then sampled with the prior by tempered SMC.

A plate of independent items needs the density of one item only, whatever the number of items.

References:
    | Sequential neural likelihood (Papamakarios, Sterratt and Murray, 2019)
    | Mining gold from implicit models to improve likelihood-free inference (Brehmer, Louppe, Pavez and Cranmer, 2020)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ppl.compiler import Budget, Query, Verdict

from .factors import factorise
from .likelihood import LearnedDensity
from .options import COMMON, read
from .solver import LikelihoodSolver, likelihood, parts, simulated
from .verdicts import DEAR, dear

__all__ = ["OPTIONS", "judge", "prepare", "restore"]

#: Inputs with a declared range condition the net.
RANGES = True
#: What `ppl.Method("nle", …)` takes, besides what all estimators take: the kind of density.
OPTIONS = (*COMMON, "density")


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits where something is opaque and each factor of the likelihood has at most ten dimensions."""
    found = likelihood("nle", query, budget)
    read(query, "nle")
    if found.able and found.fits and dear(query, budget):
        return replace(
            found,
            fits=False,
            reason=f"{found.reason}; but for one observation and fewer than {DEAR:,} simulations rounds (snl) use them better",
        )
    return found


def prepare(query: Query, budget: Budget) -> LikelihoodSolver:
    """Simulate from the prior and train, once for all observations."""
    begun, found = time.monotonic(), factorise(query)
    simulations = simulated(query, budget, "nle", found, parts(found)[0])
    return LikelihoodSolver.learned(query, budget, "nle", found, simulations, begun, LearnedDensity)


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> LikelihoodSolver:
    """A solver from its saved state."""
    return LikelihoodSolver.restored(query, budget, "nle", LearnedDensity, tensors, facts)
