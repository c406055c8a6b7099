"""Factors: one body of one node over the members that it serves, and its tables as sources of the junction tree."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy
from numpy import ndarray

from ppl.graph import Node
from ppl.mechanism.tables import Slot

from .tree import Source

__all__ = ["Bundle", "Family"]


@dataclass(frozen=True, eq=False)
class Family:
    """One body of one node over the members that it serves.

    Args:
        node: The node.
        part: `"body"` or `"start"`.
        slots: The parents, in order.
        members: Flat positions of the members in the node's grid, `(members,)`.
        parents: By slot, flat positions in the parent's grid, `(members,)`.
        tabulated: Whether its own value is a place in a table, rather than scored by a density.
    """

    node: Node
    part: str
    slots: tuple[Slot, ...]
    members: ndarray
    parents: tuple[ndarray, ...] = field(repr=False)
    tabulated: bool


@dataclass(frozen=True, eq=False)
class Bundle:
    """Factors of one family with one shape: a source of the tree, and where its numbers come from.

    Args:
        family: Whose factors these are.
        which: The members, as positions in `family.members`.
        source: Scopes and shape, as the tree wants them.
        table: `(entries, *shape)`, or `None` where only an observation can tell.
        base: The entry of each member before observed values are added, `(1 or datasets, members)`.
        terms: Observed nodes: name, flat positions of the cells that count, and how far one value moves the entry.
            Without a table: the slot, whose axis is to be sliced there.
        blocks: The reachable values of each free slot, and of the node itself where it is free.
        turn: The axes of the family's table `(contexts, *slots, own)` in the order in which `table` has them.
    """

    family: Family
    which: ndarray
    source: Source
    table: ndarray | None
    base: ndarray
    terms: tuple[tuple[str, ndarray, int], ...] = ()
    blocks: tuple[ndarray, ...] = ()
    turn: tuple[int, ...] = ()

    def arranged(self, probabilities: ndarray) -> ndarray:
        """A family's table `(contexts, *slots, own)` as `(entries, *shape)`."""
        table = probabilities.transpose(self.turn)
        lead = table.ndim - len(self.blocks)
        for axis, block in enumerate(self.blocks, start=lead):
            if len(block) < table.shape[axis]:
                table = table.take(block, axis=axis)
        return numpy.ascontiguousarray(table).reshape((-1, *self.source.shape))

    def gathered(self, counts: ndarray, shape: tuple[int, ...]) -> ndarray:
        """The way back: numbers for `(entries, *shape)` as a family's table of this shape, zero where nothing can be reached."""
        turned = numpy.zeros([shape[axis] for axis in self.turn])
        lead = turned.ndim - len(self.blocks)
        at = [numpy.arange(n) for n in turned.shape[:lead]] + list(self.blocks)
        part = [len(places) for places in at]
        turned[numpy.ix_(*at)] = counts.reshape(part)
        return turned.transpose(numpy.argsort(self.turn))

    @property
    def fixed(self) -> bool:
        """Whether no observation changes it."""
        return self.table is not None and not self.terms and len(self.base) == 1
