"""Finite tables: the values a node can take, and its body's outcome for every combination of its parents.

A parent that is not observed is enumerated over its domain; everything else that a body depends on (inputs, the member's index, observed
parents without a finite domain) is a *context*. A table has one row for each distinct context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import GaltonError
from ..graph import Body, Node, Parent
from .caller import Outcome
from .calling import quiet, same_result
from .lookup import Lookup
from .mechanism import Mechanism, Window
from .watch import Watched

__all__ = ["NotFinite", "Slot", "Table", "Tables", "TooLarge"]


class NotFinite(Exception):
    """A node has no finite set of values; the reason is the message."""


class TooLarge(Exception):
    """A table would need more cells than it may."""

    def __init__(self, name: str, cells: int):
        super().__init__(f"tabulating '{name}' takes {cells:,} combinations of its parents")
        self.name, self.cells = name, cells


@dataclass(frozen=True)
class Slot:
    """One parent variable of a body.

    Args:
        edge: The edge that it fills.
        extra: For a parent in plates that the child is not in: the coordinates along these.
    """

    edge: Parent
    extra: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """A body's outcome for every context and combination of parents.

    Args:
        outcome: Over the batch `(contexts, *cardinalities of the slots)`.
        slots: The parents that are enumerated, in the order of the axes.
        context: Which context each member has, `(datasets or 1, members)`.
        shape: The batch.
    """

    outcome: Outcome
    slots: tuple[Slot, ...]
    context: Tensor
    shape: tuple[int, ...]


class Tables:
    """Domains and tables of a mechanism's finite nodes, computed once.

    Args:
        mechanism: How the bodies are called.
        known: Values of observed nodes, `(datasets, *plates, *event)`: context for bodies that ask for them.
        limit: The largest number of combinations for which a body is called.
        by_value: Whether bodies get what is known as it is; otherwise finite nodes are enumerated though they are observed, so
            that one table serves all observations.
        cuts: The values at which countable nodes are looked at.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        known: Mapping[str, Tensor] | None = None,
        limit: int = 2**22,
        by_value: bool = False,
        cuts: Mapping[str, Tensor] | None = None,
    ):
        self.mechanism, self.graph, self.limit = mechanism, mechanism.graph, limit
        self.by_value = by_value
        self.known = dict(known or {})
        self.contextual = False  # whether any table looked at the values of observed nodes
        self.cuts = dict(cuts or {})
        self._domains: dict[str, Tensor] = dict(self.cuts)
        self._slots: dict[tuple[str, str], tuple[Slot, ...]] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._plain: dict[tuple[str, str], bool] = {}
        self._probabilities: dict[tuple[str, str], numpy.ndarray] = {}

    # -- domains ---------------------------------------------------------------------------------

    def domain(self, name: str) -> Tensor:
        """The values a node can take, sorted, `(cardinality, *event)`.

        Raises:
            NotFinite: If they are not a finite set.
            TooLarge: If finding them takes too many calls.
        """
        if name not in self._domains and self._plain_domain(name):
            self._domains[name] = self._values(self.graph[name], "body")
        if name not in self._domains:
            group = next(g for g in self.graph.strata if name in g)
            if len(group) == 1 and not self.graph[name].lags:
                self._domains[name] = self._values(self.graph[name], "body")
            else:
                self._chain_domains(group)
            if name not in self._domains:
                raise NotFinite(f"'{name}' takes values that only the data know")
        return self._domains[name]

    def _plain_domain(self, name: str) -> bool:
        node = self.graph[name]
        return node.body is not None and isinstance(node.body.function, Lookup) and not node.lags

    def _chain_domains(self, group: tuple[str, ...]) -> None:
        """Values reachable along a chain: those of the start, then of every step, until nothing new appears."""
        plate = self.graph.chain_plate(group[0])
        assert plate is not None
        # A member of the group that is observed with values that only the data know is context, not a variable.
        group = tuple(n for n in group if self._enumerable(n) and n not in self.cuts)
        for _ in range(self.mechanism.sizes[plate] + 1):
            before = {name: len(self._domains.get(name, ())) for name in group}
            for name in group:
                node = self.graph[name]
                if name not in self._domains and node.start is not None:
                    self._domains[name] = self._values(node, "start")
                found = self._values(node, "body")
                if name in self._domains:
                    found = torch.unique(torch.cat([self._domains[name], found]), dim=0)
                if name not in self._domains or len(found) > len(self._domains[name]):
                    self._domains[name] = found
                    # Tables over the smaller domain are of no more use.
                    self._tables = {k: t for k, t in self._tables.items() if k[0] not in group}
            if before == {name: len(self._domains[name]) for name in group}:
                break

    def _values(self, node: Node, part: str) -> Tensor:
        facts = self.mechanism.facts[node.name]
        if facts.kind == "opaque":
            raise NotFinite(f"'{node.name}' is a simulator without a density")
        if facts.kind == "explicit" and not facts.finite:
            kind = "countably many values" if facts.discrete else "continuous"
            raise NotFinite(f"'{node.name}' is {kind} ({facts.family})")
        if facts.family == "Bernoulli" and not facts.event_shape:
            # Whatever its parents say; `Network` holds the finished table against it.
            return torch.tensor([0, 1])
        body = node.start if part == "start" else node.body
        function = None if body is None else body.function
        if isinstance(function, Lookup):
            return torch.arange(function.table.shape[-1])
        outcome = self._cached(node, part).outcome
        if outcome.distribution is not None:
            if not outcome.distribution.finite:
                raise NotFinite(f"'{node.name}' is not finite for some values of its parents")
            return outcome.distribution.domain()
        assert outcome.value is not None
        event = len(facts.event_shape)
        rows = outcome.value.reshape((-1, *outcome.value.shape[outcome.value.dim() - event :]))
        return torch.unique(rows, dim=0)

    # -- tables ----------------------------------------------------------------------------------

    def table(self, node: Node, part: str = "body") -> Table:
        """The outcome of one of a node's bodies for all its parents' values."""
        self.domain_of_parents(node)
        return self._cached(node, part)

    def probabilities(self, node: Node, part: str = "body") -> numpy.ndarray:
        """p(value | context, parents) of a finite node, `(contexts, *slots, own)`.

        Raises:
            NotFinite: If its values are not a finite set.
        """
        key = node.name, part
        if key not in self._probabilities and self._is_lookup(node, part):
            self._probabilities[key] = self._looked_up(node, part)
        if key not in self._probabilities:
            table, domain = self.table(node, part), self.domain(node.name)
            lead = len(table.shape)
            with quiet(), torch.no_grad():
                if table.outcome.distribution is not None:
                    strange: list = []
                    if node.name not in self.cuts:
                        held = set(domain.flatten().tolist())
                        every = table.outcome.distribution.domain().flatten().tolist()
                        strange = [v for v in every if v not in held]
                    if strange:
                        raise NotFinite(
                            f"'{node.name}' takes the value {strange[0]} for some parents only"
                        )
                    values = domain.reshape((len(domain), *[1] * lead, *domain.shape[1:]))
                    logs = table.outcome.distribution.log_prob(values)
                    logs = logs.expand((len(domain), *table.shape))
                    self._probabilities[key] = logs.exp().movedim(0, -1).contiguous().numpy()
                else:
                    self._probabilities[key] = _one_hot(table, domain).numpy()
        return self._probabilities[key]

    def replace(self, node: Node, part: str, probabilities: numpy.ndarray) -> None:
        """Take these numbers in place of p(value | context, parents)."""
        self._probabilities[node.name, part] = probabilities

    def context(self, node: Node, part: str = "body") -> numpy.ndarray:
        """Which context each member of a body has, `(datasets or 1, members)`."""
        if self._is_lookup(node, part):
            return numpy.zeros((1, len(self.members(node, part))), dtype=int)
        return self.table(node, part).context.numpy()

    def plain(self, node: Node) -> bool:
        """Whether a node is a look-up in no plate."""
        return not node.plates and node.start is None and self._is_lookup(node, "body")

    def onto(self, node: Node) -> bool:
        """Whether a look-up gives every value for some of its parents' values."""
        return node.body.function.onto  # type: ignore[union-attr]

    def _is_lookup(self, node: Node, part: str) -> bool:
        """Whether the body is a table that need not be called."""
        key = node.name, part
        if key not in self._plain:
            self._plain[key] = self._looks_up(node, part)
        return self._plain[key]

    def _looks_up(self, node: Node, part: str) -> bool:
        body = node.start if part == "start" else node.body
        return (
            body is not None
            and isinstance(body.function, Lookup)
            and all(p.kind != "index" and self._enumerable(p.source) for p in body.parents)
            and not any(self.extra_plates(node, p) for p in body.parents)
        )

    def _looked_up(self, node: Node, part: str) -> numpy.ndarray:
        """The table of a look-up over its parents' domains, `(1, *slots, own)`."""
        body = node.start if part == "start" else node.body
        lookup: Any = body.function  # type: ignore[union-attr]
        table = lookup.table
        for axis, (edge, values) in enumerate(zip(body.parents, lookup.domains, strict=True)):  # type: ignore[union-attr]
            if values is None and self._counts(edge.source, table.shape[axis]):
                continue
            domain = self.domain(edge.source).tolist()
            known = list(range(table.shape[axis])) if values is None else list(values)
            if domain != known:
                strange = [v for v in domain if v not in known]
                if strange:
                    raise NotFinite(f"'{node.name}' has no row for {edge.source} = {strange[0]}")
                table = table.take([known.index(v) for v in domain], axis=axis)
        return table[None]

    def _counts(self, name: str, size: int) -> bool:
        """Whether a node is known to take the values 0, 1, … of a table's axis."""
        body = self.graph[name].body
        function = None if body is None or self.graph[name].start else body.function
        return isinstance(function, Lookup) and function.table.shape[-1] == size

    def domain_of_parents(self, node: Node) -> None:
        """Complete the domains of a chain before its tables are used."""
        for name in (*node.parents, *node.lags):
            if self._enumerable(name):
                self.domain(name)

    def _cached(self, node: Node, part: str) -> Table:
        key = node.name, part
        if key not in self._tables:
            self._tables[key] = self._tabulate(node, part)
        return self._tables[key]

    def size(self, node: Node, part: str = "body") -> int:
        """How many combinations of parents the table has for one context."""
        return prod(len(self.domain(slot.edge.source)) for slot in self.slots(node, part))

    def _tabulate(self, node: Node, part: str) -> Table:
        body = node.start if part == "start" else node.body
        assert body is not None
        slots = self.slots(node, part)
        cards = [len(self._domain_so_far(slot.edge.source)) for slot in slots]
        contexts, context = self._contexts(node, body, part)
        count = 1 + int(context.max())
        shape = (count, *cards)
        if prod(shape) > self.limit:
            raise TooLarge(node.name, prod(shape))
        arguments = []
        for edge in body.parents:
            if edge in contexts:
                value = contexts[edge]
                arguments.append(value.reshape((count, *[1] * len(cards), *value.shape[1:])))
            else:
                arguments.append(self.enumerated(node, edge, slots, cards))
        with quiet(), torch.no_grad():
            outcome = self.mechanism.callers[node.name, part](arguments, shape, 0)
        return Table(outcome, slots, context, shape)

    def _domain_so_far(self, name: str) -> Tensor:
        return self._domains[name] if name in self._domains else self.domain(name)

    def enumerated(
        self, node: Node, edge: Parent, slots: tuple[Slot, ...], cards: list[int]
    ) -> Tensor:
        """An argument over the axes of its slots, `(1, *cards or 1, *extra plates, *event)`."""
        mine = [i for i, slot in enumerate(slots) if slot.edge == edge]
        domain = self._domain_so_far(edge.source)
        event = domain.shape[1:]
        if not self.extra_plates(node, edge):
            shape = [1] * (1 + len(cards))
            shape[1 + mine[0]] = len(domain)
            return domain.reshape((*shape, *event))
        extras = tuple(self.mechanism.sizes[p] for p in self.extra_plates(node, edge))
        lead = [1] + [cards[i] if i in mine else 1 for i in range(len(cards))]
        value = domain[0].expand((*lead, *extras, *event)).clone()
        for i in mine:
            along = [1] * len(lead)
            along[1 + i] = cards[i]
            at = (slice(None),) * len(lead) + slots[i].extra
            value[at] = domain.reshape((*along, *event)).expand((*lead, *event))
        return value

    # -- parents ---------------------------------------------------------------------------------

    def _enumerable(self, name: str) -> bool:
        """Whether a parent is enumerated: not an input, and not observed with values that only the data know."""
        if self.graph[name].is_input:
            return False
        if name in self.known:
            facts = self.mechanism.facts[name]
            if self.by_value:
                return False
            return facts.finite or (facts.kind == "deterministic" and self._has_domain(name))
        return True

    def _has_domain(self, name: str) -> bool:
        try:
            self.domain(name)
        except (NotFinite, TooLarge):
            return False
        return True

    def slots(self, node: Node, part: str = "body") -> tuple[Slot, ...]:
        """The parent variables of one of a node's bodies, in order."""
        key = node.name, part
        if key not in self._slots:
            body = node.start if part == "start" else node.body
            assert body is not None
            found: list[Slot] = []
            for edge in body.parents:
                if edge.kind == "index" or not self._enumerable(edge.source):
                    continue
                extra = self.extra_plates(node, edge)
                if not extra:
                    found.append(Slot(edge))
                else:
                    found += [Slot(edge, at) for at in self._touched(node, body, part, edge, extra)]
            self._slots[key] = tuple(found)
        return self._slots[key]

    def extra_plates(self, node: Node, edge: Parent) -> list[str]:
        """The plates of a parent whose members the body sees all at once."""
        if not self.graph[edge.source].axes:
            return []
        pointed = {q for p in node.plates for q in self.graph.plates[p].of}
        axes = self.graph[edge.source].axes
        extra = [p for p in axes if p not in node.plates and p not in pointed]
        return sorted(extra, key=list(self.graph.plates).index)

    def _touched(
        self, node: Node, body: Body, part: str, edge: Parent, extra: list[str]
    ) -> list[tuple[int, ...]]:
        """The members that the body looks at: those it indexes, provided that the others make no difference."""
        sizes = tuple(self.mechanism.sizes[p] for p in extra)
        everything = list(numpy.ndindex(*sizes))
        if len(extra) > 1 or body.rng or body.vectorized:
            return everything
        domain = self._domain_so_far(edge.source)
        fills = [domain[0], domain[-1], domain[len(domain) // 2]]
        touched: set[int] = set()
        with quiet():
            for fill in fills:
                row = self._sample_row(node, body, edge, fill.expand((*sizes, *fill.shape)))
                if row is None:
                    return everything
                watched = Watched.of(row[body.parents.index(edge)].clone())
                row[body.parents.index(edge)] = watched
                try:
                    self.mechanism.callers[node.name, part]._call(row, None)
                except GaltonError:
                    return everything
                touched |= watched.touched
            if len(touched) >= sizes[0] or not self._others_idle(
                node, body, part, edge, touched, sizes, domain
            ):
                return everything
        return [(i,) for i in sorted(touched)]

    def _others_idle(self, node, body, part, edge, touched, sizes, domain) -> bool:
        """Whether changing the untouched members leaves the outcome as it is, for random values of the touched ones."""
        generator = torch.Generator().manual_seed(0)
        caller, place = self.mechanism.callers[node.name, part], body.parents.index(edge)
        for _ in range(8):
            one = domain[torch.randint(len(domain), sizes, generator=generator)]
            two = domain[torch.randint(len(domain), sizes, generator=generator)]
            for i in touched:
                two[i] = one[i]
            rows = [self._sample_row(node, body, edge, value) for value in (one, two)]
            for row, value in zip(rows, (one, two), strict=True):
                row[place] = value  # type: ignore[index]
            if not same_result(caller._call(rows[0], None), caller._call(rows[1], None)):
                return False
        return True

    def _sample_row(self, node: Node, body: Body, edge: Parent, value: Tensor) -> list | None:
        """Arguments of one call, with this value for one edge and the first of everything else."""
        row: list = []
        for other in body.parents:
            if other == edge:
                row.append(value)
            elif other.kind == "index":
                row.append(0)
            elif self._enumerable(other.source):
                if self.extra_plates(node, other):
                    return None
                first = self._domain_so_far(other.source)[0]
                row.append(
                    first.item() if first.dim() == 0 and not first.is_floating_point() else first
                )
            else:
                known = self.mechanism.data.inputs.get(other.source, self.known.get(other.source))
                if known is None:
                    return None
                flat = known.reshape((-1, *known.shape[1 + len(self.graph[other.source].axes) :]))[
                    0
                ]
                row.append(
                    flat.item() if flat.dim() == 0 and not flat.is_floating_point() else flat
                )
        return row

    # -- contexts --------------------------------------------------------------------------------

    def window(self, node: Node, part: str) -> Window | None:
        """The members that a body serves: the first for a start, the later ones for a body that has a start."""
        if node.start is None:
            return None
        plate = next(p for p in reversed(node.plates) if self.graph.plates[p].ordered)
        return (plate, 0, 1) if part == "start" else (plate, 1, self.mechanism.sizes[plate])

    def members(self, node: Node, part: str = "body") -> numpy.ndarray:
        """The coordinates of the members that a body serves, `(members, plates)`, in the order of `Table.context`."""
        window = self.window(node, part)
        ranges = [
            range(*window[1:]) if window and window[0] == p else range(self.mechanism.sizes[p])
            for p in node.plates
        ]
        if not ranges:
            return numpy.zeros((1, 0), dtype=int)
        grid = numpy.indices([len(r) for r in ranges]).reshape((len(ranges), -1)).T
        return grid + numpy.array([r.start for r in ranges])

    def _contexts(self, node: Node, body: Body, part: str) -> tuple[dict[Parent, Tensor], Tensor]:
        """Distinct contexts, `(contexts, *rest)` for each edge that is context, and which one each member has."""
        window = self.window(node, part)
        shape = self.mechanism.shape(node, 1, window)
        edges = [e for e in body.parents if e.kind == "index" or not self._enumerable(e.source)]
        values = {**self.mechanism.data.inputs, **self.known}
        columns, datasets = {}, 1
        for edge in edges:
            if edge.kind != "index" and edge.source not in values:
                raise NotFinite(f"the input '{edge.source}' is not given")
            argument = self.mechanism.argument(node, edge, values, window)
            if edge.source in self.known and edge.kind != "index":
                self.contextual = True
            datasets = max(datasets, len(argument))
            columns[edge] = argument
        if not edges:
            return {}, torch.zeros(1, prod(shape[1:]), dtype=torch.int64)
        flat = {}
        for edge, argument in columns.items():
            full = argument.expand((datasets, *shape[1:], *argument.shape[len(shape) :]))
            flat[edge] = full.reshape((datasets * prod(shape[1:]), *argument.shape[len(shape) :]))
        joined = torch.cat(
            [f.reshape((len(f), -1)).to(torch.float64) for f in flat.values()], dim=1
        )
        distinct, inverse = torch.unique(joined, dim=0, return_inverse=True)
        first = torch.full((len(distinct),), len(joined)).scatter_reduce(
            0, inverse, torch.arange(len(joined)), "amin", include_self=True
        )
        return {edge: f[first] for edge, f in flat.items()}, inverse.reshape(datasets, -1)

    def cells(self, node: Node, slot: Slot, members: numpy.ndarray) -> numpy.ndarray:
        """The parent variable that a slot means for each of some members: its coordinates, `(members, axes of the parent)`."""
        source = slot.edge.source
        extra = (
            dict(zip(self.extra_plates(node, slot.edge), slot.extra, strict=True))
            if slot.extra
            else {}
        )
        chain = next((p for p in reversed(node.plates) if self.graph.plates[p].ordered), None)
        columns = []
        for plate in self.graph[source].axes:
            if plate in node.plates:
                back = slot.edge.kind == "previous" and plate == chain
                columns.append(members[:, node.plates.index(plate)] - int(back))
            elif plate in extra:
                columns.append(numpy.full(len(members), extra[plate]))
            else:
                owner = next(p for p in node.plates if plate in self.graph.plates[p].of)
                column = self.mechanism.columns[owner][plate].numpy()
                columns.append(column[members[:, node.plates.index(owner)]])
        return (
            numpy.stack(columns, axis=1) if columns else numpy.zeros((len(members), 0), dtype=int)
        )


def _one_hot(table: Table, domain: Tensor) -> Tensor:
    """Whether a deterministic body gives each value of the domain, as 0 or 1, `(*shape, own)`."""
    value = table.outcome.value
    assert value is not None
    event = domain.dim() - 1
    full = value.expand((*table.shape, *value.shape[len(table.shape) :]))
    same = full.unsqueeze(len(table.shape)) == domain
    same = same.reshape((*same.shape[: same.dim() - event], -1)).all(-1) if event else same
    return same.to(torch.float64)
