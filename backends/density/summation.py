"""Summing the finite part out: the exact engine's junction tree over tables that change with every evaluation.

The derivative of the log of the sum with respect to the log of a factor's entry is that entry's posterior probability, so one pass up and one
pass down the tree give the value and all that a gradient needs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log2, prod

import numpy
import torch
from numpy import ndarray
from torch import Tensor

from backends.exact.propagation import MATRIX, Propagation, summing
from backends.exact.tree import Source, Tree
from ppl.graph import elimination, rounds

from .layout import Family, Layout, NotExplicit

__all__ = ["Key", "Summation"]

#: A family's name: its node and its part.
Key = tuple[str, str]
#: Where so many factors are alike, an order of few rounds is tried.
ALIKE = 16
#: A clique joins its parent where this costs no more cells than so many.
SPARE = 16


@dataclass(frozen=True, eq=False)
class Part:
    """Factors of one family whose variables can take the same values.

    Args:
        key: The family.
        which: The members, as positions among the family's.
        blocks: For each axis of the family's table, the values that can be reached.
        source: Scopes and shape of what is left: axes of one value are gone.
        grid: The family's plates.
    """

    key: Key
    which: ndarray
    blocks: tuple[ndarray, ...]
    source: Source
    grid: tuple[int, ...]

    def cut(self, logs: ndarray) -> ndarray:
        """Of a family's logs `(batch, *plates, *cards)`, these members and values, `(batch, members, *shape)`."""
        if self.grid:
            at: tuple = (slice(None), *numpy.unravel_index(self.which, self.grid))
            found = logs[at]
        else:
            found = logs[:, None]
        for axis, block in enumerate(self.blocks, start=2):
            if len(block) < found.shape[axis]:
                found = found.take(block, axis=axis)
        return found.reshape((len(found), len(self.which), *self.source.shape))

    def rows(self, cards: tuple[int, ...]) -> ndarray:
        """Where each entry that is left lies in a family's table, flattened, `(members, entries)`."""
        inside = numpy.arange(prod(cards)).reshape(cards)[numpy.ix_(*self.blocks)].reshape(-1)
        return self.which[:, None] * prod(cards) + inside


@dataclass(frozen=True, eq=False)
class Shares:
    """How the shares of all entries are gathered from the beliefs of the cliques.

    Args:
        size: How many sums there are.
        sums: For each group that has some: its number, where its sums begin, and over which axes each set of them runs.
        gather: For each entry of all tables, which of the sums it is.
        tables: Where each family's entries lie, and the shape of its table.
    """

    size: int
    sums: list[tuple[int, int, tuple[tuple[int, ...], ...]]]
    gather: ndarray
    tables: dict[Key, tuple[int, int, tuple[int, ...]]]


class Summation:
    """The tree of a layout's finite variables.

    Args:
        layout: Variables and families.
        constant: Tables of families that no evaluation changes, `(1, *plates, *cards)` log densities.
        limit: The largest total size of the tree's cliques.
        keys: The families to take; all by default.

    Raises:
        NotExplicit: If it is larger.
    """

    def __init__(
        self,
        layout: Layout,
        constant: Mapping[Key, Tensor],
        limit: int,
        keys: Collection[Key] | None = None,
    ):
        self.layout = layout
        self.reach = _reach(layout, constant)
        self.sizes = [len(values) for values in self.reach]
        self.parts: list[Part] = []
        for key, family in layout.families.items():
            if keys is not None and key not in keys:
                continue
            if family.scored and (family.slots or family.own):
                self.parts += self._parts(key, family)
        self.sources = [part.source for part in self.parts]
        scopes = [scope for s in self.sources for scope in s.scopes]
        order = elimination([v for v in scopes if v], self.sizes)
        if order.cells > limit:
            raise NotExplicit(
                f"summing the finite part out would make factors of 2^{order.log2_cells:.1f} cells, and 2^{log2(limit):.0f} is the limit",
                finite=True,
            )
        self.tree = Tree(order, self.sizes, self.sources, spare=SPARE)
        if any(len(s.scopes) > ALIKE for s in self.sources):
            other = Tree(
                rounds([v for v in scopes if v], self.sizes), self.sizes, self.sources, spare=SPARE
            )
            if len(other.groups) < len(self.tree.groups) and other.cells <= 4 * self.tree.cells:
                self.tree = other
        self._still: list[ndarray | None] = []
        self._still_logs = 0.0
        for part in self.parts:
            still = None
            if part.key in constant:
                table, logs = _scaled(part.cut(constant[part.key].numpy()))
                still = table[0]
                self._still_logs += float(logs.sum())
                if not part.source.shape:
                    with numpy.errstate(divide="ignore"):
                        self._still_logs += float(numpy.log(still).sum())
            self._still.append(still)
        #: The families whose tables come with every evaluation.
        self.moving = [k for k in dict.fromkeys(p.key for p in self.parts) if k not in constant]
        self._programs: dict[int, Propagation] = {}

    def _parts(self, key: Key, family: Family) -> list[Part]:
        scopes = self.layout.scopes(family)
        groups: dict[tuple, list[int]] = {}
        for m, scope in enumerate(scopes):
            groups.setdefault(tuple(id(self.reach[v]) for v in scope), []).append(m)
        found = []
        for which in groups.values():
            blocks = tuple(self.reach[v] for v in scopes[which[0]])
            keep = [i for i, block in enumerate(blocks) if len(block) > 1]
            cut = [tuple(scopes[m][i] for i in keep) for m in which]
            source = Source(cut, tuple(len(blocks[i]) for i in keep))
            found.append(Part(key, numpy.array(which), blocks, source, family.grid))
        return found

    @property
    def cells(self) -> int:
        """The cells of all cliques."""
        return self.tree.cells

    def _program(self, batch: int) -> Propagation:
        if batch not in self._programs:
            if len(self._programs) > 8:
                self._programs.clear()
            self._programs[batch] = Propagation(
                self.tree, self._still, (), batch, scaled=True, learning=True
            )
        return self._programs[batch]

    def run(self, tables: Mapping[Key, ndarray], batch: int, down: bool = True) -> ndarray:
        """log of the sum over everything finite, `(batch,)`.

        Args:
            tables: Log densities of the families in `moving`, `(batch or 1, *plates, *cards)`.
            batch: The number of evaluations.
            down: Whether `shares` or `draws` will be asked for.
        """
        program = self._program(batch)
        total = numpy.full(batch, self._still_logs)
        for i, part in enumerate(self.parts):
            if self._still[i] is None:
                table, logs = _scaled(part.cut(tables[part.key]))
                total += logs.sum(axis=1)
                if part.source.shape:
                    program.sources[i][...] = numpy.moveaxis(table, 0, -1)
                else:
                    with numpy.errstate(divide="ignore"):
                        total += numpy.log(table).sum(axis=1)
        program.run(down)
        self.last = program
        with numpy.errstate(divide="ignore"):
            return total + numpy.log(program.evidence) + program.log_scale

    def shares(self) -> dict[Key, ndarray]:
        """Of the last run: the posterior probability of every entry of the moving tables, `(batch, *plates, *cards)`."""
        plan, program = self._share_plan, self.last
        batch = program.batch
        sums = numpy.empty((plan.size, batch))
        sums[:2] = numpy.array([0.0, 1.0])[:, None]
        for number, start, specs in plan.sums:
            belief = program.belief[number]
            count, shape = len(belief), belief.shape[1:-1]
            flat = belief.reshape((count, -1, batch))
            sizes = [prod(shape[a] for a in spec) for spec in specs]
            out = sums[start : start + count * sum(sizes)].reshape((count, -1, batch))
            if sum(sizes) * prod(shape) <= MATRIX:
                numpy.matmul(_stacked(shape, specs), flat, out=out)
            else:
                ends = numpy.cumsum([0, *sizes])
                for spec, low, high in zip(specs, ends, ends[1:], strict=False):
                    gone = tuple(1 + a for a in range(len(shape)) if a not in spec)
                    kept = belief.sum(axis=gone)
                    order = numpy.argsort(numpy.argsort(spec))
                    kept = kept.transpose(0, *(1 + int(a) for a in order), kept.ndim - 1)
                    out[:, low:high] = kept.reshape((count, -1, batch))
            whole = flat.sum(axis=1, keepdims=True)
            out /= numpy.where(whole > 0, whole, 1.0)
        found = sums.take(plan.gather, axis=0).T
        return {
            key: found[:, start:stop].reshape((batch, *shape))
            for key, (start, stop, shape) in plan.tables.items()
        }

    @cached_property
    def _share_plan(self) -> Shares:
        """Which sums of which beliefs the shares are."""
        layout = self.layout
        tables: dict[Key, tuple[int, int, tuple[int, ...]]] = {}
        cards: dict[Key, tuple[int, ...]] = {}
        stop = 0
        for key in self.moving:
            family = layout.families[key]
            own = (len(layout.domains[family.node.name]),) if family.own else ()
            cards[key] = (*layout.cards(family), *own)
            start, stop = stop, stop + len(family.members) * prod(cards[key])
            tables[key] = start, stop, (*family.grid, *cards[key])
        gather = numpy.zeros(stop, dtype=int)  # the first sum is 0, the second 1
        rows: dict[int, ndarray] = {}
        for i, part in enumerate(self.parts):
            if self._still[i] is None:
                rows[i] = tables[part.key][0] + part.rows(cards[part.key])
                gather[rows[i]] = 1
        sums: list[tuple[int, int, tuple[tuple[int, ...], ...]]] = []
        size = 2
        for group in self.tree.groups:
            mine = [o for o in group.operands if not o.message and o.source in rows]
            if not mine:
                continue
            specs = tuple(dict.fromkeys(o.axes for o in mine))
            sizes = [prod(group.shape[a] for a in spec) for spec in specs]
            ends = numpy.cumsum([0, *sizes])
            at = size + numpy.arange(len(group.scopes))[:, None] * ends[-1]
            for operand in mine:
                place = specs.index(operand.axes)
                entries = at + numpy.arange(ends[place], ends[place + 1])
                for column in operand.index.T:
                    gather[rows[operand.source][column]] = entries
            sums.append((group.number, size, specs))
            size += len(group.scopes) * int(ends[-1])
        return Shares(size, sums, gather, tables)

    def marginals(self) -> dict[str, Tensor]:
        """Of the last run: the posterior of each finite node, `(batch, *plates, cardinality)`."""
        program, found = self.last, {}
        columns: list[ndarray] = []
        for v, values in enumerate(self.reach):
            whole = numpy.zeros((program.batch, self.layout.sizes[v]))
            share = numpy.ones((program.batch, 1))
            if len(values) > 1:
                number, m = self.tree.place_of((v,))
                group = self.tree.groups[number]
                axis = group.scopes[m].index(v)
                gone = tuple(a for a in range(len(group.shape)) if a != axis)
                share = program.belief[number][m].sum(axis=gone).T
            whole[:, values] = share / share.sum(axis=1, keepdims=True)
            columns.append(whole)
        for name, first in self.layout.first.items():
            grid = tuple(self.layout.mechanism.sizes[p] for p in self.layout.graph[name].axes)
            stacked = numpy.stack([columns[first + k] for k in range(prod(grid))], axis=1)
            found[name] = torch.from_numpy(stacked.reshape((len(stacked), *grid, -1)))
        return found

    def draw(self, rng: numpy.random.Generator) -> dict[str, Tensor]:
        """Of the last run: one exact joint draw for each evaluation, `(batch, *plates, *event)` by node."""
        program = self.last
        batch = numpy.arange(program.batch)
        states: dict[int, ndarray] = {}
        for group in reversed(self.tree.groups):
            held = group.shape[: group.separator]
            joint = program.joint[group.number]
            tables = joint.reshape((len(group.scopes), prod(held), -1, program.batch))
            for m, scope in enumerate(group.scopes):
                row = numpy.zeros(program.batch, dtype=int)
                for axis in range(group.separator):
                    row = row * group.shape[axis] + states[scope[axis]]
                weights = tables[m][row, :, batch]
                cdf = weights.cumsum(axis=1)
                u = rng.random(program.batch)[:, None] * cdf[:, -1:]
                place = (cdf <= u).sum(axis=1).clip(max=cdf.shape[1] - 1)
                for axis in range(len(group.shape) - 1, group.separator - 1, -1):
                    place, states[scope[axis]] = numpy.divmod(place, group.shape[axis])
        found = {}
        for name, first in self.layout.first.items():
            grid = tuple(self.layout.mechanism.sizes[p] for p in self.layout.graph[name].axes)
            single = numpy.zeros(program.batch, dtype=int)
            index = numpy.stack(
                [self.reach[v][states.get(v, single)] for v in range(first, first + prod(grid))],
                axis=1,
            )
            index = index.reshape((program.batch, *grid))
            found[name] = self.layout.domains[name][torch.from_numpy(index)]
        return found


def _scaled(logs: ndarray) -> tuple[ndarray, ndarray]:
    """Tables `(batch, members, *shape)` with the largest entry of each factor 1, and the logs of what was divided out, `(batch, members)`."""
    flat = logs.reshape((*logs.shape[:2], -1))
    top = flat.max(axis=2)
    top = numpy.where(numpy.isfinite(top), top, 0.0)
    return numpy.exp(flat - top[..., None]).reshape(logs.shape), top


@lru_cache(maxsize=1024)
def _stacked(shape: tuple[int, ...], specs: tuple[tuple[int, ...], ...]) -> ndarray:
    return numpy.concatenate([summing(shape, spec) for spec in specs])


def _reach(layout: Layout, constant: Mapping[Key, Tensor]) -> list[ndarray]:
    """For every variable, the places in its domain that some values of its parents make possible, whatever the continuous nodes are."""
    full = {name: numpy.arange(len(domain)) for name, domain in layout.domains.items()}
    found: dict[int, ndarray] = {}
    pending: dict[int, tuple[Key, int, tuple[int, ...]]] = {}
    possible = {}
    for key, family in layout.families.items():
        if not family.own:
            continue
        first, every = layout.first[family.node.name], full[family.node.name]
        if key in constant:
            table = numpy.isfinite(constant[key].numpy())[0]
            depth = len(family.grid)
            possible[key] = table.reshape((-1, *table.shape[depth:]))
        for m, scope in enumerate(layout.scopes(family)):
            v = first + int(family.members[m])
            if key not in possible or possible[key][m].all():
                found[v] = every
            else:
                pending[v] = key, m, scope[:-1]
    alike: dict[tuple, ndarray] = {}
    for start in pending:
        stack = [start]
        while stack:
            v = stack[-1]
            if v in found:
                stack.pop()
                continue
            key, m, scope = pending[v]
            waiting = [u for u in scope if u not in found]
            if waiting:
                stack.extend(waiting)
                continue
            table = possible[key][m]
            blocks = [found[u] for u in scope]
            name = (*key, table.tobytes(), *(b.tobytes() for b in blocks))
            if name not in alike:
                cut = table[numpy.ix_(*blocks)] if blocks else table
                reached = cut.reshape((-1, cut.shape[-1])).any(axis=0).nonzero()[0]
                every = full[key[0]]
                alike[name] = every if len(reached) == len(every) else reached
            found[v] = alike[name]
            stack.pop()
    return [found[v] for v in range(len(layout.sizes))]
