"""A tabular network: labels and conditional tables, what a file of a Bayesian network holds.

Readers make one and turn it into a `Model`; writers get one from any `Model` whose nodes are all finite.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy
from numpy import ndarray

from ..dsl import Model
from ..errors import FormatError, GaltonError, QueryError, closest
from ..graph import Body, Graph, Node, Parent
from ..mechanism import Lookup, probe, read_data
from ..mechanism.tables import NotFinite, Tables, TooLarge

__all__ = ["CELLS", "Family", "Network", "network_of"]

#: The largest table that a reader makes, in cells.
CELLS = 2**27
#: Rows whose sum is off by more than this are refused; by less, renormalised.
OFF = 1e-5
#: Rows whose sum is off by no more than rounding does are not worth a word.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Family:
    """One variable's conditional table.

    Args:
        parents: Names, in the order of the table's axes.
        table: `(*parents, own)`.
        where: `file:line` of its definition.
    """

    parents: tuple[str, ...]
    table: ndarray
    where: str = ""


@dataclass
class Network:
    """Variables with labels, and a family for each.

    Args:
        name: What the file calls it.
        labels: By variable, the labels of its states.
        families: By variable.
    """

    name: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    families: dict[str, Family] = field(default_factory=dict)

    def model(self) -> Model:
        """The network as a model: one latent a variable, with its labels.

        Raises:
            FormatError: If a variable has no table, a row does not sum to one, or the parents form a cycle.

        Warns:
            UserWarning: If rows were renormalised.
        """
        off, rows = 0.0, 0
        nodes: dict[str, Node] = {}
        for name in self._sorted():
            family = self.families[name]
            table, worst, count = self._normalised(name, family)
            off, rows = max(off, worst), rows + count
            edges = tuple(Parent(f"p{i}", parent) for i, parent in enumerate(family.parents))
            body = Body(Lookup(table), edges, where=family.where)
            nodes[name] = Node(
                name, "latent", body=body, states=self.labels[name], where=family.where
            )
        if rows:
            warnings.warn(
                f"{self.name}: {rows} row{'s' if rows > 1 else ''} of probabilities did not sum to one, by up to {off:.1e}, "
                "and were renormalised.",
                stacklevel=3,
            )
        return Model(self.name, Graph(self.name, nodes))

    def _normalised(self, name: str, family: Family) -> tuple[ndarray, float, int]:
        table = family.table
        total = table.sum(axis=-1, keepdims=True)
        off = numpy.abs(total[..., 0] - 1)
        worst = float(off.max())
        if worst > OFF:
            at = numpy.unravel_index(int(off.argmax()), off.shape)
            row = ", ".join(
                f"{p}={self.labels[p][i]}" for p, i in zip(family.parents, at, strict=True)
            )
            raise FormatError(
                f"{family.where}: the probabilities of '{name}'{f' given {row}' if row else ''} sum to {float(total[*at, 0]):.7g}."
            )
        if worst <= ROUNDING:
            return table, worst, 0
        return table / total, worst, int((off > ROUNDING).sum())

    def _sorted(self) -> Iterator[str]:
        """The variables, parents first, otherwise in the order of the file."""
        for name in self.labels:
            if name not in self.families:
                raise FormatError(f"{self.name}: the variable '{name}' has no probabilities.")
        done: set[str] = set()
        for start in self.labels:
            stack, open_ = [start], set()
            while stack:
                name = stack[-1]
                waiting = [p for p in self.families[name].parents if p not in done]
                if name in done:
                    stack.pop()
                elif not waiting:
                    stack.pop()
                    done.add(name)
                    yield name
                elif name in open_:
                    raise FormatError(
                        f"{self.families[name].where}: '{name}' is its own ancestor, by way of '{waiting[0]}'; a Bayesian "
                        "network has no cycle."
                    )
                else:
                    open_.add(name)
                    stack.extend(waiting)


def network_of(model: Model) -> Network:
    """Any finite model as a network; members of a plate become variables `name[0]`, `name[1]`, …

    Raises:
        QueryError: If a node is not finite or has no density, or inputs or sizes are missing.
    """
    graph = model.graph
    try:
        mechanism = probe(graph, read_data(graph, {}), record=False)
    except GaltonError as error:
        raise QueryError(f"{graph.name} cannot be written: {error}") from error
    tables, network = Tables(mechanism), Network(graph.name)
    try:
        for node in graph.nodes.values():
            for part in ("start", "body") if node.start is not None else ("body",):
                _add(network, tables, node, part)
    except (NotFinite, TooLarge) as error:
        raise QueryError(f"{graph.name} cannot be written as a network: {error}.") from error
    return network


def _add(network: Network, tables: Tables, node: Node, part: str) -> None:
    """The members that one body serves, as variables."""
    domain = tables.domain(node.name)
    names = [str(v) for v in domain.tolist()]
    if node.states is not None and domain.dim() == 1 and not domain.is_floating_point():
        names = [
            str(node.states[v]) if 0 <= v < len(node.states) else str(v) for v in domain.tolist()
        ]
    probabilities = tables.probabilities(node, part)
    contexts = tables.context(node, part)[0].tolist()
    members = tables.members(node, part)
    parents = [
        [_written(slot.edge.source, at) for at in tables.cells(node, slot, members).tolist()]
        for slot in tables.slots(node, part)
    ]
    for m, (at, context) in enumerate(zip(members.tolist(), contexts, strict=True)):
        own, scope = _written(node.name, at), tuple(found[m] for found in parents)
        if len(set(scope)) < len(scope):
            raise QueryError(f"{network.name} cannot be written: '{own}' has one parent twice.")
        network.labels[own] = tuple(names)
        network.families[own] = Family(scope, probabilities[context])


def _written(name: str, at: Sequence[int]) -> str:
    return name + "".join(f"[{i}]" for i in at)


def index_of(label: str, places: Mapping[str, int], owner: str, where: str) -> int:
    """The position of a label, or an error that names the nearest one."""
    if label not in places:
        raise FormatError(f"{where}: '{owner}' has no state '{label}'.{closest(label, places)}")
    return places[label]


def room(sizes: list[int], name: str, where: str) -> int:
    """The cells of a table, refused before they are allocated."""
    cells = prod(sizes)
    if cells > CELLS:
        raise FormatError(
            f"{where}: the table of '{name}' would have {cells:,} cells; {CELLS:,} is the limit."
        )
    return cells
