"""The junction tree of an elimination order, with cliques that are alike gathered into groups.

A clique's axes run from the variable that is eliminated last to the one that is eliminated first. So the separator comes first in its clique, and in
the same order in the parent: no message is ever transposed. Cliques of one height, one shape and the same kinds of operands form a group, which
the arithmetic treats as one array; a plate of a thousand members is a group of a thousand.

References:
    | Local computations with probabilities on graphical structures (Lauritzen and Spiegelhalter, 1988)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy
from numpy import ndarray

from ppl.graph import Elimination

__all__ = ["Group", "Operand", "Source", "Tree"]


@dataclass(frozen=True, eq=False)
class Source:
    """Factors of one shape: where a group's operands come from.

    Args:
        scopes: For each factor its variables, in the order of the array's axes.
        shape: The cardinalities of those.
    """

    scopes: Sequence[tuple[int, ...]]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Operand:
    """What multiplies into the cliques of a group.

    Args:
        source: The number of the source, or the number of a group (whose messages these are) when `message`.
        message: Whether it is a group's message.
        axes: For each axis of the clique whether the operand has it, with the order of the source's axes.
        index: Which of the source's factors, `(cliques, count)`.
    """

    source: int
    message: bool
    axes: tuple[int, ...]
    index: ndarray


@dataclass(eq=False)
class Group:
    """Cliques that are alike.

    Args:
        number: Its place among the groups, children before parents.
        scopes: The variables of each clique, last eliminated first.
        shape: Their cardinalities.
        separator: How many leading axes are the separator's.
        operands: What multiplies into them.
        parents: The group that each clique sends its message to and its place there; `None` for roots.
        kind: The operation that sums the residual axes out: 0 sum, 1 maximum.
    """

    number: int
    scopes: list[tuple[int, ...]]
    shape: tuple[int, ...]
    separator: int
    operands: list[Operand] = field(default_factory=list)
    parents: list[tuple[int, int] | None] = field(default_factory=list)
    kind: int = 0

    @property
    def cells(self) -> int:
        """The cells of one clique."""
        return prod(self.shape)


class Tree:
    """Groups of cliques, every child before its parent.

    Args:
        order: The elimination.
        sizes: The cardinality of each variable, by number.
        sources: The factors.
        maximise: The variables that are maximised over instead of summed out; the order has them last.
        spare: A clique joins its parent where this makes no more than so many cells in addition.
    """

    def __init__(
        self,
        order: Elimination,
        sizes: Sequence[int],
        sources: Sequence[Source],
        maximise: frozenset[int] = frozenset(),
        spare: int = 0,
    ):
        self.sizes, self.sources, self.maximises = sizes, sources, bool(maximise)
        self._position = position = {v: i for i, v in enumerate(order.order)}
        cliques, parents, home = self._cliques(order, maximise)
        if spare:
            cliques, parents, home = self._joined(cliques, parents, home, spare)
        self.scopes = cliques
        self.groups: list[Group] = []
        #: By clique, its group and its place in it.
        self.place: list[tuple[int, int]] = [(0, 0)] * len(cliques)
        #: By variable, the clique that eliminates it.
        self.home = {v: home[position[v]] for v in position}
        self._gather(parents, maximise)

    def _cliques(self, order, maximise):
        """Buckets, those that an earlier one holds merged into it; parents of each; the clique of each bucket."""
        position = self._position
        buckets = order.buckets
        count = len(buckets)
        up = [-1] * count
        scopes: list[tuple[int, ...]] = []
        for i, bucket in enumerate(buckets):
            ordered = sorted(bucket, key=position.__getitem__, reverse=True)
            scopes.append(tuple(ordered))
            if len(ordered) > 1:
                up[i] = position[ordered[-2]]
        home = list(range(count))
        clique = list(scopes)
        for i in range(count):
            j = up[i]
            h = home[i]
            # The parent's bucket holds nothing that this one does not: it lives in this clique.
            if (
                j >= 0
                and home[j] == j
                and len(scopes[j]) == len(scopes[i]) - 1
                and (buckets[j][0] in maximise) == (buckets[i][0] in maximise)
            ):
                home[j] = h
        number = {h: k for k, h in enumerate(sorted(set(home)))}
        # The last bucket of a clique says where its message goes.
        final = {}
        for i in range(count):
            final[home[i]] = i
        parents = [-1] * len(number)
        separators = [0] * len(number)
        for h, k in number.items():
            last = final[h]
            parents[k] = -1 if up[last] < 0 else number[home[up[last]]]
            separators[k] = len(scopes[last]) - 1
        self._separators = separators
        self._residual_kind = [int(buckets[h][0] in maximise) for h in sorted(set(home))]
        return [clique[h] for h in sorted(set(home))], parents, [number[h] for h in home]

    def _joined(self, cliques, parents, home, spare):
        """With small cliques joined to their parents: fewer steps for a few cells more."""
        position, sizes = self._position, self.sizes
        scopes = [set(c) for c in cliques]
        cells = [prod([sizes[v] for v in c]) for c in cliques]
        into = list(range(len(cliques)))
        # Children come before their parents, as the buckets do.
        for k in sorted(range(len(cliques)), key=lambda k: position[cliques[k][-1]]):
            p = parents[k]
            while p >= 0 and into[p] != p:
                p = into[p]
            if p < 0 or self._residual_kind[k] != self._residual_kind[p]:
                continue
            union = scopes[k] | scopes[p]
            size = prod([sizes[v] for v in union])
            if size - cells[k] - cells[p] <= spare:
                into[k], scopes[p], cells[p] = p, union, size

        def final(k):
            while into[k] != k:
                k = into[k]
            return k

        left = [k for k in range(len(cliques)) if into[k] == k]
        number = {k: i for i, k in enumerate(left)}
        self._separators = [self._separators[k] for k in left]
        self._residual_kind = [self._residual_kind[k] for k in left]
        return (
            [tuple(sorted(scopes[k], key=position.__getitem__, reverse=True)) for k in left],
            [-1 if parents[k] < 0 else number[final(parents[k])] for k in left],
            [number[final(k)] for k in home],
        )

    def _gather(self, parents, maximise):
        """Groups by height, shape and operands."""
        cliques, position, sizes = self.scopes, self._position, self.sizes
        count = len(cliques)
        operands: list[dict[tuple, list[int]]] = [{} for _ in range(count)]
        for s, source in enumerate(self.sources):
            for f, scope in enumerate(source.scopes):
                if scope:
                    k = self.home[min(scope, key=position.__getitem__)]
                    clique = cliques[k]
                    axes = tuple([clique.index(v) for v in scope])
                    operands[k].setdefault((0, s, axes), []).append(f)
        children: list[list[int]] = [[] for _ in range(count)]
        waiting = [0] * count
        for k, p in enumerate(parents):
            if p >= 0:
                children[p].append(k)
                waiting[p] += 1
        layer = [k for k in range(count) if not waiting[k]]
        while layer:
            groups: dict[tuple, list[int]] = {}
            for k in layer:
                shape = tuple([sizes[v] for v in cliques[k]])
                key = (
                    self._separators[k],
                    self._residual_kind[k],
                    shape,
                    tuple(sorted([(spec, len(found)) for spec, found in operands[k].items()])),
                )
                groups.setdefault(key, []).append(k)
            following = []
            for (separator, kind, shape, specs), members in groups.items():
                number = len(self.groups)
                group = Group(number, [cliques[k] for k in members], shape, separator, kind=kind)
                for spec, _ in specs:
                    index = numpy.array([operands[k][spec] for k in members])
                    group.operands.append(Operand(spec[1], bool(spec[0]), spec[2], index))
                self.groups.append(group)
                for m, k in enumerate(members):
                    self.place[k] = number, m
                    p = parents[k]
                    if p >= 0:
                        clique = cliques[p]
                        axes = tuple([clique.index(v) for v in cliques[k][:separator]])
                        operands[p].setdefault((1, number, axes), []).append(m)
                        waiting[p] -= 1
                        if not waiting[p]:
                            following.append(p)
            layer = following
        for group in self.groups:
            group.parents = [None] * len(group.scopes)
        for k, p in enumerate(parents):
            number, m = self.place[k]
            self.groups[number].parents[m] = None if p < 0 else self.place[p]

    def place_of(self, variables: Sequence[int]) -> tuple[int, int]:
        """The group that holds variables which share a factor, and the clique's place in it."""
        return self.place[self.home[min(variables, key=self._position.__getitem__)]]

    def shown_in(self, variables: Sequence[int]) -> tuple[int, int]:
        """The smallest clique from which the joint marginal of variables that share a factor can be read, as `place_of`."""
        if len(variables) > 1:
            return self.place_of(variables)
        return self.place[self._narrow[variables[0]]]

    @cached_property
    def _narrow(self) -> dict[int, int]:
        """By variable, the smallest clique that holds it."""
        cells = [prod([self.sizes[v] for v in scope]) for scope in self.scopes]
        found: dict[int, int] = {}
        for k in sorted(range(len(cells)), key=cells.__getitem__, reverse=True):
            for v in self.scopes[k]:
                found[v] = k
        return found

    @property
    def cells(self) -> int:
        """The cells of all cliques."""
        return sum(len(g.scopes) * g.cells for g in self.groups)
