"""The layout of a density: what each node of a component is, and over which finite variables each of its factors is a table.

Every node of the component is one of these:

- **seen**: observed, or set, or an input: its value is known;
- **free**: continuous and not observed: its value comes with every evaluation;
- **finite**: unobserved with finitely many values: summed out (or, where that is not wanted, it comes with every evaluation too);
- **value**: a function of the above but the finite ones;
- **through**: a function of finite and of free nodes, evaluated at every value of the finite ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

import numpy
from numpy import ndarray
from torch import Tensor

from ppl.compiler import Query
from ppl.graph import Body, Node, Parent
from ppl.mechanism import Data, forward
from ppl.mechanism.mechanism import Window
from ppl.mechanism.tables import NotFinite, Slot, Tables, TooLarge

__all__ = ["Family", "Layout", "NotExplicit"]

#: Draws of the continuous nodes at which finite domains are looked for.
PILOT = 2
#: The largest table of one family, for one evaluation.
LARGEST = 2**22


class NotExplicit(Exception):
    """The density cannot be written down, or its finite part cannot be summed out; the reason is the message.

    Args:
        reason: In words.
        remedy: What change to the model would help.
        finite: Whether only the finite part is in the way.
    """

    def __init__(self, reason: str, remedy: str = "", finite: bool = False):
        super().__init__(reason)
        self.remedy, self.finite = remedy, finite


@dataclass(frozen=True, eq=False)
class Enumerated:
    """A finite variable beside each member of a family.

    Args:
        slot: Where the body finds it: an edge, and coordinates where the body sees many members at once.
        source: The node that it belongs to.
        cells: Flat positions in that node's grid, one for each member.
    """

    slot: Slot
    source: str
    cells: ndarray


@dataclass(frozen=True, eq=False)
class Family:
    """One body of one node over the members that it serves.

    Args:
        node: The node.
        part: `"body"` or `"start"`.
        body: Its function.
        window: The members of a chain that it serves.
        slots: The finite variables that its value or density depends on, each an axis of its table.
        axes: For each edge that is looked through: which of `slots` each axis of what it is looked through has become.
        members: Flat positions of the members in the node's grid.
        grid: The sizes of its plates, as far as it serves them.
        own: Whether the node itself is finite: then its values are the table's last axis.
        scored: Whether it contributes to the density; a function does not.
    """

    node: Node
    part: str
    body: Body
    window: Window | None
    slots: tuple[Enumerated, ...]
    axes: Mapping[Parent, tuple[int, ...]]
    members: ndarray
    grid: tuple[int, ...]
    own: bool
    scored: bool


class Layout:
    """What each node is, and the families of its factors.

    Args:
        query: The component.
        data: One observation.
        summed: Whether finite nodes are summed out, rather than given values.

    Raises:
        NotExplicit: If a density is not known, or the finite part cannot be laid out.
    """

    def __init__(self, query: Query, data: Data, summed: bool = True):
        self.query, self.graph, self.mechanism = query, query.graph, query.mechanism
        self.data, self.summed = data, summed
        self.kinds: dict[str, str] = {}
        self.seen: dict[str, Tensor] = {}
        self.present: dict[str, Tensor] = {}  # masks of observed nodes with gaps
        for node in self.graph.nodes.values():
            self.kinds[node.name] = self._kind(node)
        self.pilot = self._pilot()
        self.tables = Tables(
            self.mechanism,
            {n: v for n, v in self.pilot.items() if self.kinds.get(n) in ("seen", "free", "value")},
            by_value=True,
            cuts=query.cuts,
        )
        self.families: dict[tuple[str, str], Family] = {}
        try:
            for node in self.graph.nodes.values():
                for family in self._families(node):
                    self.families[node.name, family.part] = family
        except (NotFinite, TooLarge) as error:
            raise NotExplicit(str(error), finite=True) from error
        self._number()
        for family in self.families.values():
            size = prod(family.grid) * prod(self.cards(family))
            size *= len(self.domains[family.node.name]) if family.own else 1
            if family.scored and size > LARGEST:
                raise NotExplicit(
                    f"tabulating '{family.node.name}' takes 2^{log2(size):.0f} combinations of its parents",
                    "Let fewer parents meet in one node, for instance by a running sum.",
                    finite=True,
                )

    # -- what each node is -----------------------------------------------------------------------

    def _kind(self, node: Node) -> str:
        name, facts = node.name, self.mechanism.facts[node.name]
        if node.is_input:
            return "seen"
        if facts.kind == "opaque" and name in self.query.free + self.query.evidence:
            raise NotExplicit(
                f"'{name}' is a simulator without a density",
                "Return a distribution instead of a value, and the density is known.",
            )
        if name in self.query.given and name in self.data.observed:
            there = self.data.present[name]
            if bool(there.all()):
                self.seen[name] = self.data.observed[name]
                return "seen"
            self.present[name] = there
            seen_by = (*self.graph.children(name), *(n for n in node.lags if n == name))
            if not seen_by and name not in self.query.ask:
                # Nothing depends on the missing cells: they integrate to one.
                self.seen[name] = self.data.observed[name]
                return "seen"
            if not facts.finite and facts.event_shape:
                raise NotExplicit(
                    f"'{name}' has vectors as values, of which some are missing",
                    "Declare its entries as a plate.",
                )
        if facts.kind == "explicit":
            if facts.discrete and not facts.finite and name not in self.query.cuts:
                raise NotExplicit(
                    f"'{name}' has countably many values ({facts.family})",
                    "Bound it: Truncated(..., high=).",
                    finite=True,
                )
            return "finite" if facts.discrete else "free"
        return self._function(node)

    def _function(self, node: Node) -> str:
        """What a function of other nodes is, by what these are."""
        above = {self.kinds[p] for p in node.parents if p in self.kinds}
        inside = {self.kinds.get(p, "chain") for p in node.lags} - {"chain"}
        kinds = above | inside
        if not self.summed or not kinds & {"finite", "through"}:
            return "value"
        if not kinds & {"free", "value", "through"} or self._countable(node):
            return "finite"
        if node.lags:
            raise NotExplicit(
                f"'{node.name}' carries a continuous value along a chain that depends on finite nodes",
                "Make it a function of the finite nodes' own values.",
                finite=True,
            )
        return "through"

    def _countable(self, node: Node) -> bool:
        """Whether a function below constants and finite nodes is itself one of finitely many values."""
        return all(
            self.kinds[p] in ("seen", "finite") or (self.kinds[p] == "value" and not self._moves(p))
            for p in (*node.parents, *node.lags)
            if p in self.kinds
        )

    def _moves(self, name: str) -> bool:
        """Whether a value depends on anything that is not known."""
        above = self.graph.ancestors_of(name)
        return any(self.kinds.get(p) in ("free", "finite") for p in above)

    def _pilot(self) -> dict[str, Tensor]:
        """A few draws of everything, with what is seen as it is."""
        fixed = {**{n: v for n, v in self.data.inputs.items() if n in self.graph}, **self.seen}
        drawn = forward(self.mechanism, PILOT, self.query.seed, fixed=fixed)
        return drawn.values

    # -- families --------------------------------------------------------------------------------

    def _families(self, node: Node):
        kind, name = self.kinds[node.name], node.name
        if node.is_input or (kind == "seen" and name not in self.query.evidence):
            return
        facts = self.mechanism.facts[name]
        for part in ("start", "body") if node.start is not None else ("body",):
            body = node.start if part == "start" else node.body
            if body is None:
                continue
            window = self.tables.window(node, part)
            coordinates = self.tables.members(node, part)
            if not len(coordinates):
                continue
            slots, axes = self._slots(node, body, part, coordinates)
            grid = tuple(self.mechanism.sizes[p] for p in node.plates)
            members = (
                numpy.ravel_multi_index(tuple(coordinates.T), grid) if grid else numpy.zeros(1, int)
            )
            scored = facts.kind == "explicit" or kind in ("seen", "finite")
            own = kind == "finite" and self.summed
            mine = self.mechanism.shape(node, 1, window)[1:]
            yield Family(node, part, body, window, slots, axes, members, mine, own, scored)

    def _slots(
        self, node: Node, body: Body, part: str, coordinates: ndarray
    ) -> tuple[tuple[Enumerated, ...], dict[Parent, tuple[int, ...]]]:
        """The finite variables that a body looks at, itself or through functions."""
        if not self.summed:
            return (), {}
        found: list[Enumerated] = []
        for slot in self.tables.slots(node, part):
            source = slot.edge.source
            if self.kinds[source] == "finite":
                cells = self._cells(node, slot, coordinates)
                found.append(Enumerated(slot, source, cells))
        self._distinct(node, found)
        axes = {}
        for edge in body.parents:
            if edge.kind == "index" or self.kinds.get(edge.source) != "through":
                continue
            axes[edge] = tuple(self._through(node, edge, coordinates, found))
        return tuple(found), axes

    def _through(self, node: Node, edge: Parent, coordinates: ndarray, found: list[Enumerated]):
        """The axes of a function that is looked through, as places among `found`, which grows."""
        other = self.graph[edge.source]
        if self.tables.extra_plates(node, edge):
            raise NotExplicit(
                f"'{node.name}' sees all members of '{edge.source}', a function of finite and continuous nodes",
                finite=True,
            )
        inner = self.families[other.name, "body"]
        grid = tuple(self.mechanism.sizes[p] for p in other.plates)
        at = self.tables.cells(node, Slot(edge), coordinates)
        flat = numpy.ravel_multi_index(tuple(at.T), grid) if grid else numpy.zeros(len(at), int)
        for variable in inner.slots:
            cells = variable.cells[flat]
            same = [
                i
                for i, e in enumerate(found)
                if e.source == variable.source and (e.cells == cells).all()
            ]
            if not same:
                found.append(Enumerated(variable.slot, variable.source, cells))
            yield same[0] if same else len(found) - 1

    def _cells(self, node: Node, slot: Slot, coordinates: ndarray) -> ndarray:
        at = self.tables.cells(node, slot, coordinates)
        grid = tuple(self.mechanism.sizes[p] for p in self.graph[slot.edge.source].axes)
        return numpy.ravel_multi_index(tuple(at.T), grid) if grid else numpy.zeros(len(at), int)

    def _distinct(self, node: Node, found: Sequence[Enumerated]) -> None:
        for i, one in enumerate(found):
            for other in found[:i]:
                if one.source == other.source and (one.cells == other.cells).any():
                    raise NotExplicit(
                        f"'{node.name}' looks at one member of '{one.source}' in two ways",
                        finite=True,
                    )

    # -- finite variables ------------------------------------------------------------------------

    def _number(self) -> None:
        """Number the finite variables, a block for each node."""
        self.first: dict[str, int] = {}
        self.domains: dict[str, Tensor] = {}
        self.sizes: list[int] = []
        if not self.summed:
            return
        for name, kind in self.kinds.items():
            if kind == "finite":
                try:
                    self.domains[name] = self.tables.domain(name)
                except (NotFinite, TooLarge) as error:
                    raise NotExplicit(str(error), finite=True) from error
                self.first[name] = len(self.sizes)
                grid = prod(self.mechanism.sizes[p] for p in self.graph[name].axes)
                self.sizes += [len(self.domains[name])] * grid

    def scopes(self, family: Family) -> list[tuple[int, ...]]:
        """The variables of a family's factors, member by member, in the order of the table's axes."""
        columns = [self.first[e.source] + e.cells for e in family.slots]
        if family.own:
            columns.append(self.first[family.node.name] + family.members)
        if not columns:
            return [()] * len(family.members)
        return [tuple(row) for row in numpy.stack(columns, axis=1).tolist()]

    def cards(self, family: Family) -> tuple[int, ...]:
        """The number of values of each slot."""
        return tuple(len(self.domains[e.source]) for e in family.slots)

    @property
    def free(self) -> list[str]:
        """The continuous nodes whose values come with every evaluation, parents first."""
        return [name for name, kind in self.kinds.items() if kind == "free"]
