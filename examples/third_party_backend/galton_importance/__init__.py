"""Importance sampling from the prior: draw what is not seen, weigh each draw by the density of the data.

The unseen part may be any simulator; only the data need a density. The weights say how well it went: Pareto's k of their tail is below 0.7 where
the answer can be used (Vehtari, Simpson, Gelman, Yao and Gabry, 2024).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence

import torch
from arviz_stats.base import array_stats
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError
from ppl.mechanism import Data, forward
from ppl.mechanism.joint import log_density
from ppl.posterior import Certificate, Draws

__all__ = ["OPTIONS", "ImportanceSolver", "judge", "prepare"]

#: What `ppl.Method("importance", ...)` takes: how many equally weighted draws the answer holds.
OPTIONS = ("keep",)
#: Simulations when the budget does not say; draws of one batch; draws that are kept.
SIMULATIONS, BATCH, KEEP = 50_000, 4_096, 4_000
#: Densities in the data beyond which draws from the prior rarely fit them.
MOST = 20


def judge(query: Query, budget: Budget) -> Verdict:
    """Able where all data have densities; fits where something unseen has none, so that no engine that follows densities can serve."""
    kinds = {name: query.mechanism.facts[name].kind for name in (*query.free, *query.evidence)}
    blind = [name for name in query.evidence if kinds[name] != "explicit"]
    refused = ""
    if not query.evidence:
        refused = "nothing that is observed depends on what is asked"
    elif query.ranges:
        refused = f"it needs the value of {', '.join(query.ranges)}"
    elif query.partial:
        refused = f"cells of {', '.join(sorted(query.partial))} are missing"
    elif query.observation is not None and query.observation.soft:
        refused = "the evidence is soft"
    elif blind:
        refused = f"{blind[0]} has no density"
    if refused:
        return Verdict("importance", False, 5, refused)
    simulators = [name for name in query.free if kinds[name] == "opaque"]
    numbers = sum(
        math.prod(query.sizes[plate] for plate in query.graph[name].axes) for name in query.evidence
    )
    if not simulators:
        reason = "everything unseen has a density, and engines that follow it waste no draws"
    elif numbers > MOST:
        reason = f"the data are {numbers} numbers, and few draws of the prior fit so many"
    else:
        reason = f"{', '.join(simulators)} can only be simulated, and all data have a density"
    return Verdict(
        "importance",
        True,
        5,
        reason,
        fits=bool(simulators) and numbers <= MOST,
        guarantee="weighted draws, whose weights tell how many they are worth",
        grade="U",
        cost={"simulations": budget.simulations or SIMULATIONS},
    )


def prepare(query: Query, budget: Budget) -> ImportanceSolver:
    """Nothing to prepare: draws are weighed when the data are known."""
    return ImportanceSolver(query, budget)


class ImportanceSolver:
    """Draws from the prior, weighs, and keeps draws in proportion to their weights."""

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget

    def condition(self, data: Data) -> Sequence[Draws]:
        """One answer for each observation."""
        return [self._one(data, which) for which in range(data.datasets)]

    def _one(self, data: Data, which: int) -> Draws:
        query, wanted = self.query, self.budget.simulations or SIMULATIONS
        fixed = {
            name: data.observed[name][which : which + 1]
            for name in (*query.clamped, *query.evidence)
        }
        fixed |= {name: value for name, value in data.inputs.items() if name in query.graph}
        until = time.monotonic() + self.budget.seconds
        kept: dict[str, list[Tensor]] = {name: [] for name in query.ask}
        parts: list[Tensor] = []
        for start in range(0, wanted, BATCH):
            if start and time.monotonic() > until:
                break
            n = min(BATCH, wanted - start)
            batch = forward(query.mechanism, n, (query.seed, start), fixed, query.graph.nodes)
            weights = torch.zeros(n, dtype=torch.float64)
            for name in query.evidence:
                scored = log_density(
                    query.mechanism, query.graph[name], batch.values, n, audit=not start
                )
                weights = weights + scored.reshape(n, -1).sum(-1)
            parts.append(weights.masked_fill(batch.failed, -math.inf))
            for name, values in kept.items():
                values.append(batch.values[name].expand(n, *batch.values[name].shape[1:]))
        log_weights = torch.cat(parts)  # log p(x | draw)
        if not log_weights.isfinite().any():
            raise BackendError(
                f"None of {len(log_weights):,} draws from the prior could have given the data; simulate more, or take another method."
            )
        weights = torch.softmax(log_weights, dim=0)
        size = float(1 / weights.square().sum())
        generator = torch.Generator().manual_seed(query.seed)
        rows = torch.multinomial(
            weights, query.options.get("keep", KEEP), replacement=True, generator=generator
        )
        facts = {
            "simulations": len(log_weights),
            "effective draws": round(size),
            "Pareto k": round(_pareto(log_weights), 2),
        }
        answer = Draws(
            query.graph,
            {name: torch.cat(values)[rows] for name, values in kept.items()},
            Certificate("U", "draws from the prior, weighed by the density of the data", facts),
            size=min(size, len(rows)),
        )
        # log p(x) = log of the mean weight
        answer.log_evidence = float(torch.logsumexp(log_weights, 0)) - math.log(len(log_weights))
        return answer


def _pareto(log_weights: Tensor) -> float:
    """Pareto's k of the largest weights; below 0.7 their mean can be trusted."""
    finite = log_weights.isfinite()
    lowest = log_weights[finite].min() - 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a large k is said by its number
        try:
            # The function was made for leave-one-out, whose weights are reciprocals.
            return float(array_stats.psislw(-torch.where(finite, log_weights, lowest).numpy())[1])
        except ValueError:  # the largest weights are all the same: there is no tail
            return 0.0
