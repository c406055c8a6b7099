"""The network: a component of the graph unrolled into variables and factors.

A plate's members are variables of their own; a chain's members tie to the one before, so that an order along the chain costs one small step a member.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.graph import Node
from ppl.mechanism import Data, quiet
from ppl.mechanism.tables import Cell, NotFinite, Slot, Table, Tables

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
        self.fixed = tuple(n.name for n in graph.nodes.values() if n.intervened == "value" and not n.is_input)
        # A continuous node that is observed with gaps is no variable: its missing cells integrate to one.
        gappy = [name for name in query.free if name in query.given and not tables.mechanism.facts[name].finite]
        for name in gappy:
            if graph.children(name) or name in query.ask:
                raise NotFinite(f"'{name}' has missing cells, is not finite, and others depend on it")
        self.variables = tuple(dict.fromkeys((*self.fixed, *(n for n in query.free if n not in gappy))))
        self.domains = {name: tables.domain(name) for name in self.variables}
        self.families = [family for name in dict.fromkeys((*self.variables, *query.evidence)) for family in self._families(graph[name])]

    def _families(self, node: Node) -> Iterator[Family]:
        facts = self.tables.mechanism.facts[node.name]
        if node.name not in self.variables:
            if facts.kind == "opaque":
                raise NotFinite(f"'{node.name}' is a simulator without a density")
            if facts.kind == "deterministic" and not self._finite(node.name):
                raise NotFinite(
                    f"'{node.name}' is observed, deterministic and continuous: name its noise as a node, so that it has a density"
                )
        if node.over is not None and node.name in self.variables and not node.determined:
            raise NotFinite(f"'{node.name}' is a block (over=) of unobserved finite values")
        parts = ("start", "body") if node.start is not None else ("body",)
        for part in parts:
            members = self.tables.members(node, part)
            slots = self.tables.slots(node, part)
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
        """The cardinality of every variable."""
        return {cell: len(self.domains[cell[0]]) for scope in self.scopes() for cell in scope}

    # -- factors ---------------------------------------------------------------------------------

    def factors(self, data: Data) -> tuple[list[Factor], ndarray]:
        """The factors of a batch of observations, and the logs of the constants taken out of them, `(datasets,)`.

        Observed finite parents are sliced at their values.
        """
        given = {name: data.observed[name] for name in self.query.given if name in data.observed}
        index = {name: self._indices(name, value) for name, value in given.items() if self._sliced(name)}
        made: list[Factor] = []
        constant = numpy.zeros(data.datasets)
        for family in self.families:
            for factor, log_scale in self._family_factors(family, data, index):
                made.append(factor)
                constant = constant + log_scale
        made += self._indicators(data)
        return made, constant

    def _sliced(self, name: str) -> bool:
        """Whether a fully observed node is a finite parent of somebody."""
        return name not in self.variables and any(s.edge.source == name for f in self.families for s in f.slots)

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

    def _family_factors(self, family: Family, data: Data, index: dict[str, ndarray]):
        name = family.node.name
        table = self.tables.table(family.node, family.part)
        logs = self._free_logs(family, table) if name in self.variables else self._seen_logs(family, table, data)
        for m, (at, scope) in enumerate(zip(family.members, family.scopes, strict=True)):
            part = logs[:, m]
            if name in self.variables:
                scope = (*scope, (name, at))
            top = part.reshape((len(part), -1)).max(axis=1)
            # Continuous densities may be huge or tiny: the largest entry becomes 1 and its log is kept as a constant.
            top = numpy.where(numpy.isfinite(top), top, 0.0)
            values = numpy.exp(part - top.reshape((-1, *[1] * (part.ndim - 1))))
            merged = _merge_repeated(Factor(scope, values))
            seen = {c: index[c[0]][(slice(None), *c[1])] for c in merged.scope if c[0] in index}
            yield merged.at(seen), top

    def _free_logs(self, family: Family, table: Table) -> ndarray:
        """log p(value | parents) of a hidden node, `(datasets or 1, members, *slots, own)`."""
        domain = self.domains[family.node.name]
        lead = len(table.shape)
        with quiet(), torch.no_grad():
            if table.outcome.distribution is not None:
                strange = [v for v in table.outcome.distribution.domain().tolist() if v not in domain.tolist()]
                if strange:
                    raise NotFinite(f"'{family.node.name}' takes the value {strange[0]} for some parents only")
                values = domain.reshape((len(domain), *[1] * lead, *domain.shape[1:]))
                logs = table.outcome.distribution.log_prob(values).expand((len(domain), *table.shape)).movedim(0, -1)
            else:
                logs = _one_hot(table, domain)
        return logs.numpy()[table.context.numpy()]

    def _seen_logs(self, family: Family, table: Table, data: Data) -> ndarray:
        """log p(observed value | parents), `(datasets, members, *slots)`; zero where the cell is missing."""
        name = family.node.name
        value, there = data.observed[name], data.present[name]
        at = tuple(torch.tensor([m[k] for m in family.members]) for k in range(len(family.node.plates)))
        value = value[(slice(None), *at)] if at else value.unsqueeze(1)
        there = there[(slice(None), *at)] if at else there.unsqueeze(1)
        there = there.reshape((*there.shape[:2], -1)).all(-1)
        slots = len(table.shape) - 1
        with quiet(), torch.no_grad():
            spread = value.reshape((*value.shape[:2], *[1] * slots, *value.shape[2:]))
            if table.outcome.distribution is not None:
                batch = table.outcome.distribution.select(table.context)
                logs = batch.log_prob(spread)
            else:
                assert table.outcome.value is not None
                values = table.outcome.value.expand((*table.shape, *table.outcome.value.shape[len(table.shape) :]))
                same = values[table.context] == spread
                event = value.dim() - 2
                same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
                logs = torch.where(same, 0.0, -torch.inf).to(torch.float64)
            logs = logs.expand((len(value), *logs.shape[1:]))
            mask = there.reshape((*there.shape, *[1] * slots))
            return torch.where(mask, logs, torch.zeros_like(logs)).numpy()

    def _indicators(self, data: Data) -> Iterator[Factor]:
        """For hidden nodes that are observed in some cells: which values the cells allow."""
        for name in self.variables:
            if name not in data.observed:
                continue
            value, there, domain = data.observed[name], data.present[name].numpy(), self.domains[name]
            index = self._indices(name, torch.where(_spread(data.present[name], value), value, domain[0]))
            for at in numpy.ndindex(*there.shape[1:]):
                cell = there[(slice(None), *at)]
                if not cell.any():
                    continue
                allowed = numpy.where(
                    cell[:, None], numpy.arange(len(domain)) == index[(slice(None), *at)][:, None], True
                ).astype(float)
                yield Factor(((name, tuple(int(i) for i in at)),), allowed)


def _spread(mask: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return mask.reshape((*mask.shape, *[1] * (value.dim() - mask.dim())))


def _one_hot(table: Table, domain: torch.Tensor) -> torch.Tensor:
    """log of 0 or 1: whether a deterministic body gives each value of the domain, `(*shape, own)`."""
    value = table.outcome.value
    assert value is not None
    event = domain.dim() - 1
    full = value.expand((*table.shape, *value.shape[len(table.shape) :]))
    same = full.unsqueeze(len(table.shape)) == domain
    same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
    return torch.where(same, 0.0, -torch.inf).to(torch.float64)


def _merge_repeated(factor: Factor) -> Factor:
    """A body may ask for one variable twice; its two axes become their diagonal."""
    scope, table = factor.scope, factor.table
    for cell in [c for c in dict.fromkeys(scope) if scope.count(c) > 1]:
        while scope.count(cell) > 1:
            first = scope.index(cell)
            second = scope.index(cell, first + 1)
            table = numpy.moveaxis(numpy.diagonal(table, axis1=1 + first, axis2=1 + second), -1, 1 + first)
            scope = scope[:second] + scope[second + 1 :]
    return Factor(scope, table)
