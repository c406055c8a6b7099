"""Sequential neural ratio: the rounds of sequential likelihood with a classifier instead of a density.

With parameters from any proposal the ratio is to p(data) under that proposal, which does not depend on θ.

References:
    | Likelihood-free MCMC with amortized approximate ratio estimators (Hermans, Begy and Louppe, 2020)
    | On contrastive learning for likelihood-free inference (Durkan, Murray and Papamakarios, 2020)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ppl.compiler import Budget, Query, Verdict

from .factors import factorise
from .nre import CONTRAST, ratio
from .options import COMMON, read
from .ratio import LearnedRatio
from .rounds import OneObservation, sequential, too_early
from .snl import in_rounds
from .solver import LikelihoodSolver

__all__ = ["OPTIONS", "judge", "prepare", "restore"]

#: What `ppl.Method("snre", …)` takes, besides what all estimators take: the number of rounds, the loss, and the user's own nets by node.
OPTIONS = (*COMMON, *CONTRAST, "rounds", "embed")


def judge(query: Query, budget: Budget) -> Verdict:
    """Able where a ratio can be learned, for one observation; never chosen by itself."""
    early = too_early("snre", 8, query)
    if early is not None:
        return early
    found = sequential(ratio("snre", query, budget), query, budget, "nre")
    if found.able and found.fits:
        why = (
            "sequential likelihood (snl) or a posterior net in rounds (apt) needs fewer simulations"
        )
        return replace(found, fits=False, reason=f"{found.reason}; {why}")
    return found


def prepare(query: Query, budget: Budget) -> OneObservation:
    """Nothing: the rounds close in on one observation."""
    found = factorise(query)
    options = read(query, "snre")
    return OneObservation(
        "snre", query, lambda: in_rounds(query, budget, "snre", found, LearnedRatio, options)
    )


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> OneObservation:
    """A solver from its saved state."""
    solver = LikelihoodSolver.restored(query, budget, "snre", LearnedRatio, tensors, facts)
    return OneObservation("snre", query, lambda: solver)
