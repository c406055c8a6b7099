"""The graph: the explicit DAG that a model's functions are.

Chains are one node with a lag: the edge from a node to its own next member is kept apart from the edges of the DAG, and
`networkx` answers Pearl's questions on as many slices of the chain as the answer needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import QueryError, closest
from .node import Node, Plate

if TYPE_CHECKING:
    import networkx

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and plates, every parent before its children.

    Args:
        name: The model's name.
        nodes: The nodes by name, in an order in which they can be drawn.
        plates: The plates by name, in order of declaration.

    Example:
        >>> import ppl
        >>> from ppl.distributions import Bernoulli
        >>> wet = ppl.Model("wet")
        >>> @wet.latent
        ... def rain(): return Bernoulli(0.3)
        >>> @wet.observed
        ... def grass(rain): return Bernoulli([0.1, 0.9][rain])
        >>> wet.graph.parents("grass")
        ('rain',)
        >>> wet.graph.d_separated("rain", "grass")
        False
    """

    name: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    plates: Mapping[str, Plate] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        if name not in self.nodes:
            raise QueryError(f"{self.name} has no node '{name}'.{closest(name, self.nodes)}")
        return self.nodes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __iter__(self):
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def _repr_html_(self) -> str:
        from ..html import printed
        from .story import story

        return printed(story(self))

    # -- making another graph --------------------------------------------------------------------

    def with_node(self, node: Node) -> Graph:
        """This graph with one more node."""
        return replace(self, nodes={**self.nodes, node.name: node})

    def with_plate(self, plate: Plate) -> Graph:
        """This graph with one more plate."""
        return replace(self, plates={**self.plates, plate.name: plate})

    def subgraph(self, names: Iterable[str]) -> Graph:
        """Only these nodes; the caller sees to it that no parent is missing."""
        keep = set(names)
        return replace(
            self, nodes={name: node for name, node in self.nodes.items() if name in keep}
        )

    def sorted(self) -> Graph:
        """The same nodes with every parent before its children, otherwise in the order they had."""
        import networkx

        position = {name: i for i, name in enumerate(self.nodes)}
        order = networkx.lexicographical_topological_sort(self.dag, key=position.__getitem__)
        return replace(self, nodes={name: self.nodes[name] for name in order})

    # -- Pearl's questions -----------------------------------------------------------------------

    @cached_property
    def dag(self) -> networkx.DiGraph:
        """The edges within one member, as a networkx graph whose nodes are names."""
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(self.nodes)
        graph.add_edges_from(
            (p, n.name) for n in self.nodes.values() for p in n.parents if p in self.nodes
        )
        return graph

    @cached_property
    def _flow(self) -> Mapping[str, tuple[str, ...]]:
        """Whom each node depends on, in this member or the one before."""
        return {
            name: tuple(p for p in dict.fromkeys(node.parents + node.lags) if p in self.nodes)
            for name, node in self.nodes.items()
        }

    @cached_property
    def _children(self) -> Mapping[str, tuple[str, ...]]:
        children: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, parents in self._flow.items():
            for parent in parents:
                children[parent].append(name)
        return {name: tuple(found) for name, found in children.items()}

    def parents(self, name: str) -> tuple[str, ...]:
        """The nodes that the body of this node asks for, within one member."""
        return tuple(p for p in self[name].parents if p in self.nodes)

    def children(self, name: str) -> tuple[str, ...]:
        """The nodes whose bodies ask for this one, in this member or the next."""
        self[name]
        return tuple(child for child in self._children[name] if child != name)

    def ancestors_of(self, names: Iterable[str] | str) -> set[str]:
        """These nodes and everything they depend on."""
        return self._reach(names, self._flow)

    def descendants_of(self, names: Iterable[str] | str) -> set[str]:
        """These nodes and everything that depends on them."""
        return self._reach(names, self._children)

    def _reach(self, names: Iterable[str] | str, edges: Mapping[str, tuple[str, ...]]) -> set[str]:
        stack = [names] if isinstance(names, str) else list(names)
        found: set[str] = set()
        while stack:
            name = stack.pop()
            if name not in found:
                self[name]
                found.add(name)
                stack.extend(edges[name])
        return found

    def markov_blanket(self, name: str) -> set[str]:
        """Parents, children, and the children's other parents: all that this node needs to know."""
        blanket = set(self._flow[self[name].name]) | set(self._children[name])
        for child in self._children[name]:
            blanket |= set(self._flow[child])
        return blanket - {name}

    def d_separated(
        self, a: Iterable[str] | str, b: Iterable[str] | str, given: Iterable[str] | str = ()
    ) -> bool:
        """Whether every path between `a` and `b` is blocked by `given` (Pearl 1988).

        A node in a plate stands for all its members. Nodes that are asked about on both sides, or that are given, are
        separated from nothing new: they are left out of `a` and `b`.
        """
        import networkx

        sides = [{x} if isinstance(x, str) else set(x) for x in (a, b, given)]
        left, right, known = sides[0] - sides[2], sides[1] - sides[2], sides[2]
        if left & right:
            return False
        for name in left | right | known:
            self[name]
        if not left or not right:
            return True
        sliced = self._sliced()
        copies: dict[str, set] = {name: set() for name in self.nodes}
        for copy in sliced:
            copies[copy[0]].add(copy)
        return networkx.is_d_separator(
            sliced, *({c for name in side for c in copies[name]} for side in (left, right, known))
        )

    def backdoor_sets(
        self, cause: str, effect: str, measured: Iterable[str] | None = None
    ) -> tuple[frozenset[str], ...]:
        """Sets Z for which p(effect | do(cause)) = sum over z of p(effect | cause, z) p(z): Pearl's back-door criterion.

        Args:
            cause: What would be set.
            effect: What is asked about.
            measured: The nodes that may be adjusted for; by default all but latent and nuisance nodes, or all where there are no
                others.

        Returns:
            The minimal sets, smallest first; an empty set means that nothing confounds, no set at all that this criterion cannot
            help. Where more than 14 nodes could serve, one minimal set.

        Raises:
            QueryError: For unknown nodes, or chains.
        """
        from .adjustment import backdoor_sets

        return backdoor_sets(self, cause, effect, measured)

    def frontdoor_sets(
        self, cause: str, effect: str, measured: Iterable[str] | None = None
    ) -> tuple[frozenset[str], ...]:
        """Sets M through which all of the effect goes, p(effect | do(cause)) = sum over m of p(m | cause) times the sum over x of
        p(effect | x, m) p(x): Pearl's front-door criterion.

        Arguments and errors are those of `backdoor_sets`.

        Returns:
            The minimal sets, smallest first.
        """
        from .adjustment import frontdoor_sets

        return frontdoor_sets(self, cause, effect, measured)

    def _sliced(self) -> networkx.DiGraph:
        """The DAG with enough slices of each chain that every blocked or open path shows."""
        import networkx

        chained = {n for n in self.nodes if self.chain_plate(n) is not None}
        slices = len(chained) + 2 if chained else 1
        graph = networkx.DiGraph()
        for name, node in self.nodes.items():
            for t in range(slices if name in chained else 1):
                graph.add_node((name, t))
                for p in self.parents(name):
                    for s in (
                        (t,)
                        if name in chained and p in chained
                        else range(slices if p in chained else 1)
                    ):
                        graph.add_edge((p, s), (name, t))
                for p in node.lags:
                    if t and p in self.nodes:
                        graph.add_edge((p, t - 1), (name, t))
        return graph

    # -- chains ----------------------------------------------------------------------------------

    def chain_plate(self, name: str) -> str | None:
        """The ordered plate along which this node, or a node of its stratum, looks back."""
        return self._chains.get(name)

    @cached_property
    def _chains(self) -> dict[str, str]:
        chains: dict[str, str] = {}
        for group in self.strata:
            lagging = [n for n in group if self.nodes[n].lags]
            if lagging:
                ordered = [p for p in self.nodes[lagging[0]].plates if self.plates[p].ordered]
                chains.update(dict.fromkeys(group, ordered[-1]))
        return chains

    @cached_property
    def strata(self) -> tuple[tuple[str, ...], ...]:
        """Groups of nodes in drawing order; a group of several, or one that lags itself, is drawn member by member."""
        import networkx

        if not any(node.lags for node in self.nodes.values()):
            return tuple((name,) for name in self.nodes)
        graph = networkx.DiGraph(
            [(p, name) for name, parents in self._flow.items() for p in parents]
        )
        graph.add_nodes_from(self.nodes)
        position = {name: i for i, name in enumerate(self.nodes)}
        condensed = networkx.condensation(graph)
        groups = {
            c: sorted(condensed.nodes[c]["members"], key=position.__getitem__) for c in condensed
        }
        order = networkx.lexicographical_topological_sort(
            condensed, key=lambda c: position[groups[c][0]]
        )
        return tuple(tuple(groups[c]) for c in order)
