"""Neural posterior estimation: a conditional flow, trained once on simulations, answers for any observation.

References:
    | Fast ε-free inference of simulation models with Bayesian conditional density estimation (Papamakarios and Murray, 2016)
    | Neural spline flows (Durkan, Bekasov, Murray and Papamakarios, 2019)
    | BayesFlow: learning complex stochastic models with invertible neural networks (Radev et al., 2020)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, QueryError
from ppl.mechanism import Data

from .answer import FlowAnswer
from .embedding import Groups, own_sizes
from .features import Features
from .gaps import any_size, blank_cells, blanked, check_gaps, masks, pooled, thinned
from .likelihood import evidence_of
from .members import axes_of
from .options import COMMON, Options, read
from .packing import loaded, packed, unpacked
from .posterior_net import PosteriorNet, Scheme
from .simulations import SIMULATIONS, Simulations, simulate
from .structure import structure
from .train import Settings, Trained, history, train
from .validity import Validity
from .variables import Unsuitable
from .verdicts import DEAR, EXPLICIT, FORCED, cannot, dear, far, opaque

__all__ = ["OPTIONS", "NPESolver", "judge", "posed", "prepare", "restore", "seen"]

#: Inputs with a declared range condition the net.
RANGES = True
#: What `ppl.Method("npe", …)` takes, besides what all estimators take: the kind of density, and the user's own nets by node.
OPTIONS = (*COMMON, "density", "embed")
#: Draws that marginals are read from, and how many all the answers of a batch have together.
DRAWS, ALTOGETHER, LEAST = 10_000, 1_000_000, 1_000


def judge(query: Query, budget: Budget) -> Verdict:
    """Fits where something is opaque, and rows above do not."""
    found = posed("npe", query, budget)
    if not (found.able and found.fits and dear(query, budget)):
        return found
    from .apt import judge as judge_rounds  # it takes its net from here

    rounds = judge_rounds(replace(query, options={}), budget)
    reason = f"{found.reason}; but for one observation and fewer than {DEAR:,} simulations rounds (apt) use them better"
    if not rounds.able:
        reason = f"{reason}, if they could: {rounds.reason}"
    return replace(found, fits=not rounds.able, reason=reason)


def posed(method: str, query: Query, budget: Budget) -> Verdict:
    """Whether a posterior net can be trained, before it is asked whether it should be."""
    if not query.evidence:
        return cannot(method, 8, "there is no data to learn from")
    try:
        wanted = structure(query)
        check_gaps(query, method)
    except Unsuitable as reason:
        return cannot(method, 8, str(reason), reason.remedy)
    read(query, method)
    cost = {"simulations": budget.simulations or SIMULATIONS, "parameters": wanted.size}
    guarantee = (
        "a trained approximation, for any observation; nothing is verified until it is checked"
    )
    if not opaque(query):
        return Verdict(method, True, 8, EXPLICIT, False, guarantee, "U", cost, FORCED)
    why = f"{opaque(query)}; a net learns p({', '.join(wanted.names)} | data) from simulations, once for all observations"
    if wanted.local:
        each = ", ".join(v.name for one in wanted.local for v in one.parts)
        why += f", {each} member by member"
    return Verdict(method, True, 8, why, True, guarantee, "U", cost)


def prepare(query: Query, budget: Budget) -> NPESolver:
    """Simulate and train."""
    return NPESolver.simulated(query, budget, "npe")


class NPESolver:
    """A trained posterior net; conditions on any number of observations without simulating again.

    Args:
        query: The component.
        budget: Of trainings to come.
        method: Who answers.
        scheme: The rows.
        nets: An ensemble.
        blank: Cells of plain nodes that are missing in every observation, by node.
        facts: Figures for the certificate.
        notes: What the user should know.
    """

    def __init__(
        self,
        query: Query,
        budget: Budget,
        method: str,
        scheme: Scheme,
        nets: Sequence[PosteriorNet],
        blank: Mapping[str, Tensor],
        facts: dict,
        notes: tuple[str, ...],
    ):
        self.budget = budget
        #: What it was trained on, while it is in memory, and how often more was added.
        self.simulations: Simulations | None = None
        self.turns = 0
        #: Losses of the nets by epoch.
        self.history: Mapping[str, Sequence[float]] = {}
        self.query, self.method, self.scheme, self.nets = query, method, scheme, list(nets)
        self.blank, self.facts, self.notes = dict(blank), facts, notes

    @classmethod
    def simulated(cls, query: Query, budget: Budget, method: str) -> NPESolver:
        """Simulate from the prior, and train on it."""
        begun = time.monotonic()
        wanted = structure(query)
        simulations = simulate(query, budget, method, wanted.names, seen(query))
        return cls.trained(query, budget, method, simulations, begun)

    def extended(self, more: int) -> NPESolver:
        """Trained further on so many more simulations, beside those that are still in memory."""
        begun, query = time.monotonic(), self.query
        self.turns += 1
        fresh = simulate(
            query,
            self.budget,
            self.method,
            self.scheme.structure.names,
            seen(query),
            wanted=more,
            turn=self.turns,
        )
        every = fresh if self.simulations is None else self.simulations.and_(fresh)
        found = NPESolver.trained(query, self.budget, self.method, every, begun, self)
        found.turns = self.turns
        return found

    @classmethod
    def trained(
        cls,
        query: Query,
        budget: Budget,
        method: str,
        simulations: Simulations,
        begun: float,
        start: NPESolver | None = None,
    ) -> NPESolver:
        """Train on simulations, or train an earlier one further."""
        options = read(query, method)
        blank = start.blank if start is not None else blank_cells(query)
        values = blanked(simulations.values, blank)
        scheme = start.scheme if start is not None else pattern(query, options, values)
        generator = torch.Generator().manual_seed(query.seed)
        parameters = scheme.parameters(values, generator)
        data, members = scheme.groups.rows(values), scheme.members(values, {})
        nets: list[PosteriorNet] = []
        every: list[Trained] = []
        left = max(budget.seconds - (time.monotonic() - begun), 1.0)
        for k in range(options.ensemble):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(query.seed * 1_000 + k)
                net = (
                    start.nets[k]
                    if start is not None
                    else PosteriorNet(
                        scheme, len(simulations), own_sizes(scheme.groups, data), options.density
                    )
                )
                places = masks(query, scheme)
                if start is None:
                    net.begin(thinned(data, places), parameters, members)
                rows = (*data, *net.scaled(parameters), *members)
                loss = _Loss(len(data), 2 * len(net.laws()), places)
                found = train(
                    net,
                    loss,
                    rows,
                    query.seed * 1_000 + k,
                    left / options.ensemble,
                    _numbered(options, k, len(places)),
                    f"training {method}",
                    options.progress,
                )
            nets.append(found.net)  # type: ignore[arg-type]
            every.append(found)
        notes = simulations.notes + Validity.note(
            simulations,
            "they were left out, which is unbiased for one round of NPE (the observation did not fail)",
        )
        facts = facts_of_training(simulations, every)
        notes += cut(every, budget)
        solver = cls(query, budget, method, scheme, nets, blank, facts, notes)
        solver.simulations, solver.history = simulations, history(every)
        return solver

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and plain data, from which `restored` makes it again."""
        groups, plain = self.scheme.groups.state
        seen = [f.state for f in self.scheme.seen]
        tensors = packed(
            groups=groups,
            blank=self.blank,
            **{f"seen{k}": t for k, (t, _) in enumerate(seen)},
            **{f"net{k}": net.state_dict() for k, net in enumerate(self.nets)},
        )
        facts = {
            "groups": plain,
            "seen": [facts for _, facts in seen],
            "made": [net.made for net in self.nets],
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
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
    ) -> NPESolver:
        """The way back."""
        embed = read(query, method).embed
        groups = Groups.of(query, unpacked(tensors, "groups"), facts["groups"], embed)
        seen = [
            Features.of(unpacked(tensors, f"seen{k}"), own) for k, own in enumerate(facts["seen"])
        ]
        scheme = Scheme.of(query, structure(query), groups, seen)
        nets = [
            loaded(PosteriorNet(scheme, **made), unpacked(tensors, f"net{k}"))
            for k, made in enumerate(facts["made"])
        ]
        blank, notes = unpacked(tensors, "blank"), tuple(facts["notes"])
        solver = cls(query, budget, method, scheme, nets, blank, dict(facts["facts"]), notes)  # type: ignore[arg-type]
        solver.history = dict(facts.get("history", {}))
        return solver

    def resized(self, query: Query) -> NPESolver:
        """The same nets for other numbers of members of plates.

        Raises:
            BackendError: If they were trained for one number only, or for fewer.
        """
        for plate, size in query.sizes.items():
            before = self.query.sizes.get(plate, size)
            if size == before:
                continue
            inside = [n for n in self.scheme.groups.names if plate in axes_of(query, n)]
            if size > before or not set(inside) <= self.scheme.groups.masked:
                raise BackendError(
                    f"{self.method} was trained for {'up to ' if set(inside) <= self.scheme.groups.masked else ''}{before} members of '{plate}', and the "
                    f"observation has {size}. Compile with sizes={{'{plate}': {size}}}; method='nle' learns one member for any number."
                )
        groups = Groups(
            query,
            self.scheme.groups.plain,
            self.scheme.groups.sets,
            self.scheme.groups.own,
            self.scheme.groups.masked,
        )
        scheme = Scheme.of(query, structure(query), groups, self.scheme.seen)
        return NPESolver(
            query,
            self.budget,
            self.method,
            scheme,
            self.nets,
            self.blank,
            self.facts,
            self.notes,
        )

    def condition(self, data: Data) -> Sequence[FlowAnswer]:
        """One answer for each observation, in one batch.

        Raises:
            QueryError: If other cells are missing than those that the net was trained for.
        """
        observed, present = evidence_of(self.query, data)
        there = {n: present[n] for n in self.scheme.groups.names if n in present}
        for name, here in there.items():
            if bool(here.all()) and name not in self.blank:
                continue
            if name in self.blank:
                if not torch.equal(here, (~self.blank[name]).expand(here.shape)):
                    raise QueryError(
                        f"{self.method}: '{name}' has other cells missing than those that the net was trained for. Compile again with this observation."
                    )
            elif name not in self.query.partial:
                raise QueryError(
                    f"{self.method}: '{name}' has missing cells, and the net was trained on complete data."
                )
        values = blanked({n: observed[n] for n in self.scheme.groups.names}, self.blank)
        rows = self.scheme.groups.rows(values, there)
        count = data.datasets
        rows = [r.expand((count, *r.shape[1:])) for r in rows]
        with torch.no_grad():
            embedded = [net.embed(rows) for net in self.nets]
        draws = max(min(DRAWS, ALTOGETHER // count), LEAST)
        answers = []
        for i in range(count):
            notes = self.notes + far([self.scheme.groups.outside(rows, i)], "net")
            mine, cells = (
                {n: v[i : i + 1] if len(v) > 1 else v for n, v in part.items()}
                for part in (values, there)
            )
            answers.append(FlowAnswer(self, [e[i] for e in embedded], mine, cells, draws, notes))
        return answers


def facts_of_training(simulations: Simulations, trained: Sequence[Trained]) -> dict:
    """Figures for the certificate."""
    return {
        "simulations": simulations.done,
        "epochs": sum(len(t.losses) for t in trained),
        "held-out loss": f"{sum(t.best for t in trained) / len(trained):.3f}",
    }


def cut(trained: Sequence[Trained], budget: Budget) -> tuple[str, ...]:
    """What the user should know of how training ended."""
    notes: tuple[str, ...] = ()
    if any(t.cut for t in trained):
        notes += (
            f"training stopped at its budget of {budget.seconds:g} s, with the best weights so far",
        )
    if any(t.restarts for t in trained):
        notes += ("training diverged, and began again with a smaller step",)
    return notes


def seen(query: Query) -> tuple[str, ...]:
    """What the net is given: observed nodes or their summaries, and inputs whose range it is prepared for."""
    return tuple(dict.fromkeys((*query.compared, *query.clamped, *query.ranges)))


def pattern(query: Query, options: Options, values: Mapping[str, Tensor]) -> Scheme:
    """The rows of parameters and data, with scales from simulations."""
    data = seen(query)
    masked = frozenset(n for n in data if n in query.partial and pooled(query, n)) | frozenset(
        n for n in data if any_size(query, n)
    )
    groups = Groups.fit(query, data, values, options.embed, masked)
    return Scheme.fit(query, structure(query), groups, values)


class _Loss:
    """−log q of rows; of sets whose members may be missing, some are left out at random.

    Args:
        data: How many of the rows are data.
        parameters: How many are parameters.
        masked: Places of the masks, among the data, of the plates whose members may be missing.
    """

    def __init__(self, data: int, parameters: int, masked: Sequence[int]):
        self.data, self.parameters, self.masked = data, parameters, tuple(masked)

    def __call__(self, net: nn.Module, rows: Sequence[Tensor]) -> Tensor:
        assert isinstance(net, PosteriorNet)
        data, rest = thinned(rows[: self.data], self.masked), rows[self.data :]
        return -net.log_prob(data, rest[: self.parameters], rest[self.parameters :])


def _numbered(options: Options, k: int, masked: int) -> Settings:
    """Settings with a checkpoint of its own for each net; masks that differ from epoch to epoch take longer to learn from."""
    settings = options.settings
    if masked:
        settings = replace(settings, epochs=2 * settings.epochs, patience=2 * settings.patience)
    path = settings.checkpoint
    if path is None or options.ensemble == 1:
        return settings
    return replace(settings, checkpoint=path.with_name(f"{path.stem}-{k}{path.suffix}"))


def restore(
    query: Query, budget: Budget, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> NPESolver:
    """A solver from its saved state."""
    return NPESolver.restored(query, budget, "npe", tensors, facts)
