"""Sequential neural likelihood: rounds of simulations at parameters from the posterior of the likelihood so far; the densities of all rounds agree.

References:
    | Sequential neural likelihood (Papamakarios, Sterratt and Murray, 2019)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ppl.compiler import Budget, Query, Verdict

from .factors import Factorisation, factorise
from .likelihood import LearnedDensity
from .options import COMMON, Options, read
from .rounds import OneObservation, after_first, rounds, sequential, too_early
from .simulations import simulate
from .solver import LikelihoodSolver, chosen, likelihood, parts
from .surrogate import ISLANDS

__all__ = ["OPTIONS", "in_rounds", "judge", "prepare", "restore"]

#: What `ppl.Method("snl", …)` takes, besides what all estimators take: the number of rounds, and the kind of density.
OPTIONS = (*COMMON, "rounds", "density")
#: Epochs of the first round, and of later ones at least: nets that only propose are trained on by as many steps in every round.
EPOCHS, FEWEST, PATIENCE = 20, 4, 6
#: Particles on an island at least, when parameters are proposed.
PARTICLES = 64


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits where the neural likelihood does, for one observation and dear simulations."""
    early = too_early("snl", 7, query)
    if early is not None:
        return early
    found = likelihood("snl", query, budget)
    read(query, "snl")
    return sequential(found, query, budget, "nle")


def prepare(query: Query, budget: Budget) -> OneObservation:
    """Nothing: the rounds close in on one observation."""
    found = factorise(query)
    return OneObservation(
        "snl",
        query,
        lambda: in_rounds(query, budget, "snl", found, LearnedDensity, chosen(query, "snl", found)),
    )


def in_rounds(
    query: Query, budget: Budget, method: str, found: Factorisation, kind: Any, options: Options
) -> LikelihoodSolver:
    """Rounds of a likelihood or a ratio, whose net needs no correction for how its parameters were proposed."""
    begun = time.monotonic()
    until = begun + 0.7 * budget.seconds
    assert query.observation is not None
    learned = parts(found)[0]
    above = [p for f in learned for p in f.parents if not query.graph[p].is_input]
    above = list(dict.fromkeys((*found.parameters.names, *above)))
    data = [n for f in learned for n in f.names]
    sizes = rounds(query, budget, method)
    fixed = {n: query.observation.observed[n] for n in query.clamped}
    simulations = simulate(query, budget, method, above, data, wanted=sizes[0], given=fixed or None)
    solver: LikelihoodSolver | None = None
    for turn, size, _ in after_first(sizes, until):
        epochs = max(EPOCHS * sizes[0] // simulations.done, FEWEST)
        settings = replace(options.settings, epochs=epochs, patience=PATIENCE, checkpoint=None)
        quick = replace(options, ensemble=1, settings=settings)
        solver = LikelihoodSolver.learned(
            query, budget, method, found, simulations, begun, kind, solver, quick
        )
        particles = max(-(-size // ISLANDS), PARTICLES)
        proposed = solver.answer(query.observation, particles).particles(size, turn)
        simulations = simulations.and_(
            simulate(
                query,
                budget,
                method,
                above,
                data,
                wanted=size,
                given={**fixed, **proposed},
                turn=turn,
                seconds=max(until - time.monotonic(), 1.0),
            )
        )
    # The last net learns from the simulations of all rounds afresh: one that was carried along remembers the first.
    last = LikelihoodSolver.learned(
        query, budget, method, found, simulations, begun, kind, None, options
    )
    last.facts["rounds"] = len(sizes)
    last.notes += ("trained in rounds for this observation: not amortised",)
    return last


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> OneObservation:
    """A solver from its saved state."""
    solver = LikelihoodSolver.restored(query, budget, "snl", LearnedDensity, tensors, facts)
    return OneObservation("snl", query, lambda: solver)
