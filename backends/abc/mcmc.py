"""ABC inside MCMC: chains that accept a step when its simulation falls within the tolerance.

Many chains move in step, one simulation each. They begin at the nearest draws of a pilot, whose spread sets the steps and whose distances set the tolerance.

Reference:
    Markov chain Monte Carlo without likelihoods (Marjoram, Molitor, Plagnol and Tavaré, 2003)
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from backends.kernels.diagnostics import diagnose
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError
from ppl.mechanism import Data
from ppl.posterior import Certificate, Chains, Draws

from .accepted import domains
from .comparison import OPTIONS as COMMON
from .comparison import checked
from .moves import SIMULATIONS, Moves, verdict
from .pilot import Simulator

__all__ = ["OPTIONS", "McmcSolver", "judge", "prepare"]

#: What `ppl.Method("abc-mcmc", …)` takes, besides what all engines of this package take but for `adjust` and `kernel`: the number of chains, and the share of
#: the pilot within the tolerance, where none is given.
OPTIONS = (*(o for o in COMMON if o not in ("adjust", "kernel")), "chains", "quantile")
CHAINS, QUANTILE = 64, 0.01
#: The share of each chain that is left out, and the smallest and largest share of steps that are accepted before steps change.
WARM_UP, ACCEPTED = 0.3, (0.1, 0.4)
#: A run whose chains disagree by more than this is said to.
RHAT = 1.05


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when there is something to compare and every parameter has a prior density; never chosen by itself."""
    checked(query)
    _numbers(query)
    return verdict(
        "abc-mcmc",
        query,
        budget,
        "chains that compare simulations stay at one tolerance and their draws depend on each other",
        "dependent draws of an approximate posterior; the tolerance is reported",
    )


def prepare(query: Query, budget: Budget) -> McmcSolver:
    """Nothing: chains need the observation to begin."""
    return McmcSolver(query, budget)


def _numbers(query: Query) -> tuple[int, float]:
    """How many chains, and the share of the pilot within the tolerance.

    Raises:
        QueryError: If one is out of range.
    """
    chains = query.options.get("chains", CHAINS)
    share = query.options.get("quantile", QUANTILE)
    if not (isinstance(chains, int) and chains >= 4):
        raise QueryError(f"chains={chains!r}: run four chains at least.")
    if not (isinstance(share, int | float) and 0 < share <= 1):
        raise QueryError(f"quantile={share!r}: a share lies in (0, 1].")
    return chains, float(share)


class McmcSolver:
    """Runs the chains of each observation.

    Args:
        query: The component.
        budget: Simulations and seconds.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget
        self.moves = Moves(query)
        self._chains, self._share = _numbers(query)

    def condition(self, data: Data) -> Sequence[Draws]:
        """One answer for each observation.

        Raises:
            BackendError: If no simulation of the pilot lies within the tolerance, or the budget allows no steps.
        """
        found = []
        for i in range(data.datasets):
            one = data.one(i)
            with Simulator(self.query, one, set(self.moves.names)).hired() as simulate:
                found.append(self._one(one, simulate))
        return found

    def _one(self, data: Data, simulate: Simulator) -> Draws:
        query, moves, chains = self.query, self.moves, self._chains
        until = time.monotonic() + self.budget.seconds
        simulations = self.budget.simulations or SIMULATIONS
        first, comparison = simulate.pilot(simulations)
        distances = comparison.distance(comparison.statistics(first.cells))
        order = distances.argsort(stable=True)
        near = order[: max(int(self._share * len(order)), min(chains, len(order)))]
        tolerance = query.options.get("tolerance", float(distances[near].max()))
        inside = near[distances[near] <= tolerance]
        if not len(inside):
            raise BackendError(
                f"abc-mcmc: no simulation of the pilot lies within the tolerance {tolerance:g}; the nearest is {float(distances.min()):g} away."
            )
        steps = (simulations - simulate.done) // chains
        if steps < 20:
            raise BackendError(
                f"abc-mcmc: {simulations:,} simulations allow {max(steps, 0)} steps of {chains} chains; raise Budget(simulations=...)."
            )
        generator = torch.Generator().manual_seed(query.seed)
        whole = {n: first.values[n] for n in moves.names}
        all_u = moves.coordinates.join(whole)
        root = _root(all_u[inside])
        begin = inside[torch.arange(chains) % len(inside)]
        values = {n: v[begin] for n, v in first.values.items()}
        mine = {n: values[n] for n in moves.names}
        u, codes, cards = all_u[begin], moves.codes(mine), moves.cards
        prior = moves.log_prior(u, mine, simulate.fixed)
        size, taken = 1.0, []
        kept: dict[str, list[Tensor]] = {n: [] for n in query.ask}
        warm, cut = int(WARM_UP * steps), False
        for step in range(steps):
            if time.monotonic() > until:
                cut = True
                break
            new_u, new_codes = moves.propose(u, codes, size * root, cards, generator)
            new_values = moves.values(new_u, new_codes)
            new_prior = moves.log_prior(new_u, new_values, simulate.fixed)
            luck = torch.rand(chains, generator=generator, dtype=torch.float64).log()
            # Whoever the prior turns down is not simulated.
            going = (luck < new_prior - prior).nonzero()[:, 0]
            accepted = torch.zeros(chains, dtype=torch.bool)
            if len(going):
                made = simulate(len(going), {n: v[going] for n, v in new_values.items()})
                close = comparison.distance(comparison.statistics(made.cells)) <= tolerance
                rows = going[made.rows[close]]
                accepted[rows] = True
                for n, v in made.values.items():
                    values[n] = values[n].clone()
                    values[n][rows] = v[close]
                u = torch.where(accepted[:, None], new_u, u)
                codes = torch.where(accepted[:, None], new_codes, codes)
                prior = torch.where(accepted, new_prior, prior)
            taken.append(float(accepted.to(torch.float64).mean()))
            if step < warm:
                if step % 10 == 9:
                    rate = sum(taken[-10:]) / 10
                    size *= 0.8 if rate < ACCEPTED[0] else 1.25 if rate > ACCEPTED[1] else 1.0
                continue
            for n in query.ask:
                kept[n].append(values[n])
        if len(kept[query.ask[0]]) < 10:
            raise BackendError(
                f"abc-mcmc had no time for its draws within budget=Budget(seconds={self.budget.seconds:g})."
            )
        found = {n: torch.stack(v, dim=1) for n, v in kept.items()}
        return self._answer(found, tolerance, simulate, taken[warm:], cut)

    def _answer(
        self,
        found: dict[str, Tensor],
        tolerance: float,
        simulate: Simulator,
        taken: list[float],
        cut: bool,
    ) -> Draws:
        sizes, rhat = {}, 1.0
        for name, value in found.items():
            flat = value.reshape((*value.shape[:2], -1)).to(torch.float64).numpy()
            moving = flat[:, :, flat.std(axis=(0, 1)) > 0]
            if moving.shape[2]:
                diagnosis = diagnose(moving)
                sizes[name] = float(diagnosis.sizes.min())
                rhat = max(rhat, diagnosis.rhat)
        notes = simulate.notes
        if rhat > RHAT:
            notes.append(f"the chains disagree (R-hat {rhat:.2f}): more simulations, or abc-smc")
        if cut:
            notes.append("stopped by the clock: the numbers depend on the machine")
        checks: dict[str, float | int | str] = {
            "simulations": simulate.done,
            "chains": self._chains,
            "tolerance": f"{tolerance:.3g}",
            "acceptance": f"{sum(taken) / len(taken):.3g}",
            "rank R-hat": round(rhat, 3),
        }
        said = "MCMC that compares simulations, with a tolerance; the width that it adds is not verified"
        return Chains(
            self.query.graph,
            found,
            Certificate("U", said, checks),
            sizes,
            domains(self.query),
            tuple(notes),
        )


def _root(u: Tensor) -> Tensor:
    """A root of the covariance of random-walk steps: 2.38² / d times that of what lies near."""
    d = u.shape[1]
    if not d:
        return torch.zeros(0, 0, dtype=torch.float64)
    covariance = torch.cov(u.T).reshape(d, d) if len(u) > d + 1 else torch.eye(d).to(torch.float64)
    scale = covariance.diagonal().clamp(min=1e-300)
    covariance = covariance + torch.diag(1e-6 * scale + 1e-30)
    return 2.38 / d**0.5 * torch.linalg.cholesky(covariance)
