"""The exact engine: rows 0 and 1 of the decision table.

It decides by the cost of elimination, never by the size of the joint space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log2
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from ppl.compiler import Budget, Query, Verdict
from ppl.errors import ImpossibleError
from ppl.graph import Elimination as Order
from ppl.graph import elimination
from ppl.mechanism import Data
from ppl.mechanism.tables import NotFinite, Tables, TooLarge
from ppl.posterior import Answer, Certificate, TableMarginal

from .elimination import Elimination, eliminate
from .factor import Factor
from .network import Network

__all__ = ["ExactAnswer", "ExactSolver", "judge", "prepare"]

#: The largest total size of the elimination's factors, as a power of two.
CELLS = 27


def judge(query: Query, budget: Budget) -> Verdict:
    """Able when every unobserved variable is finite, every remaining factor has a density, and elimination is cheap enough."""
    row = 1 if query.evidence else 0
    try:
        _, order = _network(query)
    except NotFinite as reason:
        return Verdict("exact", False, row, str(reason), remedy=_remedy(query, str(reason)))
    except TooLarge as reason:
        return Verdict(
            "exact",
            False,
            row,
            str(reason),
            remedy="Let fewer parents meet in one node, for instance by a running sum.",
        )
    cost = {"variables": len(order.order), "table cells": order.cells}
    limit = min(2**CELLS, budget.memory // 8)
    if order.cells > limit:
        return Verdict(
            "exact",
            order.largest * 8 <= budget.memory,
            row,
            f"elimination would make factors of 2^{order.log2_cells:.1f} cells, and 2^{log2(limit):.0f} is the limit",
            fits=False,
            guarantee="exact",
            grade="A",
            cost=cost,
            remedy="Observe more nodes, or let fewer parents meet in one node.",
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
        f"{what} finite and every factor has a density; elimination ({order.heuristic}) makes 2^{order.log2_cells:.1f} cells",
        guarantee="exact probabilities, log-evidence and independent draws",
        grade="A",
        cost=cost,
    )


def prepare(query: Query, budget: Budget) -> ExactSolver:
    """Domains, tables and an elimination order."""
    return ExactSolver(query)


def _remedy(query: Query, reason: str) -> str:
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
    tables = Tables(query.mechanism, _known(query, query.observation))
    network = Network(query, tables)
    _BUILT[query] = network, elimination(network.scopes(), network.sizes())
    return _BUILT[query]


def _known(query: Query, data: Data | None) -> dict[str, Tensor]:
    """Values of the observed nodes; before they are known, a draw of them stands in."""
    names = [n for n in query.given if n in query.graph and n not in query.free]
    if data is not None:
        return {n: data.observed[n] for n in names if n in data.observed}
    from ppl.mechanism import forward

    values = forward(query.mechanism, 2, query.seed).values if names else {}
    return {n: values[n] for n in names}


class ExactSolver:
    """Prepared tables and orders; conditions on batches of observations.

    Args:
        query: The component.
    """

    def __init__(self, query: Query):
        self.query = query
        self._networks: dict[frozenset[str], tuple[Network, Order]] = {
            frozenset(query.partial): _network(query)
        }

    def condition(self, data: Data) -> Sequence[ExactAnswer]:
        """One answer for each observation.

        Raises:
            ImpossibleError: If an observation has probability zero.
        """
        network, order = self._fitting(data)
        factors, constant = network.factors(data)
        result = eliminate(factors, order.order, network.sizes(), data.datasets)
        log_evidence = result.log_evidence + constant
        impossible = numpy.isneginf(log_evidence)
        if impossible.any():
            which = f" {int(impossible.argmax())}" if data.datasets > 1 else ""
            raise ImpossibleError(
                f"The observation{which} of {', '.join(self.query.evidence)} has probability zero under the model: no state of "
                f"{', '.join(self.query.free) or 'the model'} can produce it."
            )
        return [
            ExactAnswer(self.query, network, result, factors, float(log_evidence[i]), i)
            for i in range(data.datasets)
        ]

    def _fitting(self, data: Data) -> tuple[Network, Order]:
        """The network for this pattern of gaps, with tables that know the observed parents where they must."""
        gaps = (
            frozenset(n for n in data.observed if n in self.query.graph and data.missing(n))
            | self.query.partial
        )
        if gaps not in self._networks:
            free = tuple(
                dict.fromkeys((*self.query.free, *(n for n in self.query.graph.nodes if n in gaps)))
            )
            self._networks[gaps] = _network(
                replace(self.query, free=free, partial=gaps, observation=data)
            )
        network, order = self._networks[gaps]
        for family in network.families:
            network.tables.table(family.node, family.part)
        if not network.tables.contextual or self.query.observation is data:
            return network, order
        return _network(replace(network.query, observation=data))


class ExactAnswer(Answer):
    """The exact posterior of a component, read off a finished elimination.

    Args:
        query: The component.
        network: Its variables.
        result: The elimination of the whole batch of observations.
        factors: The factors that were eliminated, for joint probabilities.
        log_evidence: log p(observation).
        dataset: Which observation of the batch this is.
    """

    def __init__(
        self,
        query: Query,
        network: Network,
        result: Elimination,
        factors: Sequence[Factor],
        log_evidence: float,
        dataset: int,
    ):
        self.names = query.ask
        self.log_evidence = log_evidence
        self.certificate = Certificate("A", "exact by elimination")
        self._query, self._network, self._result, self._factors, self._dataset = (
            query,
            network,
            result,
            factors,
            dataset,
        )

    def _grid(self, name: str) -> tuple[int, ...]:
        return tuple(self._query.sizes[p] for p in self._query.graph[name].plates)

    def marginal(self, name: str) -> TableMarginal:
        node, domain, shape = self._query.graph[name], self._network.domains[name], self._grid(name)
        probs = numpy.zeros((*shape, len(domain)))
        for at in numpy.ndindex(*shape):
            cell = (name, tuple(at))
            table = self._result.marginal(cell)
            probs[at][self._network.reach[cell]] = table[self._dataset if len(table) > 1 else 0]
        # What rounding has left of one is shared out, so that probabilities add up.
        probs /= probs.sum(axis=-1, keepdims=True)
        return TableMarginal(name, domain, torch.from_numpy(probs), node.plates, node.states)

    def sample(self, n: int, seed: int) -> dict[str, Tensor]:
        cells = [
            (name, tuple(at)) for name in self.names for at in numpy.ndindex(*self._grid(name))
        ]
        drawn = self._result.draw(cells, self._dataset, n, numpy.random.default_rng(seed))
        found = {}
        for name in self.names:
            shape = self._grid(name)
            columns = [
                self._network.reach[name, tuple(at)][drawn[name, tuple(at)]]
                for at in numpy.ndindex(*shape)
            ]
            index = numpy.stack(columns, axis=1).reshape((n, *shape))
            found[name] = self._network.domains[name][torch.from_numpy(index)]
        return found

    def log_prob(self, values: Mapping[str, Tensor]) -> Tensor:
        """log p(values | observation), `(batch,)`: the log-evidence with the values added, less that without."""
        count = max(len(v) for v in values.values())
        chosen: dict = {}
        possible = numpy.ones(count, dtype=bool)
        for name in self.names:
            domain, value = (
                self._network.domains[name],
                values[name].expand((count, *values[name].shape[1:])),
            )
            event = domain.dim() - 1
            same = (
                value.reshape((*value.shape[: value.dim() - event], 1, *domain.shape[1:])) == domain
            )
            same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
            index = same.to(torch.int8).argmax(-1).numpy()
            possible &= same.any(-1).reshape(count, -1).all(-1).numpy()
            for at in numpy.ndindex(*self._grid(name)):
                reach = self._network.reach[name, tuple(at)]
                here = index[(slice(None), *at)]
                position = numpy.searchsorted(reach, here).clip(max=len(reach) - 1)
                possible &= reach[position] == here
                chosen[name, tuple(at)] = position
        own = [Factor(f.scope, self._own(f.table)) for f in self._factors]
        sliced = [f.at(chosen) for f in own]
        order = [v for v in self._result.buckets if v not in chosen]
        joint = eliminate(sliced, order, self._result.sizes, count).log_evidence
        whole = self._result.log_evidence
        # The constants that were taken out of the factors are in neither term.
        logs = joint - whole[self._dataset if len(whole) > 1 else 0]
        return torch.from_numpy(numpy.where(possible, logs, -numpy.inf))

    def _own(self, table: ndarray) -> ndarray:
        return table[self._dataset : self._dataset + 1] if len(table) > 1 else table
