"""Row 0: nothing asked for depends on an observation through a density, so the model itself draws the answer.

This also serves nodes that are functions of what is observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ppl.campaign import opened
from ppl.compiler import Budget, Query, Verdict
from ppl.mechanism import Data
from ppl.posterior import Certificate, Draws

__all__ = ["PriorSolver", "judge", "prepare"]

#: Draws that the answer holds.
DRAWS = 10_000


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when no observed node depends on what is asked."""
    if query.evidence:
        return Verdict("prior", False, 0, f"{_listed(query.evidence)} on what is asked")
    reason = "nothing observed depends on what is asked"
    if all(query.mechanism.facts[n].kind == "deterministic" for n in query.free):
        reason = "it is a function of what is observed"
    return Verdict(
        "prior",
        True,
        0,
        reason,
        guarantee="exact draws, with their standard errors",
        grade="A",
        cost={"draws": DRAWS},
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{shown} {'depends' if len(names) == 1 else 'depend'}"


def prepare(query: Query, budget: Budget) -> PriorSolver:
    """Nothing to prepare."""
    return PriorSolver(query)


class PriorSolver:
    """Draws the asked nodes forward, with the observed parents at their values."""

    def __init__(self, query: Query):
        self.query = query

    def condition(self, data: Data) -> Sequence[Draws]:
        """The same draws for every observation, but for observed parents."""
        answers = []
        for i in range(data.datasets):
            fixed = {
                n: data.observed[n][i : i + 1] for n in self.query.clamped if n in data.observed
            }
            fixed.update({n: v for n, v in data.inputs.items() if n in self.query.graph})
            mechanism = self.query.mechanism
            values: dict[str, list[torch.Tensor]] = {name: [] for name in self.query.ask}
            running = self.query.running and replace(self.query.running, store=None)
            with opened(
                mechanism, DRAWS, self.query.seed, running, fixed=fixed, only=self.query.graph.nodes
            ) as campaign:
                for batch in campaign.batches:
                    for name in values:
                        value = batch.values[name]
                        values[name].append(value.expand((campaign.size, *value.shape[1:])))
            drawn = {name: torch.cat(parts)[:DRAWS] for name, parts in values.items()}
            answer = Draws(self.query.graph, drawn, Certificate("A", "exact draws from the model"))
            answer.log_evidence = 0.0
            answers.append(answer)
        return answers
