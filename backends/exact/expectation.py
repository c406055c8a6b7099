"""Expected counts: the E step of EM, in two ways.

A row with few missing cells falls apart: given what is seen, its missing cells form small components, and each is enumerated. All states of all
components of all rows are one long list of look-ups in the tables, laid out once; equal components are listed once. Rows whose components
are too large for that go through the junction tree, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy
import torch
from numpy import ndarray

from ppl.errors import ImpossibleError
from ppl.mechanism import Data

from .factors import Family
from .network import Network
from .prepared import Prepared

__all__ = ["Enumerated", "Propagated", "Vector", "rows_of"]

Key = tuple[str, str]
#: The most states of one component of missing cells that are enumerated.
STATES = 4096
#: The most look-ups of all components together.
LOOKUPS = 2**25


class Vector:
    """All tables of a network end to end, learned or not.

    Args:
        network: A network in which every family is tabulated.
    """

    def __init__(self, network: Network):
        self.network = network
        self.shapes: dict[Key, tuple[int, ...]] = {}
        self.start: dict[Key, int] = {}
        self.size = 0
        for family in network.families:
            key = family.node.name, family.part
            self.shapes[key] = network.tables.probabilities(family.node, family.part).shape
            self.start[key] = self.size
            self.size += prod(self.shapes[key])

    def joined(self, tables: Mapping[Key, ndarray]) -> ndarray:
        """Every table's numbers in one array; those that are not given are the model's own."""
        parts = []
        for family in self.network.families:
            key = family.node.name, family.part
            own = tables.get(key)
            if own is None:
                own = self.network.tables.probabilities(family.node, family.part)
            parts.append(own.reshape(-1))
        return numpy.concatenate(parts)

    def parted(self, counts: ndarray, keys: Sequence[Key]) -> dict[Key, ndarray]:
        """Numbers of that length as tables."""
        return {
            key: counts[self.start[key] : self.start[key] + prod(self.shapes[key])].reshape(
                self.shapes[key]
            )
            for key in keys
        }


class Enumerated:
    """Rows whose missing cells fall into small components; complete rows are the easiest of them.

    Args:
        network: Every family tabulated, no family with a table for each data set.
        data: The rows.
        weights: How often each row occurs, `(rows,)`.

    Attributes:
        hard: Rows that are left to the junction tree.
    """

    def __init__(self, network: Network, data: Data, weights: ndarray):
        self.vector = Vector(network)
        self._number(network, data)
        self._instances(network.families)
        components, self.hard = self._components()
        self._lay_out(components, weights)

    def _number(self, network: Network, data: Data) -> None:
        """Every cell of every node as a column: values, and which are there."""
        self.column: dict[str, int] = {}
        cards: list[int] = []
        values, there = [], []
        for name in dict.fromkeys(f.node.name for f in network.families):
            self.column[name] = len(cards)
            count = prod(network.grid(name))
            cards += [len(network.tables.domain(name))] * count
            if name in data.observed:
                values.append(network.places(name, data).T)
                there.append(data.present[name].numpy().reshape((data.datasets, -1)))
            else:
                values.append(numpy.zeros((data.datasets, count), dtype=int))
                there.append(numpy.zeros((data.datasets, count), dtype=bool))
        self.cards = cards
        self.values, self.there = (
            numpy.concatenate(values, axis=1),
            numpy.concatenate(there, axis=1),
        )

    def _instances(self, families: Sequence[Family]) -> None:
        """Each member's factor: its scope as columns, the stride of each in the vector, and where its table begins."""
        self.scopes: list[list[int]] = []
        self.strides: list[list[int]] = []
        self.bases: list[int] = []
        for family in families:
            key = family.node.name, family.part
            shape = self.vector.shapes[key]
            strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
            columns = [
                self.column[slot.edge.source] + at
                for slot, at in zip(family.slots, family.parents, strict=True)
            ]
            columns.append(self.column[family.node.name] + family.members)
            context = self.vector.network.tables.context(family.node, family.part)[0]
            self.scopes += numpy.stack(columns, axis=1).tolist()
            self.strides += [strides[1:]] * len(family.members)
            self.bases += (self.vector.start[key] + context * strides[0]).tolist()
        self.touching: list[list[int]] = [[] for _ in self.cards]
        near = [0] * len(self.cards)
        for f, scope in enumerate(self.scopes):
            bits = 0
            for v in scope:
                bits |= 1 << v
            for v in dict.fromkeys(scope):
                self.touching[v].append(f)
                near[v] |= bits
        self.near = near

    def _components(self) -> tuple[dict[tuple[int, ...], list[int]], ndarray]:
        """By set of columns: the rows in which they are a component of missing cells; and the rows that have too large a one."""
        found: dict[tuple[int, ...], list[int]] = {}
        hard = numpy.zeros(len(self.values), dtype=bool)
        known: dict[int, list[tuple[int, ...]]] = {}
        lookups = 0
        for row, missing in enumerate(~self.there):
            bits = 0
            for v in missing.nonzero()[0].tolist():
                bits |= 1 << v
            if bits not in known:
                known[bits] = self._fallen_apart(bits)
            parts = known[bits]
            states = [prod([self.cards[v] for v in part]) for part in parts]
            lookups += sum(states)
            if max(states, default=1) > STATES or lookups > LOOKUPS:
                hard[row] = True
                continue
            for part in parts:
                found.setdefault(part, []).append(row)
        return found, hard.nonzero()[0]

    def _fallen_apart(self, missing: int) -> list[tuple[int, ...]]:
        """The components of a set of missing cells, in the moral graph without the others."""
        parts = []
        while missing:
            part = front = missing & -missing
            while front:
                low = front & -front
                front ^= low
                new = self.near[low.bit_length() - 1] & missing & ~part
                part |= new
                front |= new
            missing &= ~part
            members = []
            while part:
                low = part & -part
                members.append(low.bit_length() - 1)
                part ^= low
            parts.append(tuple(members))
        return parts

    def _lay_out(self, components: dict[tuple[int, ...], list[int]], weights: ndarray) -> None:
        """The look-ups of every state of every different component, and the counts that do not change."""
        easy = numpy.ones(len(self.values), dtype=bool)
        easy[self.hard] = False
        self._still = numpy.zeros(self.vector.size)
        for scope, widths, base in zip(self.scopes, self.strides, self.bases, strict=True):
            full = (self.there[:, scope].all(axis=1) & easy).nonzero()[0]
            entry = self.values[full[:, None], scope] @ numpy.array(widths) + base
            self._still += numpy.bincount(entry, weights[full], minlength=self.vector.size)
        #: By number of factors: look-ups `(factors, cells)`, first cell of each component, its owner's number by cell, weights, rows.
        self._groups: list[tuple[ndarray, ndarray, ndarray, ndarray, ndarray]] = []
        gathered: dict[int, list[tuple[ndarray, ndarray, ndarray]]] = {}
        for part, rows in components.items():
            factors = list(dict.fromkeys(f for v in part for f in self.touching[v]))
            index, weight, first = self._states(part, factors, numpy.array(rows), weights)
            gathered.setdefault(len(factors), []).append((index, weight, first))
        for found in gathered.values():
            sizes = numpy.concatenate([numpy.full(len(w), i.shape[2]) for i, w, _ in found])
            index = numpy.concatenate([i.reshape((len(i), -1)) for i, _, _ in found], axis=1)
            starts = numpy.concatenate([[0], sizes.cumsum()[:-1]])
            owner = numpy.repeat(numpy.arange(len(sizes)), sizes)
            weight = numpy.concatenate([w for _, w, _ in found])
            self._groups.append(
                (index, starts, owner, weight, numpy.concatenate([f for _, _, f in found]))
            )

    def _states(
        self, part: tuple[int, ...], factors: list[int], rows: ndarray, weights: ndarray
    ) -> tuple[ndarray, ndarray, ndarray]:
        """Look-ups of a component, `(factors, different rows, states)`, with the weight of each different row and the first of them."""
        around = sorted({v for f in factors for v in self.scopes[f]} - set(part))
        seen = self.values[rows[:, None], around]
        if len(rows) > 1:
            # Values of the surroundings as one number; Python's own where it would not fit.
            sizes = [self.cards[v] for v in around]
            kind = numpy.int64 if prod(sizes) < 2**62 else object
            code = numpy.zeros(len(rows), dtype=kind)
            for column, size in zip(seen.T, sizes, strict=True):
                code = code * size + column
            _, first, inverse = numpy.unique(code, return_index=True, return_inverse=True)
            weight = numpy.bincount(inverse, weights[rows])
            seen, first = seen[first], rows[first]
        else:
            weight, first = weights[rows], rows
        place = {v: k for k, v in enumerate(around)}
        grid = numpy.indices([self.cards[v] for v in part]).reshape((len(part), -1))
        index = numpy.empty((len(factors), len(first), grid.shape[1]), dtype=numpy.int64)
        for k, f in enumerate(factors):
            fixed = numpy.full(len(first), self.bases[f])
            moving = numpy.zeros(grid.shape[1], dtype=int)
            for v, stride in zip(self.scopes[f], self.strides[f], strict=True):
                if v in place:
                    fixed += stride * seen[:, place[v]]
                else:
                    moving += stride * grid[part.index(v)]
            index[k] = fixed[:, None] + moving
        return index, weight, first

    def expect(
        self, tables: Mapping[Key, ndarray], keys: Sequence[Key]
    ) -> tuple[float, dict[Key, ndarray]]:
        """The log-likelihood of the easy rows, and their expected counts."""
        vector = self.vector.joined(tables)
        counts = self._still.copy()
        some = self._still > 0
        with numpy.errstate(divide="ignore"):
            total = float(self._still[some] @ numpy.log(vector[some]))
        if total == -numpy.inf:
            raise ImpossibleError(
                "Some row of the data has probability zero: it contradicts a table that is not learned."
            )
        for index, starts, owner, weight, rows in self._groups:
            mass = vector.take(index[0])
            for one in index[1:]:
                mass *= vector.take(one)
            sums = numpy.add.reduceat(mass, starts)
            if not sums.min() > 0:
                row = int(rows[sums.argmin()])
                raise ImpossibleError(
                    f"Row {row} of the data, counted without repeats, has probability zero: it contradicts a table that is not learned."
                )
            total += float(numpy.log(sums) @ weight)
            mass *= (weight / sums)[owner]
            for one in index:
                counts += numpy.bincount(one, mass, minlength=len(counts))
        return total, self.vector.parted(counts, keys)


class Propagated:
    """Rows that go through the junction tree.

    Args:
        prepared: The tree, made for learning.
        data: The rows.
        weights: How often each occurs.
        keys: The tables that are learned.
    """

    def __init__(self, prepared: Prepared, data: Data, weights: ndarray, keys: Sequence[Key]):
        self.prepared, self.network = prepared, prepared.network
        self.data, self.weights = data, weights
        bundles = self.network.bundles
        owner = [(b.family.node.name, b.family.part) for b in bundles]
        self.mine = {
            i: owner[i] for i, b in enumerate(bundles) if owner[i] in keys and b.table is not None
        }
        #: Bundles of which some nodes are seen in every row: their entries differ from row to row.
        self.mixed = [i for i in self.mine if bundles[i].terms and bundles[i].source.shape]
        self.positions = self.network.positions(data)
        self._places = self._placed()

    def _placed(self) -> dict[int, list]:
        """For each group: the bundles whose families lie in its cliques, over which axes, in which of them, at which entries."""
        found: dict[int, list] = {}
        for group in self.prepared.tree(False).groups:
            for operand in group.operands:
                i = operand.source
                if operand.message or i not in self.mine or i in self.mixed:
                    continue
                members = numpy.repeat(numpy.arange(len(group.scopes)), operand.index.shape[1])
                entry = self.network.bundles[i].base[0][operand.index.reshape(-1)]
                gone = tuple(1 + a for a in range(len(group.shape)) if a not in operand.axes)
                order = (0, *(1 + int(a) for a in numpy.argsort(numpy.argsort(operand.axes))))
                found.setdefault(group.number, []).append((i, gone, order, members, entry))
        return found

    def expect(
        self, tables: Mapping[Key, ndarray], keys: Sequence[Key]
    ) -> tuple[float, dict[Key, ndarray]]:
        """The log-likelihood of these rows, and their expected counts."""
        prepared, bundles = self.prepared, self.network.bundles
        for i, key in self.mine.items():
            prepared.learn(i, tables[key])
        counts = {i: numpy.zeros_like(bundles[i].table) for i in self.mine}
        total, done = 0.0, 0
        for part, program in prepared.runs(self.data):
            weights = self.weights[part].copy()
            # Rows that fill up the last batch are counted already.
            weights[: done - part.start] = 0.0
            done = part.stop
            if numpy.isneginf(program.logs).any():
                raise ImpossibleError(
                    f"Row {part.start + int(program.logs.argmin())} of the data, counted without repeats, has probability zero: it "
                    "contradicts a table that is not learned."
                )
            total += float(program.logs @ weights)
            for number, places in self._places.items():
                group = program.tree.groups[number]
                flat = program.belief[number].reshape((len(group.scopes), group.cells, -1))
                share = weights / flat.sum(axis=1)
                mass = numpy.matmul(flat, share[..., None]).reshape(
                    (len(group.scopes), *group.shape)
                )
                for i, gone, order, members, entry in places:
                    small = (mass.sum(axis=gone) if gone else mass).transpose(order)
                    numpy.add.at(counts[i], entry, small[members])
            for i in self.mixed:
                self._mix(i, program, part, weights, counts[i])
        for i in self.mine:
            if not bundles[i].source.shape:
                entries = self._entries(i)
                weights = numpy.broadcast_to(self.weights, entries.shape)
                counts[i] += numpy.bincount(
                    entries.reshape(-1), weights.reshape(-1), minlength=len(counts[i])
                )
        whole = {key: numpy.zeros(tables[key].shape) for key in keys}
        for i, key in self.mine.items():
            whole[key] += bundles[i].gathered(counts[i], tables[key].shape)
        return total, whole

    def _entries(self, i: int) -> ndarray:
        """The entry of the table in each row, `(members, rows)`."""
        bundle = self.network.bundles[i]
        entry = bundle.base.T
        for name, cells, stride in bundle.terms:
            entry = entry + self.positions[name][cells] * stride
        return numpy.broadcast_to(entry, (len(bundle.which), self.data.datasets))

    def _mix(self, i: int, program, part: slice, weights: ndarray, counts: ndarray) -> None:
        """Counts of families of which some nodes are seen and some are not."""
        entries = self._entries(i)[:, part]
        flat = counts.reshape((len(counts), -1))
        for m, scope in enumerate(self.network.bundles[i].source.scopes):
            share = program.marginal(scope) * weights
            for cell in range(flat.shape[1]):
                flat[:, cell] += numpy.bincount(entries[m], share[cell], minlength=len(flat))


def rows_of(data: Data, rows: ndarray) -> Data:
    """Some rows of the data."""
    picked = torch.from_numpy(rows)
    return replace(
        data,
        observed={name: v[picked] for name, v in data.observed.items()},
        present={name: v[picked] for name, v in data.present.items()},
        datasets=len(rows),
    )
