"""Population Monte Carlo with a falling tolerance.

Every generation proposes parameters around the draws that lie nearest so far, and simulates each once; nothing is simulated in vain. A draw weighs prior over
the mixture of all proposals, as if it might have come from any of them, so that a lucky early draw cannot outweigh a whole generation. It stops when hardly any new draw comes nearer, or when the budget ends; what it has then is an answer.

References:
    | Adaptive approximate Bayesian computation (Beaumont et al., 2009): the kernel
    | Adaptive multiple importance sampling (Cornuet et al., 2012): the weights
    | Adaptive approximate Bayesian computation for complex models (Lenormand, Jabot and Deffuant, 2013): the generations
    | Adapting the ABC distance function (Prangle, 2017)
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError
from ppl.mechanism import Data
from ppl.posterior import Draws

from .accepted import answer, effective, systematic
from .comparison import OPTIONS as COMMON
from .comparison import Comparison, checked
from .moves import SIMULATIONS, Moves, verdict
from .pilot import Simulated, Simulator

__all__ = ["OPTIONS", "SmcSolver", "judge", "prepare"]

#: What `ppl.Method("abc-smc", …)` takes, besides what all engines of this package take: how many draws are kept, the share
#: of new draws nearer than the last tolerance below which it stops, and whether distances and summaries are renewed on the way.
OPTIONS = (*COMMON, "population", "acceptance", "adaptive")
POPULATION, ACCEPTANCE = 1_000, 0.03
#: A population that is worth less than this share of its draws grows, up to so many times.
THIN, GROWTH = 0.3, 4
#: Generations after which summaries are learned again, where the posterior lies by then.
RENEWED = (2, 4, 6, 8, 10, 12, 15, 18, 22, 26, 30, *range(36, 100, 6))
#: A generation is large enough that so many draws come nearer, as a share of the population, and at most so many populations.
HITS, LARGEST = 0.5, 16
#: Draws that are remembered, in populations: those that another distance may bring nearer. Two are enough where the distance stays.
REMEMBERED = 10
#: Numbers of data that are remembered at most, and draws from which summaries are learned for the last time.
CELLS, FEW = 2**25, 500
#: Centres of a proposal.
CENTRES = 128


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when there is something to compare and every parameter has a prior density; never chosen by itself."""
    checked(query)
    _numbers(query)
    return verdict(
        "abc-smc",
        query,
        budget,
        "draws near the data are sought by generations; a tolerance remains, which nothing verifies",
        "weighted draws of an approximate posterior; the tolerance is reported",
    )


def prepare(query: Query, budget: Budget) -> SmcSolver:
    """Nothing: the generations close in on one observation."""
    return SmcSolver(query, budget)


def _numbers(query: Query) -> tuple[int, float]:
    """Population, and the acceptance at which it stops.

    Raises:
        QueryError: If one is out of range.
    """
    population = query.options.get("population", POPULATION)
    acceptance = query.options.get("acceptance", ACCEPTANCE)
    if not (isinstance(population, int) and population >= 20):
        raise QueryError(f"population={population!r}: keep twenty draws at least.")
    if not (isinstance(acceptance, int | float) and 0 < acceptance < 1):
        raise QueryError(f"acceptance={acceptance!r}: a share lies between 0 and 1.")
    return population, float(acceptance)


@dataclass(eq=False)
class _Pool:
    """Draws, what they simulated, the log density of their prior, and that of all proposals together.

    Args:
        u: Continuous parameters, `(n, parameters)`.
        codes: Finite ones, `(n, members)`.
        values: Of the asked and the moved nodes.
        cells: Of the simulated data.
        prior: On unbounded scales, `(n,)`.
        mixture: log Σ count × density, over the proposals, `(n,)`; NaN before it is known.
    """

    u: Tensor
    codes: Tensor
    values: dict[str, Tensor]
    cells: Tensor
    prior: Tensor
    mixture: Tensor

    def __len__(self) -> int:
        return len(self.u)

    def only(self, rows: Tensor | slice) -> _Pool:
        """Some of them."""
        return _Pool(
            self.u[rows],
            self.codes[rows],
            {n: v[rows] for n, v in self.values.items()},
            self.cells[rows],
            self.prior[rows],
            self.mixture[rows],
        )

    def and_(self, more: _Pool) -> _Pool:
        """With others."""
        return _Pool(
            torch.cat([self.u, more.u]),
            torch.cat([self.codes, more.codes]),
            {n: torch.cat([v, more.values[n]]) for n, v in self.values.items()},
            torch.cat([self.cells, more.cells]),
            torch.cat([self.prior, more.prior]),
            torch.cat([self.mixture, more.mixture]),
        )

    @property
    def weights(self) -> Tensor:
        """Prior over all proposals, summing to one."""
        logs = self.prior - self.mixture
        return torch.softmax(logs, dim=0)


@dataclass(eq=False)
class _Proposal:
    """Steps from some centres.

    Args:
        count: How many draws were made of it.
        u, codes: The centres.
        root: Of the covariance of the steps.
    """

    count: int
    u: Tensor
    codes: Tensor
    root: Tensor


class SmcSolver:
    """Closes in on each observation.

    Args:
        query: The component.
        budget: Simulations and seconds.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget
        self.moves = Moves(query)
        self._population, self._least = _numbers(query)
        self._adaptive = bool(query.options.get("adaptive", True))
        self._tolerance: float | None = query.options.get("tolerance")

    def condition(self, data: Data) -> Sequence[Draws]:
        """One answer for each observation.

        Raises:
            BackendError: If every simulation of the pilot fails, or none can be compared.
        """
        found = []
        for i in range(data.datasets):
            one = data.one(i)
            with Simulator(self.query, one, set(self.moves.names)).hired() as simulate:
                found.append(self._one(one, simulate))
        return found

    def _one(self, data: Data, simulate: Simulator) -> Draws:
        until = time.monotonic() + self.budget.seconds
        simulations = self.budget.simulations or SIMULATIONS
        first, comparison = simulate.pilot(simulations)
        pool = self._prior_draws(first, simulate)
        size = min(self._population, max(len(pool) // 2, 1))
        pool, distances = self._nearest(pool, comparison, size)
        if not len(distances):
            raise BackendError("abc-smc: no simulation of the pilot can be compared with the data.")
        active = pool.only(slice(len(distances)))
        proposals: list[_Proposal] = []
        notes: list[str] = []
        why, generation, accepted = "", 0, 1.0
        tolerances, shares = [], []
        while not why:
            wanted = int(min(max(HITS * size / max(accepted, 1e-3), size), LARGEST * size))
            wanted = min(wanted, simulations - simulate.done)
            if wanted <= 0:
                why = f"the budget of {simulations:,} simulations was used"
                break
            generation += 1
            before = float(distances.max())
            proposals.append(self._proposal(active, wanted))
            fresh = self._generation(proposals[-1], pool, simulate, generation)
            near = comparison.distance(comparison.statistics(fresh.cells)) <= before
            accepted = float(near.sum()) / max(proposals[-1].count, 1)
            if self._adaptive and len(fresh) >= 50:
                self._renew(comparison, active, fresh, generation)
            pool, distances = self._nearest(pool.and_(fresh), comparison, size)
            self._mix(pool, proposals, simulate.first)
            active = pool.only(slice(len(distances)))
            if effective(active.weights) < THIN * size and size < GROWTH * self._population:
                size = min(2 * size, GROWTH * self._population)
            now = float(distances.max())
            tolerances.append(now)
            shares.append(accepted)
            if self._tolerance is not None and now <= self._tolerance:
                why = "the tolerance was reached"
            elif now == 0:
                why = "the data were matched exactly"
            elif accepted < self._least and proposals[-1].count >= self._population // 2:
                why = f"only {accepted:.1%} of the last draws came nearer"
            elif time.monotonic() > until:
                why = "the clock"
                notes.append(
                    f"stopped by the clock after {generation} generations: the numbers depend on the machine"
                )
        if self._tolerance is not None and float(distances.max()) > self._tolerance:
            notes.append(f"the tolerance {self._tolerance:g} was not reached: {why}")
        if self._adaptive and self._tolerance is None and comparison.kind != "raw":
            pool, distances = self._settled(pool, comparison, size)
            active = pool.only(slice(len(distances)))
        if comparison.kind != "raw":
            notes.append(
                f"{active.cells.shape[1]} numbers were summarised as {len(comparison.target)} predicted parameters ({comparison.kind})"
            )
        found = answer(
            self.query,
            comparison,
            {n: active.values[n] for n in self.query.ask},
            comparison.explaining(active.cells),
            distances,
            active.weights,
            {"simulations": simulate.done, "generations": generation, "ended because": why},
            [*simulate.notes, *notes],
            "sequential ABC with a tolerance; the width that it adds is not verified",
            target=comparison.explaining(comparison.seen.cells[None])[0],
        )
        found.history = {"tolerance": tolerances, "acceptance": shares}
        return found

    def _prior_draws(self, found: Simulated, simulate: Simulator) -> _Pool:
        u = self.moves.coordinates.join(found.values)
        rows = len(found.cells)
        u = u.expand((rows, u.shape[1]))
        mine = {n: found.values[n] for n in self.moves.names}
        prior = self.moves.log_prior(u, mine, simulate.fixed)
        mixture = prior + math.log(rows)
        return _Pool(u, self.moves.codes(mine), found.values, found.cells, prior, mixture)

    def _nearest(self, pool: _Pool, comparison: Comparison, size: int) -> tuple[_Pool, Tensor]:
        """What is remembered, the nearest first, and the distances of those that are near."""
        distances = comparison.distance(comparison.statistics(pool.cells))
        usable = torch.isfinite(distances) & (pool.prior > -torch.inf)
        order = distances.argsort(stable=True)
        order = order[usable[order]]
        most = min(size, len(order))
        if most:
            # Data that are whole numbers tie.
            tied = int((distances[order] <= distances[order[most - 1]]).sum())
            most = min(tied, GROWTH * size)
        room = CELLS // (max(pool.cells.shape[1], 1) * size)
        kept = order[: (min(max(room, 2), REMEMBERED) if self._adaptive else 2) * size]
        return pool.only(kept), distances[order[:most]]

    def _proposal(self, active: _Pool, count: int) -> _Proposal:
        weights = active.weights
        rows = systematic(weights, CENTRES, self.query.seed)
        return _Proposal(count, active.u[rows], active.codes[rows], _root(active.u, weights))

    def _generation(
        self, proposal: _Proposal, pool: _Pool, simulate: Simulator, generation: int
    ) -> _Pool:
        """New draws, simulated once each."""
        generator = torch.Generator().manual_seed(self.query.seed * 1_000_003 + generation)
        cards = self.moves.cards
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        found = 0
        # Proposals outside the prior are drawn again: they cost nothing.
        for _ in range(50):
            rows = torch.randint(CENTRES, (proposal.count,), generator=generator)
            u, codes = self.moves.propose(
                proposal.u[rows], proposal.codes[rows], proposal.root, cards, generator
            )
            prior = self.moves.log_prior(u, self.moves.values(u, codes), simulate.fixed)
            inside = prior > -torch.inf
            parts.append((u[inside], codes[inside], prior[inside]))
            found += int(inside.sum())
            if found >= proposal.count:
                break
        u, codes, prior = (torch.cat(p)[: proposal.count] for p in zip(*parts, strict=True))
        if not len(u):
            raise BackendError("abc-smc: every proposal lies outside the prior.")
        made = simulate(len(u), self.moves.values(u, codes))
        u, codes, prior = u[made.rows], codes[made.rows], prior[made.rows]
        return _Pool(u, codes, made.values, made.cells, prior, torch.full_like(prior, torch.nan))

    def _mix(self, pool: _Pool, proposals: list[_Proposal], first: int) -> None:
        """Tell the remembered draws of a new proposal, and the new ones among them of all. Those that are not remembered never ask."""
        cards = self.moves.cards
        new = pool.mixture.isnan()
        for rows, unknown in ((~new, proposals[-1:]), (new, proposals)):
            u, codes = pool.u[rows], pool.codes[rows]
            mixture = torch.where(new, pool.prior + math.log(first), pool.mixture)[rows]
            for one in unknown:
                mixture = torch.logaddexp(mixture, self._log_share(one, u, codes, cards))
            pool.mixture[rows] = mixture

    def _log_share(self, one: _Proposal, u: Tensor, codes: Tensor, cards: Tensor) -> Tensor:
        """The log of the count of a proposal times its density, `(n,)`."""
        density = self.moves.log_kernel(u, codes, one.u, one.codes, one.root, cards)
        return density + math.log(one.count)

    def _renew(self, comparison: Comparison, active: _Pool, fresh: _Pool, generation: int) -> None:
        """Scales from the draws of this generation, and summaries from all that are near, where the posterior lies by now."""
        if generation in RENEWED:
            both = active.and_(fresh)
            if self._predictable:
                comparison.learn(both.cells, self.moves.coordinates.targets(both.values))
        comparison.rescale(comparison.statistics(fresh.cells))

    def _settled(self, pool: _Pool, comparison: Comparison, size: int) -> tuple[_Pool, Tensor]:
        """What is near by the last summaries, which all that is remembered has taught."""
        if self._predictable and len(pool) >= FEW:
            comparison.settle(pool.cells, self.moves.coordinates.targets(pool.values))
        return self._nearest(pool, comparison, size)

    @property
    def _predictable(self) -> bool:
        """Whether all that is asked is a continuous parameter that is moved."""
        return set(self.moves.coordinates.names) >= set(self.query.ask)


def _root(u: Tensor, weights: Tensor) -> Tensor:
    """A root of twice the weighted covariance."""
    d = u.shape[1]
    if not d:
        return torch.zeros(0, 0, dtype=torch.float64)
    gap = u - weights @ u
    covariance = 2 * gap.T @ (weights[:, None] * gap)
    scale = covariance.diagonal().clamp(min=1e-300)
    return torch.linalg.cholesky(covariance + torch.diag(1e-9 * scale + 1e-30))
