"""The exact engine: rows 0 and 1 of the decision table.

It decides by the cost of elimination, never by the size of the joint space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log2
from weakref import WeakKeyDictionary

import numpy
from numpy import ndarray
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import BackendError, ImpossibleError, QueryError
from ppl.graph import Elimination as Order
from ppl.graph import elimination
from ppl.mechanism import Data
from ppl.mechanism.tables import NotFinite, Tables, TooLarge
from ppl.mechanism.truncation import OMITTED, countable, cut

from .answer import ExactAnswers
from .beliefs import reconciled
from .conflict import impossible
from .learning import fit
from .network import Network
from .prepared import CELL, STEP, Prepared
from .sensitivity import sensitivity
from .walk import decoded, value_of

__all__ = ["ExactSolver", "fit", "judge", "prepare", "sensitivity"]


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when every unobserved variable is finite, every remaining factor has a density, and elimination is cheap enough.

    Countable variables are cut where what is left out no longer matters.
    """
    row = 1 if query.evidence else 0
    try:
        query = truncated(query, budget, query.observation)
        _, order = _network(query)
    except NotFinite as reason:
        return Verdict("exact", False, row, str(reason), remedy=_remedy(str(reason)))
    except TooLarge as reason:
        return Verdict(
            "exact",
            False,
            row,
            str(reason),
            remedy="Let fewer parents meet in one node, for instance by a running sum.",
        )
    limit, bytes_ = budget.cells, 16 * order.cells
    cost = {
        "variables": len(order.order),
        "width": order.width,
        "cells in the largest factor": order.largest,
        "table cells": order.cells,
        "bytes": bytes_,
        "predicted seconds": float(f"{1e-9 * (STEP * len(order.order) + CELL * order.cells):.1g}"),
    }
    if order.cells > limit or bytes_ > budget.memory:
        bound = (
            f"2^{log2(limit):.0f} is the limit"
            if order.cells > limit
            else f"{_size(bytes_)} of memory; {_size(budget.memory)} is the limit"
        )
        return Verdict(
            "exact",
            False,
            row,
            f"elimination would make factors of 2^{order.log2_cells:.1f} cells (width {order.width}), and {bound}",
            fits=False,
            guarantee="exact",
            grade="A",
            cost=cost,
            remedy="Observe more nodes, let fewer parents meet in one node"
            + (
                f", or allow it: budget=Budget(cells={order.cells}, memory={max(bytes_, budget.memory)})."
                if order.log2_cells < 31
                else "."
            ),
        )
    free = len(order.order)
    what = (
        f"all {free} unobserved variables are"
        if free > 1
        else "the unobserved variable is"
        if free
        else "nothing is hidden that is not"
    )
    return Verdict(
        "exact",
        True,
        row,
        f"{what} finite{_followed(query)} and every factor has a density; elimination ({order.heuristic}) makes 2^{order.log2_cells:.1f} cells",
        guarantee="exact probabilities, log-evidence and independent draws",
        grade="A",
        cost=cost,
    )


def prepare(query: Query, budget: Budget) -> ExactSolver | Truncating:
    """Domains, tables and an elimination order; those of countable nodes wait for the observation."""
    return (
        Truncating(query, budget)
        if countable(query.mechanism, query.free)
        else ExactSolver(query, budget)
    )


def _followed(query: Query) -> str:
    """How far countable nodes are followed, in words."""
    ends = [f"{n} to {int(values[-1]):,}" for n, values in query.cuts.items()]
    return f" or countable (followed as far as it matters: {', '.join(ends)})" if ends else ""


def _size(bytes_: float) -> str:
    return f"{bytes_ / 2**30:.3g} GB" if bytes_ >= 2**30 else f"{bytes_ / 2**20:.3g} MB"


def _remedy(reason: str) -> str:
    if "simulator" in reason:
        return "Return a distribution instead of a value, and the density is known."
    if "continuous" in reason:
        return "Put it on a grid (Integers and a deterministic node) to make it finite."
    return ""


#: What judging has built, for as long as the query lives: preparing starts from there.
_BUILT: WeakKeyDictionary[Query, tuple[Network, Order]] = WeakKeyDictionary()


def _network(query: Query) -> tuple[Network, Order]:
    if query in _BUILT:
        return _BUILT[query]
    tables = Tables(query.mechanism, _known(query, query.observation), cuts=query.cuts)
    network = Network(query, tables)
    scopes = [scope for b in network.bundles for scope in b.source.scopes if scope]
    _BUILT[query] = network, elimination(scopes, network.sizes())
    return _BUILT[query]


def _known(query: Query, data: Data | None) -> dict[str, Tensor]:
    """Values of the observed nodes; before they are known, a draw of them stands in."""
    names = [n for n in query.given if n in query.graph and n not in query.free]
    if data is not None:
        return {n: data.observed[n] for n in names if n in data.observed}
    needed = [n for n in names if not query.mechanism.facts[n].finite]
    if not needed:
        return {n: None for n in names}  # type: ignore[misc]
    from ppl.mechanism import forward

    values = forward(query.mechanism, 2, query.seed).values
    return {n: values[n] for n in names}


class ExactSolver:
    """Prepared tables and orders; conditions on batches of observations.

    Args:
        query: The component.
        budget: What may be allocated.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget
        self._ready: Prepared | None = None
        self._best: dict[tuple[Network, tuple[str, ...]], Prepared] = {}
        self._evidence: ExactSolver | None = None

    def condition(self, data: Data) -> Sequence:
        """One answer for each observation.

        Raises:
            ImpossibleError: If an observation has probability zero.
        """
        prepared = self.prepared(data)
        if data.beliefs:
            data = reconciled(prepared, data)
        result = prepared.run(data)
        none = numpy.isneginf(result.log_evidence)
        if none.any():
            raise impossible(self.query, self.budget, data, int(none.argmax()))
        return ExactAnswers(self, prepared, result, data)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: where countable nodes were cut."""
        return tuple(
            f"{name} was followed to {int(values[-1]):,}: what lies beyond is at most {OMITTED:g} of the evidence"
            for name, values in self.query.cuts.items()
        )

    def codes(self) -> dict[str, dict]:
        """By observed node: the place of each value and label, if all are plain finite nodes that nothing but their value matters of."""
        query, (network, _) = self.query, _network(self.query)
        if network.tables.contextual or any(b.table is None for b in network.bundles):
            return {}
        found = {}
        for name in query.given:
            if name not in query.graph or query.graph[name].axes:
                return {}
            node, domain = query.graph[name], network.tables.domain(name)
            if domain.dim() > 1:
                return {}
            places: dict = {value: i for i, value in enumerate(domain.tolist())}
            for value, label in enumerate(node.states or ()):
                if value in places:
                    places[label] = places[value]
            found[name] = places
        return found

    def at(self, places: dict[str, int], read: Callable[[], Data]) -> ExactAnswers:
        """The answer for one observation, given as places of values.

        Raises:
            ImpossibleError: If it has probability zero.
        """
        prepared = self._plain()
        result = prepared.run_at(places)
        if result.log_evidence[0] == -numpy.inf:
            raise impossible(self.query, self.budget, read(), 0)
        return ExactAnswers(self, prepared, result, read)

    def log_evidence(self, data: Data) -> ndarray:
        """log p(observation) for each observation, `(datasets,)`; what no observation depends on is not touched."""
        return self._evidence_solver().prepared(data).run(data, down=False).log_evidence

    def _evidence_solver(self) -> ExactSolver:
        """The solver of the nodes that the observation depends on."""
        if self._evidence is None:
            graph = self.query.graph
            useful = graph.ancestors_of(self.query.evidence)
            self._evidence = ExactSolver(
                replace(
                    self.query,
                    free=tuple(n for n in self.query.free if n in useful),
                    ask=(),
                    task="evidence",
                ),
                self.budget,
            )
        return self._evidence

    def log_evidence_at(self, places: dict[str, int]) -> float:
        """log p(observation) for one observation, given as places of values."""
        return float(self._evidence_solver()._plain().run_one(places, False).logs[0])

    def _plain(self) -> Prepared:
        """The tree of a network whose tables depend on no observation."""
        if self._ready is None:
            network, order = _network(self.query)
            self._ready = Prepared(network, asked(network, self.query.ask), order)
        return self._ready

    def most_probable_at(
        self, places: dict[str, int], names: Sequence[str]
    ) -> tuple[dict[str, Tensor], float]:
        """As `most_probable`, for one observation given as places of values."""
        network, _ = _network(self.query)
        prepared = self._maximiser(network, tuple(names))
        prepared.run_one(places, False)
        states, log_joint = decoded(prepared)
        log_sum = self.log_evidence_at(places)
        if log_sum == -numpy.inf:
            raise ImpossibleError("The observation has probability zero under the model.")
        return {name: value_of(network, name, states) for name in names}, log_joint - log_sum

    def _maximiser(self, network: Network, names: tuple[str, ...]) -> Prepared:
        """The tree that maximises over some nodes."""
        if (network, names) not in self._best:
            chosen = frozenset(
                v for name in names for v in network.variables(name) if len(network.reach[v]) > 1
            )
            order = self.order(network, [], last=chosen)
            self._best[network, names] = Prepared(network, (), order, chosen)
        return self._best[network, names]

    def most_probable(
        self, data: Data, names: Sequence[str], log_sum: float | None = None
    ) -> tuple[dict[str, Tensor], float]:
        """Maximising values of some nodes given one observation, the others summed out, and the log of their probability.

        Args:
            data: One observation.
            names: The nodes.
            log_sum: log p(observation), where it is known already.

        Raises:
            ImpossibleError: If the observation has probability zero.
        """
        if data.beliefs:
            data = reconciled(self.prepared(data), data)
        network = self.prepared(data).network
        prepared = self._maximiser(network, tuple(names))
        prepared.run(data, down=False)
        states, log_joint = decoded(prepared)
        if log_joint == -numpy.inf:
            raise impossible(self.query, self.budget, data, 0)
        if log_sum is None:
            log_sum = float(self.log_evidence(data)[0])
        return {name: value_of(network, name, states) for name in names}, log_joint - log_sum

    def order(
        self,
        network: Network,
        together: Sequence[tuple[int, ...]],
        last: frozenset[int] = frozenset(),
    ) -> Order:
        """An elimination order for a question of its own.

        Raises:
            BackendError: If it costs too much.
        """
        scopes = [s for b in network.bundles for s in b.source.scopes if s]
        found = elimination([*scopes, *together], network.sizes(), last=last)
        if found.cells > self.budget.cells:
            raise BackendError(
                f"This takes factors of 2^{found.log2_cells:.1f} cells (width {found.width}), and 2^{log2(self.budget.cells):.0f} is the "
                f"limit; ask about fewer nodes at once, or allow it: budget=Budget(cells={found.cells})."
            )
        return found

    def like(self, query: Query) -> ExactSolver:
        """A solver for another question, within the same budget."""
        return ExactSolver(query, self.budget)

    def prepared(self, data: Data) -> Prepared:
        """The tree, with tables that know the observed parents where they must."""
        if self._ready is None:
            network, _ = _network(self.query)
            if network.tables.contextual and self.query.observation is not data:
                # Tables depend on what was observed: they serve this observation only.
                network, order = _network(replace(self.query, observation=data))
                return Prepared(network, asked(network, self.query.ask), order)
        return self._plain()


class Truncating:
    """An exact solver that cuts countable nodes where each batch of observations lets it.

    Args:
        query: The component.
        budget: What may be allocated.
    """

    def __init__(self, query: Query, budget: Budget):
        self.query, self.budget = query, budget

    def condition(self, data: Data) -> Sequence:
        """One answer for each observation.

        Raises:
            BackendError: If no end of what matters is found.
            ImpossibleError: If an observation has probability zero.
        """
        return self._solver(data).condition(data)

    def codes(self) -> dict[str, dict]:
        """No observation is answered by places of values: each has ends of its own."""
        return {}

    def log_evidence(self, data: Data) -> ndarray:
        """log p(observation) for each observation, `(datasets,)`."""
        return self._solver(data).log_evidence(data)

    def most_probable(
        self, data: Data, names: Sequence[str], log_sum: float | None = None
    ) -> tuple[dict[str, Tensor], float]:
        """As `ExactSolver.most_probable`."""
        return self._solver(data).most_probable(data, names, log_sum)

    def _solver(self, data: Data) -> ExactSolver:
        try:
            return ExactSolver(truncated(self.query, self.budget, data), self.budget)
        except (NotFinite, TooLarge) as error:
            raise BackendError(f"{error}.") from error


#: Queries whose countable nodes are cut for their own observation, for as long as the query lives.
_CUT: WeakKeyDictionary[Query, Query] = WeakKeyDictionary()


def truncated(query: Query, budget: Budget, data: Data | None) -> Query:
    """The query with its countable nodes cut: where the data let it, or the prior when there are none yet.

    Raises:
        NotFinite: If there is no end of what matters.
        TooLarge: If a table would be too large before that.
    """
    names = countable(query.mechanism, query.free)
    if not names or query.cuts:
        return query
    if data is query.observation and query in _CUT:
        return _CUT[query]
    fixed = {} if data is None else {n: data.observed[n] for n in query.given if n in data.observed}

    def look(values: dict[str, Tensor]) -> tuple[float, dict[str, ndarray]]:
        assert data is not None
        solver = ExactSolver(
            replace(query, cuts=values, ask=tuple(names), observation=data), budget
        )
        _, order = _network(solver.query)
        if order.cells > budget.cells:
            raise NotFinite(
                f"'{names[0]}' has countably many values, and following them to {int(values[names[0]][-1]):,} makes factors of 2^{order.log2_cells:.1f} cells"
            )
        prepared = solver.prepared(data)
        try:
            answers = ExactAnswers(solver, prepared, prepared.run(data), data)
        except QueryError:
            return -numpy.inf, {}  # something was observed that only larger values make possible
        ends = {n: answers.probs(n, slice(None))[..., -2:] for n in names}
        return float(answers.result.log_evidence.min()), ends

    found = cut(query.mechanism, names, fixed, query.seed, look if data is not None else None)
    result = replace(query, cuts=found)
    if data is query.observation:
        _CUT[query] = result
    return result


def asked(network: Network, names: Sequence[str]) -> list[tuple[int]]:
    """The variables of some nodes, member by member."""
    return [(v,) for name in names for v in network.variables(name)]
