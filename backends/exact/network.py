"""The network: a component of the graph unrolled into numbered variables and sources of factors.

A plate's members are variables of their own, numbered in one block, and their factors are one array: nothing is repeated that the members share.
What is observed is no variable: its factors are entries of a table, looked up for a whole batch of observations at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from math import prod

import numpy
import torch
from numpy import ndarray

from ppl.compiler import Query
from ppl.errors import QueryError
from ppl.graph import Node
from ppl.mechanism import Data, quiet
from ppl.mechanism.tables import NotFinite, Table, Tables, TooLarge

from .factors import Bundle, Family
from .tree import Source

__all__ = ["Network"]

#: The one member of a node in no plate, and the entry that its table begins at.
ZERO, NOTHING = numpy.zeros(1, dtype=int), numpy.zeros((1, 1), dtype=int)


class Network:
    """Variables and factors of a query's component.

    Args:
        query: The component.
        tables: Domains and tables.

    Raises:
        NotFinite: If a free node has no finite domain, or an observed one no density.
        TooLarge: If tabulating takes too many calls.
    """

    def __init__(self, query: Query, tables: Tables):
        self.query, self.tables = query, tables
        graph, facts = query.graph, tables.mechanism.facts
        fixed = [n.name for n in graph.nodes.values() if n.intervened == "value" and not n.is_input]
        # A continuous node that is observed with gaps is no variable: its missing cells integrate to one.
        gappy = {
            n
            for n in query.free
            if n in query.given and not facts[n].finite and not self._finite(n)
        }
        for name in gappy:
            if graph.children(name) or name in (*query.ask, *graph[name].lags):
                raise NotFinite(
                    f"'{name}' has missing cells, is not finite, and others depend on it"
                )
        hidden = dict.fromkeys((*fixed, *(n for n in query.free if n not in gappy)))
        #: Nodes that are variables, in the order of the graph.
        self.names = tuple(n for n in graph.nodes if n in hidden)
        self.domains = {name: tables.domain(name) for name in self.names}
        self.grids = {
            name: self.grid(name) for name in (*self.names, *query.given) if name in graph
        }
        #: The number of each node's first variable.
        self.first: dict[str, int] = {}
        count = 0
        for name in self.names:
            self.first[name] = count
            count += prod(self.grids[name])
        self.count = count
        self.families = [
            family
            for name in dict.fromkeys((*self.names, *query.evidence))
            for family in self._families(graph[name])
        ]

    def grid(self, name: str) -> tuple[int, ...]:
        """The sizes of a node's plates."""
        return tuple(self.tables.mechanism.sizes[p] for p in self.query.graph[name].axes)

    def variables(self, name: str) -> range:
        """The variables of a node, member by member."""
        return range(self.first[name], self.first[name] + prod(self.grids[name]))

    def _families(self, node: Node) -> Iterator[Family]:
        tables, hidden = self.tables, node.name in self.first
        facts = tables.mechanism.facts[node.name]
        tabulated = hidden
        if not hidden:
            if facts.kind == "opaque":
                raise NotFinite(f"'{node.name}' is a simulator without a density")
            tabulated = node.over is None and self._finite(node.name)
            if facts.kind == "deterministic" and not tabulated:
                raise NotFinite(
                    f"'{node.name}' is observed, deterministic and continuous: name its noise as a node, so that it has a density"
                )
        elif node.over is not None:
            raise NotFinite(
                f"'{node.name}' is an unobserved block (over=), which elimination does not take apart yet"
            )
        if tables.plain(node) and tabulated:
            slots = tables.slots(node)
            yield Family(node, "body", slots, ZERO, (ZERO,) * len(slots), True)
            return
        for part in ("start", "body") if node.start is not None else ("body",):
            slots = tables.slots(node, part)
            size = tables.size(node, part)
            if size > tables.limit:
                raise TooLarge(node.name, size)
            if tabulated and not hidden and size * len(tables.domain(node.name)) > tables.limit:
                tabulated = False
            members = tables.members(node, part)
            if len(members):
                parents = tuple(
                    _flat(tables.cells(node, slot, members), self.grid(slot.edge.source))
                    for slot in slots
                )
                own = _flat(members, self.grid(node.name)[: len(node.plates)])
                yield Family(node, part, slots, own, parents, tabulated)

    def _finite(self, name: str) -> bool:
        try:
            self.tables.domain(name)
        except NotFinite:
            return False
        return True

    # -- reachable values ------------------------------------------------------------------------

    @cached_property
    def reach(self) -> list[ndarray]:
        """For every variable, the positions in its domain that some values of its parents make possible.

        A walk that starts in the middle reaches few places in its first steps; elimination pays for these only.
        """
        full = {name: numpy.arange(len(domain)) for name, domain in self.domains.items()}
        found: list[ndarray | None] = [None] * self.count
        place: dict[int, tuple[Family, int]] = {}
        for family in self.families:
            name = family.node.name
            if name in self.first:
                if family.members is ZERO and self.tables.onto(family.node):
                    # Every value can be reached, if every value of the parents can.
                    parents = [s.edge.source for s in family.slots if s.edge.source in self.first]
                    if all(found[self.first[p]] is full[p] for p in parents):
                        found[self.first[name]] = full[name]
                        continue
                numbers = (family.members + self.first[name]).tolist()
                if self._probabilities(family).min() > 0:
                    for v in numbers:
                        found[v] = full[name]
                else:
                    place.update((v, (family, m)) for m, v in enumerate(numbers))
        known: dict = {}
        for start in place:
            stack = [start]
            while stack:
                v = stack[-1]
                if found[v] is not None:
                    stack.pop()
                    continue
                family, m = place[v]
                scope = [
                    self.first[slot.edge.source] + int(at[m])
                    for slot, at in zip(family.slots, family.parents, strict=True)
                    if slot.edge.source in self.first
                ]
                waiting = [u for u in scope if found[u] is None]
                if waiting:
                    stack.extend(waiting)
                else:
                    found[v] = self._reached(family, m, found, known, full)
                    stack.pop()
        return found  # type: ignore[return-value]

    def _reached(self, family, m, found, known, full) -> ndarray:
        context = self._context(family)[:, m]
        contexts = (int(context[0]),) if len(context) == 1 else tuple(context.tolist())
        blocks = [
            found[self.first[slot.edge.source] + int(at[m])]
            if slot.edge.source in self.first
            else numpy.arange(len(self.tables.domain(slot.edge.source)))
            for slot, at in zip(family.slots, family.parents, strict=True)
        ]
        key = (
            id(family),
            contexts,
            tuple(map(id, blocks))
            if all(b is full.get(s.edge.source) for b, s in zip(blocks, family.slots, strict=True))
            else tuple(b.tobytes() for b in blocks),
        )
        if key not in known:
            possible = self._probabilities(family)[numpy.unique(contexts)] > 0
            part = possible[numpy.ix_(numpy.arange(len(possible)), *blocks)] if blocks else possible
            reached = part.reshape(-1, part.shape[-1]).any(axis=0).nonzero()[0]
            every = full[family.node.name]
            known[key] = every if len(reached) == len(every) else reached
        return known[key]

    def sizes(self) -> list[int]:
        """The number of values that every variable can reach."""
        return [len(values) for values in self.reach]

    # -- factors ---------------------------------------------------------------------------------

    @cached_property
    def bundles(self) -> list[Bundle]:
        """The factors, those alike together."""
        made: list[Bundle] = []
        for family in self.families:
            if family.members is ZERO:
                made.append(self._plain(family))
                continue
            free = [slot.edge.source in self.first for slot in family.slots]
            numbers = [
                self.first[slot.edge.source] + at
                for slot, at, hidden in zip(family.slots, family.parents, free, strict=True)
                if hidden
            ]
            own = family.node.name in self.first
            if own:
                numbers.append(self.first[family.node.name] + family.members)
            scopes = (
                numpy.stack(numbers, axis=1).tolist() if numbers else [[]] * len(family.members)
            )
            groups: dict[tuple, list[int]] = {}
            for m, scope in enumerate(scopes):
                groups.setdefault(tuple([id(self.reach[v]) for v in scope]), []).append(m)
            for which in groups.values():
                made += self._bundle(
                    family, numpy.array(which), [scopes[m] for m in which], free, own
                )
        for name in self.names:
            if name in self.query.given:
                made += self._indicators(name)
        return made

    def _plain(self, family: Family) -> Bundle:
        """The factor of a look-up in no plate: what `_bundle` makes, without its detours."""
        first, reach = self.first, self.reach
        table = self._probabilities(family)
        seen, rest, scope, blocks, shape = [0], [], [], [], []
        axes = [*[slot.edge.source for slot in family.slots], family.node.name]
        for axis, name in enumerate(axes, start=1):
            v = first.get(name)
            if v is None:
                seen.append(axis)
                continue
            rest.append(axis)
            blocks.append(reach[v])
            if len(reach[v]) > 1:
                scope.append(v)
                shape.append(len(reach[v]))
        terms, stride = [], 1
        for axis in reversed(seen[1:]):
            terms.append((axes[axis - 1], ZERO, stride))
            stride *= table.shape[axis]
        source = Source([tuple(scope)], tuple(shape))
        turn = (*seen, *rest)
        turned = table.transpose(turn)
        for axis, block in enumerate(blocks, start=len(seen)):
            if len(block) < turned.shape[axis]:
                turned = turned.take(block, axis=axis)
        turned = numpy.ascontiguousarray(turned).reshape((-1, *shape))
        return Bundle(family, ZERO, source, turned, NOTHING, tuple(terms), tuple(blocks), turn)

    def _bundle(self, family, which, scopes, free, own) -> Iterator[Bundle]:
        reach = self.reach
        blocks = [reach[v] for v in scopes[0]]
        keep, scopes = self._single(scopes, blocks)
        shape = tuple(len(blocks[i]) for i in keep)
        source = Source(scopes, shape)
        base = self._context(family)[:, which]
        if not family.tabulated:
            terms = [
                (family.slots[i].edge.source, family.parents[i][which], i)
                for i, hidden in enumerate(free)
                if not hidden
            ]
            yield Bundle(family, which, source, None, base, tuple(terms), tuple(blocks))
            return
        # Observed axes go to the front, into the entry; free axes are cut to what can be reached.
        probabilities = self._probabilities(family)
        seen = [i for i, hidden in enumerate(free) if not hidden]
        last = probabilities.ndim - 1
        order = [0, *(1 + i for i in seen), *(() if own else (last,))]
        rest = [1 + i for i, hidden in enumerate(free) if hidden] + ([last] if own else [])
        lead = [probabilities.shape[axis] for axis in order]
        strides = numpy.cumprod([1, *lead[:0:-1]])[::-1]
        terms = [
            (family.slots[i].edge.source, family.parents[i][which], int(strides[1 + k]))
            for k, i in enumerate(seen)
        ]
        if not own:
            terms.append((family.node.name, family.members[which], 1))
        bundle = Bundle(
            family,
            which,
            source,
            None,
            base * int(strides[0]),
            tuple(terms),
            tuple(blocks),
            (*order, *rest),
        )
        table = bundle.arranged(probabilities)
        yield from self._without_repeats(replace(bundle, table=table))

    def _single(self, scopes, blocks) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """Without the variables that can take one value only: axes that stay, and the scopes over them."""
        keep = tuple(i for i, block in enumerate(blocks) if len(block) != 1)
        if len(keep) == len(blocks):
            return keep, [tuple(scope) for scope in scopes]
        return keep, [tuple([scope[i] for i in keep]) for scope in scopes]

    def _without_repeats(self, bundle: Bundle) -> Iterator[Bundle]:
        """A body may ask for one variable twice; its two axes become their diagonal."""
        scope = bundle.source.scopes[0]
        if len(set(scope)) == len(scope) or bundle.table is None:
            yield bundle
            return
        table, shape = bundle.table, list(bundle.source.shape)
        scopes = [list(s) for s in bundle.source.scopes]
        i = next(i for i, v in enumerate(scope) if v in scope[:i])
        j = scope.index(scope[i])
        table = numpy.moveaxis(numpy.diagonal(table, axis1=1 + j, axis2=1 + i), -1, 1 + j)
        del shape[i]
        for s in scopes:
            del s[i]
        source = Source([tuple(s) for s in scopes], tuple(shape))
        yield from self._without_repeats(replace(bundle, source=source, table=table, turn=()))

    def _indicators(self, name: str) -> Iterator[Bundle]:
        """For variables that are observed in some cells: a factor that says which values the cell allows."""
        groups: dict[int, list[int]] = {}
        for m in range(prod(self.grids[name])):
            groups.setdefault(id(self.reach[self.first[name] + m]), []).append(m)
        family = Family(
            self.query.graph[name], "seen", (), numpy.arange(prod(self.grids[name])), (), False
        )
        for which in groups.values():
            block = self.reach[self.first[name] + which[0]]
            scopes = (
                [(self.first[name] + m,) for m in which] if len(block) > 1 else [()] * len(which)
            )
            source = Source(scopes, (len(block),) if len(block) > 1 else ())
            yield Bundle(
                family, numpy.array(which), source, None, numpy.zeros((1, 1), int), blocks=(block,)
            )

    # -- observations ----------------------------------------------------------------------------

    def positions(self, data: Data) -> dict[str, ndarray]:
        """Where in its domain each observed value of a finite node lies, `(cells, datasets)`; zero in missing cells.

        Raises:
            QueryError: For a value that the node never takes.
        """
        wanted = {name for b in self.bundles for name, _, _ in b.terms}
        wanted |= {b.family.node.name for b in self.bundles if b.family.part == "seen"}
        return {name: self.places(name, data) for name in wanted if name in data.observed}

    def places(self, name: str, data: Data) -> ndarray:
        """Where in its domain each observed value of one node lies, `(cells, datasets)`."""
        domain, value = self.tables.domain(name), data.observed[name]
        lead = 1 + len(self.query.graph[name].axes)
        if domain.dim() == 1:
            values = value.numpy().reshape((len(value), -1))
            held = domain.numpy()
            index = values
            if not (held[0] == 0 and held[-1] == len(held) - 1 and values.dtype.kind == "i"):
                index = numpy.searchsorted(held, values).clip(max=len(held) - 1)
                bad = held[index] != values
            else:
                bad = (values < 0) | (values >= len(held))
        else:
            rows = value.reshape((*value.shape[:lead], 1, *domain.shape[1:]))
            same = (rows == domain).flatten(lead + 1).all(-1)
            index = same.to(torch.int8).argmax(-1).numpy().reshape((len(value), -1))
            bad = ~same.any(-1).numpy().reshape((len(value), -1))
        if bad.any():
            there = data.present[name].numpy().reshape((len(value), -1))
            if (bad & there).any():
                raise QueryError(f"'{name}' was observed at a value that it never takes.")
            index = numpy.where(bad, 0, index)
        return index.T

    def allowed(self, bundle: Bundle, data: Data, positions: Mapping[str, ndarray]) -> ndarray:
        """Which values the cells of an observation with gaps allow, and how much, `(members, values, datasets)`."""
        name, block = bundle.family.node.name, bundle.blocks[0]
        result = numpy.ones((len(bundle.which), len(block), data.datasets))
        if name in data.observed:
            there = data.present[name].numpy().reshape((data.datasets, -1)).T[bundle.which]
            index = positions[name][bundle.which]
            same = block[None, :, None] == index[:, None, :]
            result = numpy.where(there[:, None, :], same, 1.0)
        if name in data.likelihoods:
            weights = data.likelihoods[name].numpy()
            if weights.shape[-1] != len(self.domains[name]):
                raise QueryError(
                    f"'{name}' has {len(self.domains[name])} values; the evidence weighs {weights.shape[-1]}."
                )
            weights = weights.reshape((len(weights), -1, weights.shape[-1]))
            result = result * weights.transpose(1, 2, 0)[bundle.which][:, block]
        return result

    def scored(
        self, bundle: Bundle, data: Data, positions: Mapping[str, ndarray]
    ) -> tuple[ndarray, ndarray]:
        """Densities of observed values by the free parents, `(members, *shape, datasets)`, the largest of each 1, and the logs of
        those, `(members, datasets)`."""
        logs = self._seen_logs(bundle.family, data)[:, bundle.which]
        free = [True] * (logs.ndim - 2)
        index: list = [numpy.arange(data.datasets)[:, None], numpy.arange(len(bundle.which))[None]]
        index += [slice(None)] * len(free)
        for name, cells, slot in bundle.terms:
            index[2 + slot], free[slot] = positions[name][cells].T, False
        if len(logs) == 1 and data.datasets > 1:
            logs = numpy.broadcast_to(logs, (data.datasets, *logs.shape[1:]))
        logs = logs[tuple(index)]
        for axis, block in enumerate(bundle.blocks):
            if len(block) < logs.shape[2 + axis]:
                logs = logs.take(block, axis=2 + axis)
        # Continuous densities may be huge or tiny: their logs are kept as a constant.
        flat = logs.reshape((*logs.shape[:2], -1))
        top = flat.max(axis=2)
        top = numpy.where(numpy.isfinite(top), top, 0.0)
        table = numpy.exp(flat - top[..., None]).reshape((*logs.shape[:2], *bundle.source.shape))
        return numpy.moveaxis(table, 0, -1), top.T

    def _seen_logs(self, family: Family, data: Data) -> ndarray:
        """log p(observed value | parents), `(datasets, members, *slots)`; zero where the cell is missing."""
        table: Table = self.tables.table(family.node, family.part)
        name = family.node.name
        value, there = data.observed[name], data.present[name]
        lead = len(family.node.plates)
        value = value.reshape((len(value), -1, *value.shape[1 + lead :]))[:, family.members]
        there = there.reshape((len(there), -1, *there.shape[1 + lead :]))[:, family.members]
        there = there.reshape((*there.shape[:2], -1)).all(-1)
        slots = len(table.shape) - 1
        with quiet(), torch.no_grad():
            spread = value.reshape((*value.shape[:2], *[1] * slots, *value.shape[2:]))
            if table.outcome.distribution is not None:
                logs = table.outcome.distribution.select(table.context).log_prob(spread)
            else:
                assert table.outcome.value is not None
                values = table.outcome.value.expand(
                    (*table.shape, *table.outcome.value.shape[len(table.shape) :])
                )
                same = values[table.context] == spread
                event = value.dim() - 2
                same = same.flatten(same.dim() - event).all(-1) if event else same
                logs = torch.where(same, 0.0, -torch.inf).to(torch.float64)
            logs = logs.expand((len(value), *logs.shape[1:]))
            mask = there.reshape((*there.shape, *[1] * slots))
            return torch.where(mask, logs, torch.zeros_like(logs)).numpy()

    def _context(self, family: Family) -> ndarray:
        return self.tables.context(family.node, family.part)

    def _probabilities(self, family: Family) -> ndarray:
        return self.tables.probabilities(family.node, family.part)


def _flat(coordinates: ndarray, grid: tuple[int, ...]) -> ndarray:
    """Coordinates along a grid as flat positions, `(members,)`."""
    if not grid:
        return numpy.zeros(len(coordinates), dtype=int)
    return numpy.ravel_multi_index(tuple(coordinates.T), grid)
