"""The network: a component of the graph unrolled into variables and factors.

A plate's members are variables of their own; a chain's members tie to the one before, so that an order along the chain costs one small step a member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.graph import Node
from ppl.mechanism import Data, quiet
from ppl.mechanism.tables import Cell, NotFinite, Slot, Table, Tables, TooLarge

from .factor import Factor

__all__ = ["Family", "Network"]


@dataclass(frozen=True, eq=False)
class Family:
    """One body of one node over the members that it serves."""

    node: Node
    part: str
    slots: tuple[Slot, ...]
    members: list[tuple[int, ...]]
    scopes: list[tuple[Cell, ...]] = field(repr=False)


class Network:
    """Variables and families of a query's component.

    Args:
        query: The component.
        tables: Domains and tables.

    Raises:
        NotFinite: If a free node has no finite domain, or an observed one no density.
        TooLarge: If tabulating takes too many calls.
    """

    def __init__(self, query: Query, tables: Tables):
        self.query, self.tables = query, tables
        graph = query.graph
        self.fixed = tuple(
            n.name for n in graph.nodes.values() if n.intervened == "value" and not n.is_input
        )
        # A continuous node that is observed with gaps is no variable: its missing cells integrate to one.
        gappy = [
            name
            for name in query.free
            if name in query.given and not tables.mechanism.facts[name].finite
        ]
        for name in gappy:
            if graph.children(name) or name in query.ask:
                raise NotFinite(
                    f"'{name}' has missing cells, is not finite, and others depend on it"
                )
        self.variables = tuple(
            dict.fromkeys((*self.fixed, *(n for n in query.free if n not in gappy)))
        )
        self._tabulated: dict[tuple[str, str], ndarray] = {}
        self.domains = {name: tables.domain(name) for name in self.variables}
        self.families = [
            family
            for name in dict.fromkeys((*self.variables, *query.evidence))
            for family in self._families(graph[name])
        ]

    def _families(self, node: Node) -> Iterator[Family]:
        facts = self.tables.mechanism.facts[node.name]
        if node.name not in self.variables:
            if facts.kind == "opaque":
                raise NotFinite(f"'{node.name}' is a simulator without a density")
            if facts.kind == "deterministic" and not self._finite(node.name):
                raise NotFinite(
                    f"'{node.name}' is observed, deterministic and continuous: name its noise as a node, so that it has a density"
                )
        if node.over is not None and node.name in self.variables:
            raise NotFinite(
                f"'{node.name}' is an unobserved block (over=), which elimination does not take apart yet"
            )
        parts = ("start", "body") if node.start is not None else ("body",)
        for part in parts:
            members = self.tables.members(node, part)
            slots = self.tables.slots(node, part)
            if self.tables.size(node, part) > self.tables.limit:
                raise TooLarge(node.name, self.tables.size(node, part))
            if members:
                scopes = [tuple(self.tables.cell(node, s, at) for s in slots) for at in members]
                yield Family(node, part, slots, members, scopes)

    def _finite(self, name: str) -> bool:
        try:
            self.tables.domain(name)
        except NotFinite:
            return False
        return True

    def scopes(self) -> list[tuple[Cell, ...]]:
        """The variables of every factor, with what is observed left out."""
        free = set(self.variables)
        found = []
        for family in self.families:
            name = family.node.name
            for at, scope in zip(family.members, family.scopes, strict=True):
                own = ((name, at),) if name in free else ()
                found.append(tuple(c for c in (*scope, *own) if c[0] in free))
        return found

    def sizes(self) -> dict[Cell, int]:
        """The number of values that every variable can reach."""
        return {cell: len(values) for cell, values in self.reach.items()}

    # -- reachable values ------------------------------------------------------------------------

    @cached_property
    def reach(self) -> dict[Cell, ndarray]:
        """For every variable, the positions in its domain that some values of its parents make possible.

        A walk that starts in the middle reaches few places in its first steps; elimination pays for these only.
        """
        place = {
            (family.node.name, at): (family, m)
            for family in self.families
            if family.node.name in self.domains
            for m, at in enumerate(family.members)
        }
        found: dict[Cell, ndarray] = {}
        known: dict = {}
        for cell in place:
            stack = [cell]
            while stack:
                top = stack[-1]
                family, m = place[top]
                waiting = [c for c in family.scopes[m] if c in place and c not in found]
                if top in found:
                    stack.pop()
                elif waiting:
                    stack.extend(waiting)
                else:
                    found[top] = self._reached(family, m, found, known)
                    stack.pop()
        return found

    def _reached(self, family: Family, m: int, found: dict[Cell, ndarray], known: dict) -> ndarray:
        contexts = tuple(self._context(family)[:, m])
        blocks = self._blocks(family, m, found)
        key = id(family), contexts, tuple(b.tobytes() for b in blocks)
        if key not in known:
            possible = self._probabilities(family)[numpy.unique(contexts)] > 0
            part = possible[numpy.ix_(numpy.arange(len(possible)), *blocks)] if blocks else possible
            known[key] = part.reshape(-1, part.shape[-1]).any(axis=0).nonzero()[0]
        return known[key]

    def _blocks(self, family: Family, m: int, reach: dict[Cell, ndarray]) -> list[ndarray]:
        """The values of each slot that its variable can reach; all of them for observed parents."""
        cards = [len(self.tables.domain(slot.edge.source)) for slot in family.slots]
        return [
            reach[cell] if cell in reach else numpy.arange(card)
            for cell, card in zip(family.scopes[m], cards, strict=True)
        ]

    def _context(self, family: Family) -> ndarray:
        return self.tables.table(family.node, family.part).context.numpy()

    # -- factors ---------------------------------------------------------------------------------

    def factors(self, data: Data) -> tuple[list[Factor], ndarray]:
        """The factors of a batch of observations, and the logs of the constants taken out of them, `(datasets,)`.

        Observed finite parents are sliced at their values.
        """
        given = {name: data.observed[name] for name in self.query.given if name in data.observed}
        index = {
            name: self._indices(name, value) for name, value in given.items() if self._sliced(name)
        }
        made: list[Factor] = []
        constant = numpy.zeros(data.datasets)
        for family in self.families:
            if family.node.name in self.variables:
                found = list(self._free_factors(family))
            else:
                found, scale = self._seen_factors(family, data)
                constant = constant + scale
            for factor in found:
                merged, values = _merge_repeated(factor), {}
                for cell in merged.scope:
                    if cell[0] in index:
                        at: Any = (slice(None), *cell[1])
                        values[cell] = index[cell[0]][at]
                made.append(merged.at(values))
        made += self._indicators(data)
        return made, constant

    def _sliced(self, name: str) -> bool:
        """Whether a fully observed node is a finite parent of somebody."""
        return name not in self.variables and any(
            s.edge.source == name for f in self.families for s in f.slots
        )

    def _indices(self, name: str, value: torch.Tensor) -> ndarray:
        """The position of each observed value in the node's domain, `(datasets, *plates)`."""
        domain = self.tables.domain(name)
        event = domain.dim() - 1
        rows = value.reshape((*value.shape[: value.dim() - event], 1, *domain.shape[1:]))
        same = rows == domain
        same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
        if not bool(same.any(-1).all()):
            raise QueryError(f"'{name}' was observed at a value that it never takes.")
        return same.to(torch.int8).argmax(-1).numpy()

    def _free_factors(self, family: Family) -> Iterator[Factor]:
        """p(value | parents) of a hidden node's members, over the reachable values."""
        table, context, cut = self._probabilities(family), self._context(family), {}
        for m, (at, scope) in enumerate(zip(family.members, family.scopes, strict=True)):
            cell = (family.node.name, at)
            blocks = [*self._blocks(family, m, self.reach), self.reach[cell]]
            contexts = context[:, m]
            key = tuple(contexts), tuple(b.tobytes() for b in blocks)
            if key not in cut:
                cut[key] = table[numpy.ix_(contexts, *blocks)]
            yield Factor((*scope, cell), cut[key])

    def _seen_factors(self, family: Family, data: Data) -> tuple[list[Factor], ndarray]:
        """p(observed value | parents) of a seen node's members, each with its largest entry 1, and the logs of these."""
        logs = self._seen_logs(family, self.tables.table(family.node, family.part), data)
        factors, constant = [], numpy.zeros(data.datasets)
        for m, scope in enumerate(family.scopes):
            part = logs[:, m]
            blocks = self._blocks(family, m, self.reach)
            if blocks:
                part = part[numpy.ix_(numpy.arange(len(part)), *blocks)]
            # Continuous densities may be huge or tiny: their logs are kept as a constant.
            top = part.reshape((len(part), -1)).max(axis=1)
            top = numpy.where(numpy.isfinite(top), top, 0.0)
            factors.append(
                Factor(scope, numpy.exp(part - top.reshape((-1, *[1] * (part.ndim - 1)))))
            )
            constant = constant + top
        return factors, constant

    def _probabilities(self, family: Family) -> ndarray:
        """p(value | context, parents) of a hidden node, `(contexts, *slots, own)`."""
        key = family.node.name, family.part
        if key not in self._tabulated:
            table = self.tables.table(family.node, family.part)
            domain = self.domains[family.node.name]
            lead = len(table.shape)
            with quiet(), torch.no_grad():
                if table.outcome.distribution is not None:
                    strange = [
                        v
                        for v in table.outcome.distribution.domain().tolist()
                        if v not in domain.tolist()
                    ]
                    if strange:
                        raise NotFinite(
                            f"'{family.node.name}' takes the value {strange[0]} for some parents only"
                        )
                    values = domain.reshape((len(domain), *[1] * lead, *domain.shape[1:]))
                    logs = table.outcome.distribution.log_prob(values).expand(
                        (len(domain), *table.shape)
                    )
                    self._tabulated[key] = logs.exp().movedim(0, -1).contiguous().numpy()
                else:
                    self._tabulated[key] = _one_hot(table, domain).numpy()
        return self._tabulated[key]

    def _seen_logs(self, family: Family, table: Table, data: Data) -> ndarray:
        """log p(observed value | parents), `(datasets, members, *slots)`; zero where the cell is missing."""
        name = family.node.name
        value, there = data.observed[name], data.present[name]
        at = tuple(
            torch.tensor([m[k] for m in family.members]) for k in range(len(family.node.plates))
        )
        picked: Any = (slice(None), *at)
        value = value[picked] if at else value.unsqueeze(1)
        there = there[picked] if at else there.unsqueeze(1)
        there = there.reshape((*there.shape[:2], -1)).all(-1)
        slots = len(table.shape) - 1
        with quiet(), torch.no_grad():
            spread = value.reshape((*value.shape[:2], *[1] * slots, *value.shape[2:]))
            if table.outcome.distribution is not None:
                batch = table.outcome.distribution.select(table.context)
                logs = batch.log_prob(spread)
            else:
                assert table.outcome.value is not None
                values = table.outcome.value.expand(
                    (*table.shape, *table.outcome.value.shape[len(table.shape) :])
                )
                same = values[table.context] == spread
                event = value.dim() - 2
                same = (
                    same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
                )
                logs = torch.where(same, 0.0, -torch.inf).to(torch.float64)
            logs = logs.expand((len(value), *logs.shape[1:]))
            mask = there.reshape((*there.shape, *[1] * slots))
            return torch.where(mask, logs, torch.zeros_like(logs)).numpy()

    def _indicators(self, data: Data) -> Iterator[Factor]:
        """For hidden nodes that are observed in some cells: which values the cells allow."""
        for name in self.variables:
            if name not in data.observed:
                continue
            value, there, domain = (
                data.observed[name],
                data.present[name].numpy(),
                self.domains[name],
            )
            index = self._indices(
                name, torch.where(_spread(data.present[name], value), value, domain[0])
            )
            for at in numpy.ndindex(*there.shape[1:]):
                cell = there[(slice(None), *at)]
                if not cell.any():
                    continue
                allowed = numpy.where(
                    cell[:, None],
                    numpy.arange(len(domain)) == index[(slice(None), *at)][:, None],
                    True,
                ).astype(float)
                here = (name, tuple(int(i) for i in at))
                yield Factor((here,), allowed[:, self.reach[here]])


def _spread(mask: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return mask.reshape((*mask.shape, *[1] * (value.dim() - mask.dim())))


def _one_hot(table: Table, domain: torch.Tensor) -> torch.Tensor:
    """Whether a deterministic body gives each value of the domain, as 0 or 1, `(*shape, own)`."""
    value = table.outcome.value
    assert value is not None
    event = domain.dim() - 1
    full = value.expand((*table.shape, *value.shape[len(table.shape) :]))
    same = full.unsqueeze(len(table.shape)) == domain
    same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
    return same.to(torch.float64)


def _merge_repeated(factor: Factor) -> Factor:
    """A body may ask for one variable twice; its two axes become their diagonal."""
    scope, table = factor.scope, factor.table
    for cell in [c for c in dict.fromkeys(scope) if scope.count(c) > 1]:
        while scope.count(cell) > 1:
            first = scope.index(cell)
            second = scope.index(cell, first + 1)
            table = numpy.moveaxis(
                numpy.diagonal(table, axis1=1 + first, axis2=1 + second), -1, 1 + first
            )
            scope = scope[:second] + scope[second + 1 :]
    return Factor(scope, table)
