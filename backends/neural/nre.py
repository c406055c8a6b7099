"""Neural ratio estimation: p(x | θ) / p(x) is learned by a classifier, factor by factor as the graph writes it, then sampled with the prior.

Nothing is said of how x is distributed, only of how it differs from one θ to another. `loss="nre-a"` is AALR.

References: see `ratio`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ppl.compiler import Budget, Query, Verdict

from .factors import factorise
from .npe import posed
from .options import COMMON, read
from .ratio import Contrast, LearnedRatio
from .solver import LikelihoodSolver, likelihood, parts, simulated
from .verdicts import opaque

__all__ = ["CONTRAST", "OPTIONS", "judge", "prepare", "ratio", "restore"]

CONTRAST = ("loss", "classes", "gamma", "balanced")
#: Inputs with a declared range condition the net.
RANGES = True
#: What `ppl.Method("nre", …)` takes, besides what all estimators take: the loss, and the user's own nets by node.
OPTIONS = (*COMMON, *CONTRAST, "embed")


def judge(query: Query, budget: Budget) -> Verdict:
    """Able where the prior has a density; chosen where no posterior net can be trained."""
    found = ratio("nre", query, budget)
    if found.able and found.fits:
        other = posed("npe", query, budget)
        fits = not other.able
        why = (
            other.reason
            if fits
            else "a posterior net needs no density of the data either, and draws at once"
        )
        return replace(found, fits=fits, reason=f"{found.reason}; {why}")
    return found


def ratio(method: str, query: Query, budget: Budget) -> Verdict:
    """Whether a ratio can be learned."""
    found = likelihood(method, query, budget)
    read(query, method)
    Contrast.read(query, method)
    if not found.able:
        return replace(found, row=8)
    text = (
        "a classifier learns how probable the data are under each θ"
        if opaque(query)
        else found.reason
    )
    return replace(
        found,
        row=8,
        fits=bool(opaque(query)),
        reason=text,
        guarantee="a learned ratio; nothing is verified until it is checked",
    )


def prepare(query: Query, budget: Budget) -> LikelihoodSolver:
    """Simulate from the prior and train, once for all observations."""
    begun, found = time.monotonic(), factorise(query)
    simulations = simulated(query, budget, "nre", found, parts(found)[0])
    options = read(query, "nre")
    return LikelihoodSolver.learned(
        query, budget, "nre", found, simulations, begun, LearnedRatio, options=options
    )


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> LikelihoodSolver:
    """A solver from its saved state."""
    return LikelihoodSolver.restored(query, budget, "nre", LearnedRatio, tensors, facts)
