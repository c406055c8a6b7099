"""Row 4 of the decision table: NUTS over the continuous nodes, the finite ones summed out and recovered exactly afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from backends.kernels.diagnostics import Diagnosis, diagnose
from backends.kernels.nuts import TARGET, Trace, nuts
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError
from ppl.mechanism import Data
from ppl.posterior import Answer, Certificate, Chains

from .problem import CANDIDATES, differentiable, problem, starts, target_of
from .quadrature import draws_at
from .target import LOCATION_SCALE, Target
from .truncation import notes_of

__all__ = ["NutsSolver", "judge", "prepare"]

#: Up to so many numbers in one evaluation: how many chains, and how many draws of each after warm-up. Where a call costs more than its numbers,
#: more chains cost nothing.
CHAINS = ((300, 32, 400), (20_000, 16, 400), (float("inf"), 8, 500))
#: How often a run that is only too short goes on for as many draws.
LONGER = 3
#: Draws of each chain after which chains that are in different places, by this R-hat, are given up.
PEEK, APART = 50, 1.3
#: Particles that look for places to begin, and rounds of their moves at each temperature.
SCOUTS, HASTE = 128, 6
#: A node is centred again where its standardised value varies less than this: then the data, not its parents, hold it.
INFORMED = 0.25
#: Coordinates that are diagnosed.
DIAGNOSED = 500


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when every density is explicit and differentiable and the finite part can be summed out."""
    found = problem(query, budget)
    if found.target is None:
        return Verdict("nuts", False, 4, found.reason, remedy=found.remedy)
    target = found.target
    if not target.dimensions:
        return Verdict("nuts", False, 4, "nothing continuous is unobserved")
    why = differentiable(target)
    if why:
        return Verdict(
            "nuts",
            False,
            4,
            why,
            remedy="Write the body with torch operations, and it can be differentiated.",
        )
    finite = len(target.layout.sizes)
    inside = f", and the {finite} finite variables can be summed out" if finite else ""
    chains, draws = _size(target)
    return Verdict(
        "nuts",
        True,
        4,
        f"every density is explicit and differentiable in {target.dimensions} continuous dimension{'s' * (target.dimensions > 1)}{inside}",
        guarantee="MCMC draws, with R-hat, effective sizes and divergences",
        grade="B",
        cost={
            "dimensions": target.dimensions,
            "chains": chains,
            "draws": chains * draws,
        }
        | ({"finite variables": finite} if finite else {}),
    )


def prepare(query: Query, budget: Budget) -> NutsSolver:
    """Nothing: chains need the observation to begin."""
    return NutsSolver(query, budget)


def _size(target: Target) -> tuple[int, int]:
    """How many chains, and draws of each."""
    return next((chains, draws) for most, chains, draws in CHAINS if target.cells <= most)


class NutsSolver:
    """Samples the posterior of each observation.

    Args:
        query: The component.
        budget: Seconds, and what the elimination inside may cost.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget

    def condition(self, data: Data) -> Sequence[Answer]:
        """One answer for each observation.

        Raises:
            BackendError: If no place to begin is found, or the budget ends before the first draw.
        """
        return [self._one(data.one(i)) for i in range(data.datasets)]

    def _one(self, data: Data) -> Answer:
        until = time.monotonic() + self.budget.seconds
        target = target_of(self.query, self.budget, data)
        begin = self._begin(target, _size(target)[0], until)
        notes = list(notes_of(target.query))
        begin = self._parametrised(target, begin, until, notes)
        trace, diagnosis = self._run(target, begin, until, 0)
        if not diagnosis.passed and not diagnosis.disagree and trace.complete:
            notes.append(
                f"a first run was not good enough ({_figures(diagnosis)}) and was repeated"
            )
            again = trace.draws[:, -1]
            trace, diagnosis = self._run(target, again, until, 1, target_accept=0.98, stretch=2.0)
        if diagnosis.disagree:
            from . import smc

            witness = smc.SmcSolver(self.query, self.budget).condition(data)[0]
            witness.notes = (
                f"the chains of NUTS disagreed (R-hat {diagnosis.rhat:.2f}): several modes; tempered SMC answers instead",
                *witness.notes,
            )
            return witness
        return self._answer(target, trace, diagnosis, notes)

    def _begin(self, target: Target, chains: int, until: float) -> ndarray:
        """Where the chains begin: particles that were carried from the prior in haste, so that each mode has about its share of them."""
        from .smc import tempered

        starts(target, CANDIDATES, self.query.seed)  # refuses where there is no place to begin
        half = time.monotonic() + (until - time.monotonic()) / 4
        cloud = tempered(target, 1, SCOUTS, self.query.seed, half, last=1, rounds=HASTE)
        flat = cloud.u[0]
        alive = numpy.isfinite(target.log_prob(flat))
        rng = numpy.random.default_rng(self.query.seed)
        return rng.permutation(flat[alive])[:chains]

    def _parametrised(
        self, target: Target, begin: ndarray, until: float, notes: list[str]
    ) -> ndarray:
        """Standardise location-scale nodes whose scale is unknown, but for those that the data hold; where the chains begin then."""
        names = candidates(target)
        if not names:
            return begin
        values = target.values(begin)
        target.standardised = frozenset(names)
        target.forget()
        begin = target.coordinates({n: values[n] for n in target.layout.free})
        trial = nuts(target.gradient, begin, 20, self.query.seed + 7, stretch=0.5, until=until)
        if not trial.draws.shape[1]:
            return begin
        held = []
        for block in target.blocks:
            if block.node.name in names:
                part = trial.draws[:, :, block.start : block.stop]
                if float(part.reshape((-1, part.shape[2])).var(axis=0).mean()) < INFORMED:
                    held.append(block.node.name)
        last = trial.draws[:, -1]
        if held:
            values = target.values(last)
            target.standardised = frozenset(names) - frozenset(held)
            target.forget()
            last = target.coordinates({n: values[n] for n in target.layout.free})
        if target.standardised:
            listed = ", ".join(sorted(target.standardised))
            notes.append(
                f"not centred: {listed} (sampled as location + scale × standardised value)"
            )
        return last

    def _run(
        self,
        target: Target,
        begin: ndarray,
        until: float,
        attempt: int,
        target_accept: float = TARGET,
        stretch: float = 1.0,
    ) -> tuple[Trace, Diagnosis]:
        seed, draws = self.query.seed + 1000 * attempt, _size(target)[1] * (1 + attempt)
        trace = nuts(
            target.gradient,
            begin,
            PEEK,
            seed,
            target=target_accept,
            stretch=stretch,
            until=until,
        )
        if trace.draws.shape[1] < 4:
            raise BackendError(
                f"NUTS had no time for its first draws of {', '.join(self.query.ask)} within budget=Budget(seconds={self.budget.seconds:g})."
            )
        diagnosis = self._look(target, trace)
        if diagnosis.rhat > APART:
            return trace, diagnosis
        for longer in range(1 + LONGER):
            more = nuts(
                target.gradient,
                trace.draws[:, -1],
                draws if longer else draws - PEEK,
                seed + trace.draws.shape[1],
                until=until,
                warm=trace,
            )
            trace = trace.then(more)
            diagnosis = self._look(target, trace)
            if diagnosis.passed or diagnosis.disagree or trace.divergences or not trace.complete:
                break
        return trace, diagnosis

    def _look(self, target: Target, trace: Trace) -> Diagnosis:
        """How the coordinates mixed, and what is asked for as far as no finite node is in it."""
        found = diagnose(trace.draws[:, :, :DIAGNOSED], trace.energy, trace.divergences)
        kinds = target.layout.kinds
        names = [n for n in self.query.ask if kinds[n] not in ("finite", "through")]
        chains, draws, d = trace.draws.shape
        values = target.values(trace.draws.reshape((-1, d))) if names else {}
        shaped = {n: values[n].reshape((chains, draws, *values[n].shape[1:])) for n in names}
        return found.worst(asked_sizes(shaped)[1]) if names else found

    def _answer(
        self, target: Target, trace: Trace, diagnosis: Diagnosis, notes: list[str]
    ) -> Chains:
        chains, draws, d = trace.draws.shape
        rng = numpy.random.default_rng(self.query.seed)
        flat = draws_at(target, trace.draws.reshape((-1, d)), self.query.ask, rng)
        values = {n: v.reshape((chains, draws, *v.shape[1:])) for n, v in flat.items()}
        sizes, asked = asked_sizes(values)
        worst = diagnosis.worst(asked)
        if not trace.complete:
            notes.append(
                f"stopped by the clock after {draws} draws a chain: the numbers depend on the machine"
            )
        certificate = Certificate(
            "B" if worst.passed else "U",
            "MCMC whose chains agree"
            if worst.passed
            else f"MCMC that did not pass its own checks ({_failing(worst)})",
            {
                "rank R-hat": float(f"{worst.rhat:.4f}"),
                "bulk ESS": int(worst.bulk),
                "tail ESS": int(worst.tail),
                "divergences": worst.divergences,
                "E-BFMI": float(f"{worst.bfmi:.2f}"),
                "chains": chains,
                "draws": chains * draws,
            },
        )
        domains = {
            n: target.layout.domains[n] for n in self.query.ask if n in target.layout.domains
        }
        stats = {
            "energy": torch.as_tensor(trace.energy),
            "tree_depth": torch.as_tensor(trace.depths),
        }
        return Chains(self.query.graph, values, certificate, sizes, domains, tuple(notes), stats)


def candidates(target: Target) -> list[str]:
    """Location-scale nodes whose scale is not known: those that can be standardised."""
    layout, found = target.layout, []
    for block in target.blocks:
        name = block.node.name
        family = layout.families.get((name, "body"))
        if (
            layout.mechanism.facts[name].family in LOCATION_SCALE
            and block.missing is None
            and not block.node.lags
            and family is not None
            and not family.slots
            and _scale_moves(target, name)
        ):
            found.append(name)
    return found


def _scale_moves(target: Target, name: str) -> bool:
    """Whether the scale of a node's distribution depends on what is unknown."""
    scales: list[Tensor] = []
    u = torch.from_numpy(target.start(2, 11))
    place = target._place_at(u, [])

    def watched(node, law, batch):
        if node.name == name and law is not None:
            scales.append(law().distribution.parameters["scale"])
        return place(node, law, batch)

    with torch.no_grad():
        target.factors.evaluate(watched, 2, scored=False)
    return bool(scales) and bool((scales[0][0] != scales[0][-1]).any())


def asked_sizes(values: dict[str, Tensor]) -> tuple[dict[str, float], Diagnosis]:
    """The effective size of each node's draws `(chains, draws, …)`, and the diagnosis of all of them."""
    sizes: dict[str, float] = {}
    parts = []
    for name, value in values.items():
        flat = value.to(torch.float64).reshape((*value.shape[:2], -1)).numpy()[:, :, :DIAGNOSED]
        found = diagnose(flat)
        sizes[name] = float(found.sizes.min())
        parts.append(found)
    return sizes, Diagnosis(
        max(p.rhat for p in parts),
        min(p.bulk for p in parts),
        min(p.tail for p in parts),
        numpy.zeros(0),
    )


def _figures(d: Diagnosis) -> str:
    return f"R-hat {d.rhat:.3f}, bulk ESS {d.bulk:.0f}, {d.divergences} divergences"


def _failing(d: Diagnosis) -> str:
    parts = []
    if not d.rhat < 1.01:
        parts.append(f"R-hat {d.rhat:.3f}")
    if min(d.bulk, d.tail) < 400:
        parts.append(f"effective size {min(d.bulk, d.tail):.0f}")
    if d.divergences:
        parts.append(f"{d.divergences} divergences")
    if d.bfmi <= 0.3:
        parts.append(f"E-BFMI {d.bfmi:.2f}")
    return ", ".join(parts)
