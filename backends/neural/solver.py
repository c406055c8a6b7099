"""Solvers of a learned likelihood or ratio: simulate, learn each factor of the data given the parameters, sample with the prior."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from backends.kernels.parameters import Unmovable
from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError, closest
from ppl.mechanism import Data
from ppl.posterior import Certificate

from .factors import DIMENSIONS, Factor, Factorisation, factorise
from .learned import learned
from .likelihood import Explicit, LearnedDensity, Term
from .members import facts_of
from .options import Options, read
from .packing import packed, unpacked
from .simulations import SIMULATIONS, Simulations, simulate
from .surrogate import ISLANDS, PARTICLES, SurrogateAnswer
from .train import history
from .validity import Validity
from .verdicts import EXPLICIT, FORCED, cannot, far, opaque

__all__ = ["LikelihoodSolver", "chosen", "factored", "likelihood", "parts", "simulated"]

#: Nets by default in many dimensions: an average of three is worth more there than one larger net.
SEVERAL, MANY_DIMENSIONS = 3, 4
#: Particles on each island at least, when many answers of few draws are wanted.
BRIEF = 32


def likelihood(method: str, query: Query, budget: Budget) -> Verdict:
    """Whether p(x | θ) can be learned, before it is asked by whom it should be."""
    found = factored(method, query)
    if isinstance(found, Verdict):
        return found
    learned, _ = parts(found)
    cost = {
        "simulations": budget.simulations or SIMULATIONS,
        "parameters": found.parameters.coordinates.size + len(found.parameters.cards),
        "numbers an item": max(f.dimensions for f in learned),
    }
    guarantee = "a learned likelihood; nothing is verified until it is checked"
    if not opaque(query):
        remedy = FORCED
        return Verdict(method, True, 7, EXPLICIT, False, guarantee, "U", cost, remedy)
    why = f"{opaque(query)}; {_story(found)}"
    large = [f for f in learned if f.dimensions > DIMENSIONS]
    if large:
        item = " an item" if large[0].plate else ""
        return Verdict(
            method,
            True,
            7,
            f"{why}, but {', '.join(large[0].names)} has {large[0].dimensions} numbers{item} (the limit is {DIMENSIONS})",
            False,
            guarantee,
            "U",
            cost,
            "Independent items as a plate, or a few summaries (@model.summary), would open it.",
        )
    return Verdict(method, True, 7, why, True, guarantee, "U", cost)


def factored(method: str, query: Query) -> Factorisation | Verdict:
    """The factors of the likelihood, or the verdict that says why there are none."""
    row = 8 if method in ("nre", "snre") else 7
    if not query.evidence:
        return cannot(method, row, "there is no data to learn from")
    try:
        found = factorise(query)
    except Unmovable as reason:
        return cannot(
            method,
            row,
            f"{reason}; a likelihood needs a prior with a density beside it",
            "method='npe' only samples the prior, if it declares support=.",
        )
    if not found.parameters.names:
        return cannot(method, row, "nothing random is asked for")
    for factor in found.factors:
        gaps = [n for n in factor.names if n in query.partial]
        if gaps and not factor.explicit and (factor.plate is None or len(factor.names) > 1):
            return cannot(
                method,
                row,
                f"cells are missing of {', '.join(gaps)}, and densities are learned for complete data",
                "method='npe' is trained with the gaps.",
            )
    return found


def parts(found: Factorisation) -> tuple[tuple[Factor, ...], tuple[Factor, ...]]:
    """The factors that are learned, and those whose density is used; where all are known, forced, all are learned."""
    if not found.learned:
        return found.factors, ()
    return found.learned, tuple(f for f in found.factors if f.explicit)


def _story(found: Factorisation) -> str:
    """What is learned, in words."""
    texts = []
    for f in found.learned:
        parents = ", ".join(p for p in f.parents if p in found.parameters.names)
        inside = f" of one '{f.plate}'" if f.plate else ""
        texts.append(f"p({', '.join(f.names)} | {parents}){inside}")
    text = "learns " + " and ".join(texts)
    known = [n for f in found.factors if f.explicit for n in f.names]
    if known:
        text += f", and uses the density of {', '.join(known)}"
    if found.shared:
        text += f"; {', '.join(found.shared)}, which the items share, {'is' if len(found.shared) == 1 else 'are'} sampled with them"
    return text


def simulated(
    query: Query,
    budget: Budget,
    method: str,
    found: Factorisation,
    learned: Sequence[Factor],
    wanted: int | None = None,
    turn: int = 0,
) -> Simulations:
    """Draws from the prior of all that the learned factors need."""
    above = [p for f in learned for p in f.parents if p not in query.mechanism.data.inputs]
    data = [n for f in learned for n in f.names]
    names = dict.fromkeys((*found.parameters.names, *above))
    return simulate(query, budget, method, names, data, wanted=wanted, turn=turn)


class LikelihoodSolver:
    """A learned likelihood; conditions on any number of observations without simulating again.

    Args:
        query: The component.
        budget: Seconds of the sampling.
        method: Who answers.
        found: The factors.
        densities: Of the learned factors, or ratios.
        validity: The probability that a simulation gives data.
        facts: Figures for the certificate.
        notes: What the user should know.
    """

    def __init__(
        self,
        query: Query,
        budget: Budget,
        method: str,
        found: Factorisation,
        densities: Sequence[Any],
        validity: Validity,
        facts: dict,
        notes: tuple[str, ...],
    ):
        self.query, self.budget, self.method, self.found = query, budget, method, found
        self.densities, self.validity = list(densities), validity
        self.facts, self.notes = facts, notes
        self.what = "ratio" if "nre" in method else "likelihood"
        #: What it was trained on, while it is in memory, and how often more was added.
        self.simulations: Simulations | None = None
        self.turns = 0
        #: Losses of the nets by epoch.
        self.history: Mapping[str, Sequence[float]] = {}
        self.explicit = [Explicit(query, f) for f in parts(found)[1]]

    @classmethod
    def learned(
        cls,
        query: Query,
        budget: Budget,
        method: str,
        found: Factorisation,
        simulations: Simulations,
        begun: float,
        kind: Any,
        start: LikelihoodSolver | None = None,
        options: Options | None = None,
    ) -> LikelihoodSolver:
        """Train on simulations, or train an earlier one further.

        Args:
            kind: What learns one factor: a density or a ratio.
            start: An earlier one.
        """
        options = options or chosen(query, method, found)
        factors = parts(found)[0]
        left = max(budget.seconds - (time.monotonic() - begun), 1.0)
        densities = []
        for k, factor in enumerate(factors):
            one = kind.fit(
                query,
                factor,
                simulations,
                options,
                left / len(factors),
                f"training {method}",
                None if start is None else start.densities[k],
            )
            densities.append(one)
        validity = Validity.learn(query, simulations, left)
        trained = [t for d in densities for t in d.trained]
        facts = {
            "simulations": simulations.done,
            "epochs": sum(len(t.losses) for t in trained),
            "held-out loss": f"{sum(t.best for t in trained) / options.ensemble:.3f}",
        }
        notes = simulations.notes + Validity.note(
            simulations, "how probable that is was learned, and enters the answer"
        )
        if any(t.cut for t in trained):
            notes += (f"training stopped at its budget of {budget.seconds:g} s",)
        if any(t.restarts for t in trained):
            notes += ("training diverged, and began again with a smaller step",)
        solver = cls(query, budget, method, found, densities, validity, facts, notes)
        solver.simulations = simulations
        for factor, density in zip(factors, densities, strict=True):
            what = f"p({', '.join(factor.names)})" if len(factors) > 1 else ""
            solver.history = {**solver.history, **history(density.trained, what)}
        return solver

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data, from which `restored` makes it again."""
        states = [d.state for d in self.densities]
        validity, plain = self.validity.state
        tensors = packed(validity=validity, **{f"factor{k}": t for k, (t, _) in enumerate(states)})
        facts = {
            "factors": [facts for _, facts in states],
            "validity": plain,
            "facts": self.facts,
            "notes": self.notes,
            "history": self.history,
        }
        return tensors, facts

    @classmethod
    def restored(
        cls,
        query: Query,
        budget: Budget,
        method: str,
        kind: Any,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
    ) -> LikelihoodSolver:
        """The way back."""
        found, options = factorise(query), read(query, method)
        densities = [
            kind.of(query, factor, unpacked(tensors, f"factor{k}"), own, options)
            for k, (factor, own) in enumerate(zip(parts(found)[0], facts["factors"], strict=True))
        ]
        validity = Validity.of(query, unpacked(tensors, "validity"), facts["validity"])
        notes = tuple(facts["notes"])
        solver = cls(query, budget, method, found, densities, validity, dict(facts["facts"]), notes)
        solver.history = dict(facts.get("history", {}))
        return solver

    def likelihood(self, name: str) -> Callable[..., Any]:
        """The learned density of a node given its parents, as a distribution for the body of another model.

        Raises:
            QueryError: If it was not learned, or not alone.
        """
        for one in self.densities:
            if name in one.factor.names and isinstance(one, LearnedDensity):
                return learned(one)
        known = [n for d in self.densities for n in d.factor.names]
        raise QueryError(
            f"No density of '{name}' was learned by {self.method}.{closest(name, known)}"
        )

    def extended(self, more: int) -> LikelihoodSolver:
        """Trained further on so many more simulations, beside those that are still in memory."""
        self.turns += 1
        factors = parts(self.found)[0]
        fresh = simulated(
            self.query, self.budget, self.method, self.found, factors, more, self.turns
        )
        every = fresh if self.simulations is None else self.simulations.and_(fresh)
        kind = type(self.densities[0])
        options = replace(read(self.query, self.method), ensemble=len(self.densities[0].nets))
        found = LikelihoodSolver.learned(
            self.query,
            self.budget,
            self.method,
            self.found,
            every,
            time.monotonic(),
            kind,
            self,
            options,
        )
        found.turns = self.turns
        return found

    def resized(self, query: Query) -> LikelihoodSolver:
        """The same nets for other numbers of members of plates.

        Raises:
            BackendError: If what was learned is of all members together.
        """
        found = factorise(query)
        for one, factor in zip(self.densities, parts(found)[0], strict=True):
            if factor.plate is None and one.factor.dimensions != factor.dimensions:
                raise BackendError(
                    f"{self.method} learned {', '.join(factor.names)} as a whole, for the sizes that the plan was made with."
                )
        densities = [
            one.over(query, factor)
            for one, factor in zip(self.densities, parts(found)[0], strict=True)
        ]
        return LikelihoodSolver(
            query, self.budget, self.method, found, densities, self.validity, self.facts, self.notes
        )

    def condition(self, data: Data) -> Sequence[SurrogateAnswer]:
        """One answer for each observation; each draws its particles when somebody looks."""
        return [self.answer(data.one(i)) for i in range(data.datasets)]

    def brief(self, data: Data, draws: int) -> SurrogateAnswer:
        """The answer for one observation with few particles, for who wants many answers of few draws."""
        return self.answer(data, max(-(-2 * draws // ISLANDS), BRIEF))

    def answer(self, data: Data, particles: int = PARTICLES) -> SurrogateAnswer:
        """The answer for one observation, with so many particles on each island."""
        terms: list[Term] = [d.term(data) for d in (*self.densities, *self.explicit)]
        fixed = {n: data.observed[n] for n in self.query.clamped}
        fixed |= {n: data.inputs[n] for n in self.query.ranges}

        def log_likelihood(values):
            total = self.validity.log_prob({**fixed, **values})
            for term in terms:
                total = total + term(values)
            return total

        notes = self.notes + far([d.outside(data) for d in self.densities], self.what)
        found = SurrogateAnswer(
            self.query,
            self.found.parameters,
            log_likelihood,
            fixed,
            Certificate("U", f"a learned {self.what}", self.facts),
            notes,
            sum(d.width for d in self.densities),
            self.budget.seconds,
            particles,
        )
        found.history = self.history
        return found


def chosen(query: Query, method: str, found: Factorisation) -> Options:
    """The options, with several nets where there are many dimensions, or shares to be learned."""
    learned = parts(found)[0]
    many = max(f.dimensions for f in learned) >= MANY_DIMENSIONS
    # A table of shares has as many free numbers as it has cells.
    many = many or any(facts_of(query, n).discrete for f in learned for n in f.names)
    return read(query, method, SEVERAL if many else 1)
