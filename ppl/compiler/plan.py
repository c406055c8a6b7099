"""The plan: which engine answers for which component, why, and what speaks against the others.

It prints, draws, turns into JSON, and it runs: `plan.posterior(observation)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..errors import BackendError, QueryError, closest
from ..graph import Graph
from ..mechanism import Data, Lookup, Mechanism, read_data
from ..posterior import MostProbable, Posterior, Posteriors
from . import printed, registry
from .passes import Pruned, check_observation
from .protocol import Budget, Solver
from .query import Query
from .route import Route

__all__ = ["Plan", "read_modes"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How a question will be answered.

    Args:
        model: The model's whole graph.
        query: The question, after pruning.
        routes: One for each independent component.
        pruned: Nodes that were left out, with the reason.
        modes: How each body is called, and why.
        budget: What the answer may cost.
        forced: The method that the user forced, or `None`.
    """

    model: Graph
    query: Query
    routes: tuple[Route, ...]
    pruned: tuple[Pruned, ...]
    modes: Mapping[str, tuple[str, str]]
    budget: Budget
    forced: str | None = None
    _solvers: dict[int, Solver] = field(default_factory=dict, repr=False)
    _gapped: dict[frozenset[str], Plan] = field(default_factory=dict, repr=False)
    _sized: dict[tuple, Plan] = field(default_factory=dict, repr=False)
    _codes: dict[str, Mapping[Any, int]] = field(default_factory=dict, repr=False)
    _coded: list[bool] = field(default_factory=list, repr=False)  # whether codes were asked for

    # -- running ---------------------------------------------------------------------------------

    def posterior(
        self, observation: Mapping[str, Any] | None = None, *, nan: str = "error"
    ) -> Posterior:
        """The posterior given one observation; without one, given that with which the plan was made.

        Raises:
            QueryError: If the observation does not fit the plan.
            ImpossibleError: If the observation has probability zero.
            BackendError: If no engine can serve.
        """
        if observation is None:
            return self._run(self._given(None))[0]
        quick = self._quick(observation, nan)
        if quick is not None:
            return quick
        resized = self._resized(observation, nan, batch=False)
        if resized is not None:
            return resized.posterior(observation, nan=nan)
        data = self._read(observation, nan, batch=False)
        return self._for(data)._run(data)[0]

    def posteriors(
        self, observations: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, nan: str = "error"
    ) -> Posteriors:
        """One posterior for each of many observations, conditioned together.

        Args:
            observations: A mapping whose values have one more leading axis, or a list of observations. Each may have missing
                cells of its own.

        Returns:
            A sequence of posteriors in the order of the observations; `posteriors["rain"]` is the marginal of one node for
            all of them, with a leading axis.
        """
        resized = self._resized(observations, nan, batch=True)
        if resized is not None:
            return resized.posteriors(observations, nan=nan)
        data = self._read(observations, nan, batch=True)
        return self._for(data)._run(data)

    def _quick(self, observation: Any, nan: str) -> Posterior | None:
        """The posterior given plain values, without any tensor; `None` where that is not possible."""
        places = self._places(observation)
        if places is None:
            return None
        read = partial(self._read, dict(observation), nan, False)
        answers = self._solvers[0].at(places, read)  # type: ignore[attr-defined]
        return Posterior(self.model, answers, self.query.ask, self, read)

    def _places(self, observation: Any) -> dict[str, int] | None:
        """Plain values of plain finite nodes as places in their domains, for an exact solver; `None` for whatever is not that plain,
        errors included."""
        if not self._coded and len(self.routes) == 1 and self.routes[0].method == "exact":
            self._coded.append(True)
            self._codes.update(self._solver(0).codes())  # type: ignore[attr-defined]
        if (
            not self._codes
            or not isinstance(observation, Mapping)
            or len(observation) != len(self._codes)
        ):
            return None
        try:
            return {name: table[observation[name]] for name, table in self._codes.items()}
        except (KeyError, TypeError):
            return None

    def _read(self, observation: Any, nan: str, batch: bool) -> Data:
        graph, mechanism = self.model, self.query.mechanism
        data = read_data(graph, observation, sizes=mechanism.sizes, nan=nan, batch=batch)
        for name in self.query.ranges:
            if name not in data.inputs:
                raise QueryError(
                    f"Give the input '{name}' with the observation: this plan is prepared for its whole range."
                )
        open_inputs = {n: data.inputs[n] for n in self.query.ranges}
        for name, value in data.inputs.items():
            if name in open_inputs:
                continue
            known = mechanism.data.inputs.get(name)
            if name in self.query.graph and (known is None or not torch.equal(known, value)):
                raise QueryError(
                    f"This plan was made for another value of the input '{name}'; compile again for this one."
                )
        for plate, columns in data.columns.items():
            for pointed, column in columns.items():
                if not torch.equal(column, mechanism.columns[plate][pointed]):
                    raise QueryError(
                        f"This plan was made for another column '{pointed}'; compile again for this one."
                    )
        there = {*data.observed, *data.soft}
        extra = [n for n in there if n not in self.query.given]
        lacking = [n for n in self.query.given if n not in there]
        if extra or lacking:
            what = (
                f"'{extra[0]}' is given and was not planned"
                if extra
                else f"'{lacking[0]}' was planned and is not given"
            )
            raise QueryError(
                f"This plan is for given={list(self.query.given)}: {what}. Compile again, or write None for a gap."
            )
        data = check_observation(self.query.graph, mechanism, data)
        return replace(
            data,
            inputs={**mechanism.data.inputs, **open_inputs},
            columns=mechanism.columns,
            sizes=mechanism.sizes,
        )

    def _resized(self, observation: Any, nan: str, batch: bool) -> Plan | None:
        """The plan for other numbers of members than it was made with, whose solvers answer for them without being prepared again; `None` where
        the numbers are the same, or some engine cannot."""
        open_plates = {n for n, p in self.model.plates.items() if p.size is None and not p.of}
        if not open_plates or not all(
            hasattr(self._solvers.get(i), "resized") for i, r in enumerate(self.routes) if r.ask
        ):
            return None
        sizes = self.query.mechanism.sizes
        kept = {n: s for n, s in sizes.items() if n not in open_plates}
        data = read_data(self.model, observation, sizes=kept, nan=nan, batch=batch)
        new = {n: data.sizes.get(n, s) for n, s in sizes.items()}
        if new == dict(sizes):
            return None
        key = tuple(sorted(new.items()))
        if key not in self._sized:
            from .compile import with_sizes

            self._sized[key] = with_sizes(self, new, {**data.inputs})
        return self._sized[key]

    def _for(self, data: Data) -> Plan:
        """This plan, or the one for the gaps that these observations have: missing cells open paths."""
        gaps = frozenset(n for n in data.observed if data.missing(n)) | data.soft
        partial = self.query.partial | gaps
        if partial == self.query.partial:
            return self
        if partial not in self._gapped:
            from .compile import with_gaps

            self._gapped[partial] = with_gaps(self, partial)
        return self._gapped[partial]

    def _run(self, data: Data) -> Posteriors:
        asked = [(i, r) for i, r in enumerate(self.routes) if r.ask]
        for _, route in asked:
            if route.verdict is None:
                raise BackendError(printed.refusal(self, route))
        for _, route in asked:
            if data.soft & set(route.query.graph.nodes) and route.method != "exact":
                raise BackendError(
                    f"Virtual and soft evidence are weighed by the exact engine only; '{route.method}' answers for "
                    f"{', '.join(route.ask)}."
                )
        columns = [self._solver(i).condition(data) for i, _ in asked]
        rest = [
            None if r.verdict is None else self._solver(i).condition(data)
            for i, r in enumerate(self.routes)
            if not r.ask
        ]
        return Posteriors(self.model, columns, self.query.ask, self, data, rest)

    def log_evidence(self, observation: Mapping[str, Any] | None = None) -> float:
        """log p(observation) alone, without the marginals; nodes that no observation depends on are not touched.

        Raises:
            AttributeError: If a route does not give it.
        """
        places = None if observation is None else self._places(observation)
        if places is not None:
            return self._solvers[0].log_evidence_at(places)  # type: ignore[attr-defined]
        data = self._given(observation)
        plan = self._for(data)
        if any(route.method != "exact" for route in plan.routes):
            return plan._run(data)[0].log_evidence
        parts: list[float] = [
            float(plan._solver(i).log_evidence(data)[0])  # type: ignore[attr-defined]
            for i in range(len(plan.routes))
        ]
        return sum(parts)

    def most_probable(
        self, observation: Mapping[str, Any] | None = None, of: Collection[str] | None = None
    ) -> MostProbable:
        """The jointly most probable values of the asked nodes, or of some; see `Posterior.most_probable`.

        Prepared once and conditioned many times, like the posterior; it computes no marginals.
        """
        names = tuple(of or self.query.ask)
        places = None if observation is None else self._places(observation)
        if places is not None and {*names} <= {*self.query.ask}:
            return self._named(*self._solvers[0].most_probable_at(places, names))  # type: ignore[attr-defined]
        data = self._given(observation)
        plan = self._for(data)
        if any(route.method != "exact" for route in plan.routes) or not set(names) <= {
            *self.query.ask
        }:
            return plan._run(data)[0].most_probable(*names)
        values: dict[str, torch.Tensor] = {}
        total = 0.0
        for i, route in enumerate(plan.routes):
            mine = [name for name in names if name in route.ask]
            if mine:
                found, log_prob = plan._solver(i).most_probable(data, mine)  # type: ignore[attr-defined]
                values.update(found)
                total += log_prob
        return self._named({name: values[name] for name in names}, total)

    def _named(self, values: Mapping[str, torch.Tensor], log_prob: float) -> MostProbable:
        labels = {n: s for n in values if (s := self.model[n].states)}
        return MostProbable(values, log_prob, labels)

    def _given(self, observation: Mapping[str, Any] | None) -> Data:
        if observation is not None:
            return self._read(observation, "error", batch=False)
        if self.query.observation is None:
            raise QueryError(
                f"This plan was made for given={list(self.query.given)}; pass an observation of them."
            )
        return self.query.observation

    def further(self, data: Data, values: Mapping[str, Any], of: Collection[str]) -> Posterior:
        """The posterior given more nodes than these data have, compiled for it; see `Posterior.given`.

        Args:
            data: One observation that fits this plan.
            values: More of it, by node; gaps are `None`.
            of: What is asked.
        """
        from .compile import with_more

        return with_more(self, data, values, tuple(of)).posterior()

    def likelihood(self, name: str) -> Callable[..., Any]:
        """The density that a neural likelihood has learned for an observed node, as a distribution for the body of another model.

        Args:
            name: The node.

        Returns:
            A function of the node's parents, by name or in order, that a body may return: densities and draws, differentiable. Of a node in a
            plate it is the density of one member.

        Raises:
            QueryError: If no density of this node was learned.

        Example:
            ::

                net = ppl.compile(simulator, ["x"], method="nle").likelihood("x")

                @other.observed
                def x(theta):
                    return net(theta)
        """
        for i, route in enumerate(self.routes):
            if name in route.query.evidence and route.verdict is not None:
                solver = getattr(self._solver(i), "solver", self._solver(i))
                if hasattr(solver, "likelihood"):
                    return solver.likelihood(name)
                raise QueryError(
                    f"'{name}' is answered for by {route.method}, which learns no density of it; method='nle' does."
                )
        raise QueryError(
            f"This plan has learned nothing of '{name}'.{closest(name, self.query.given)}"
        )

    def extend(self, simulations: int) -> None:
        """Simulate more and train on, from where the nets are; other engines have nothing to extend.

        Args:
            simulations: How many more.

        Raises:
            QueryError: If the number is not positive.
            BackendError: If no engine of this plan trains on simulations from the prior.
        """
        if isinstance(simulations, bool) or not isinstance(simulations, int) or simulations < 1:
            raise QueryError(
                f"extend({simulations!r}): the number of simulations is a positive integer."
            )
        asked = [i for i, route in enumerate(self.routes) if route.ask]
        able = [i for i in asked if hasattr(self._solver(i), "extended")]
        if not able:
            named = ", ".join(dict.fromkeys(self.routes[i].method for i in asked))
            raise BackendError(
                f"{named} does not train on simulations from the prior, so there is nothing to extend."
            )
        for i in able:
            self._solvers[i] = self._solvers[i].extended(simulations)  # type: ignore[attr-defined]

    def sensitivity(self, name: str, data: Data) -> torch.Tensor:
        """The gradient of the log-evidence with respect to a node's table; see `Posterior.sensitivity`."""
        self.model[name]
        others = [r for r in self.routes if r.method != "exact"]
        if others:
            raise BackendError(
                f"The gradient of the evidence is known by exact routes only; {', '.join(others[0].ask)} goes by {others[0].method}."
            )
        if name not in self.query.graph:
            raise QueryError(f"The observation does not depend on '{name}'.")
        return registry.backend("exact").sensitivity(self.query, data, name)  # type: ignore[attr-defined]

    def _solver(self, i: int) -> Solver:
        if i not in self._solvers:
            route = self.routes[i]
            assert route.verdict is not None
            self._solvers[i] = registry.backend(route.verdict.method).prepare(
                route.query, self.budget
            )
        return self._solvers[i]

    def save(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the plan and what its engines learned, so that `ppl.load(path, model)` answers at once, and the same.

        Engines that learn something are prepared if they are not yet; the others are prepared anew after loading, at no loss
        but time. The model's functions are not written: its file is your program.

        Args:
            path: Of the file; any name.
            force: Whether a file of this name may be replaced.

        Returns:
            The path.

        Raises:
            StoreError: If the file is there already, or cannot be written.
            BackendError: If a part of the question has no engine, or an engine's state cannot be written down.
        """
        from .saved import save

        return save(self, path, force=force)

    # -- looking ---------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The plan as data: equal inputs give equal dictionaries, ready for JSON."""
        return printed.data(self)

    def draw(self, **options: Any) -> Any:
        """The DAG, coloured by route, with a legend; what was pruned is faded, or folded into one node if it is much.

        Args:
            options: Those of `Model.draw`; `folded=()` unfolds what was pruned.
        """
        return printed.picture(self, options)

    def _repr_html_(self) -> str:
        from ..html import printed as shown

        return shown(self)

    def report(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the model and this plan into one HTML file; see `Posterior.report`.

        Args:
            path: Of the file.
            force: Whether a file of this name may be replaced.

        Returns:
            The path.

        Raises:
            StoreError: If the file is there already, or cannot be written.
        """
        from ..report import of_plan

        return of_plan(self, path, force=force)

    def __str__(self) -> str:
        return printed.text(self)


def read_modes(mechanism: Mechanism) -> dict[str, tuple[str, str]]:
    """How each body is called, and why, by node."""
    modes = {}
    for (name, part), caller in mechanism.callers.items():
        if isinstance(caller.body.function, Lookup):
            mode, reason = "table", "a table of probabilities, which needs no call"
            modes[name if part == "body" else f"{name} (start)"] = mode, reason
        elif mechanism.graph[name].picks is None and caller.mode is not None:
            modes[name if part == "body" else f"{name} (start)"] = (caller.mode, caller.reason)
    return modes
