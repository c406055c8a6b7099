"""Factors: p(data | parameters) as the graph writes it, a product over groups of nodes and over the members of plates.

The parameters are the asked nodes with their random ancestors, and whatever else members of a plate share. Given these the data fall into groups, and a
group in a plate into its members: one small density serves them all, for any number of members. Groups whose density is known are not learned.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod

from backends.kernels.parameters import Parameters, Unmovable
from ppl.compiler import Query

from .variables import member_shape

__all__ = ["DIMENSIONS", "Factor", "Factorisation", "factorise", "group_factor", "groups"]

#: A factor with more numbers than this is no fit for a likelihood (row 7 of the decision table).
DIMENSIONS = 10


@dataclass(frozen=True)
class Factor:
    """A group of observed nodes that are dependent given the parameters.

    Args:
        names: The nodes, or summaries of them.
        plate: The plate over whose members it is a product, or `None`.
        parents: The parameters, known nodes and inputs that it depends on.
        indexed: Whether a body looks at the number of the member.
        explicit: Whether its density is known.
        dimensions: How many numbers one member has.
    """

    names: tuple[str, ...]
    plate: str | None
    parents: tuple[str, ...]
    indexed: bool
    explicit: bool
    dimensions: int


@dataclass(frozen=True, eq=False)
class Factorisation:
    """The data of a component as a product.

    Args:
        parameters: What is sampled.
        factors: The groups.
        shared: Nodes that were not asked for and are sampled all the same, because members of a plate share them.
    """

    parameters: Parameters
    factors: tuple[Factor, ...]
    shared: tuple[str, ...]

    @property
    def learned(self) -> tuple[Factor, ...]:
        """The factors whose density must be learned."""
        return tuple(f for f in self.factors if not f.explicit)


def factorise(query: Query) -> Factorisation:
    """The factors of p(data | parameters).

    Raises:
        Unmovable: If a parameter has no prior density.
    """
    parameters = Parameters(query)
    chosen = set(parameters.names)
    shared: list[str] = []
    # What members share joins the parameters, unless its prior cannot be moved; every addition may bring others.
    for _ in range(len(query.free)):
        factors = [group_factor(query, group, chosen) for group in groups(query, chosen)]
        more = {n for factor, joint in factors if factor.plate is None for n in joint} - chosen
        if not more:
            break
        try:
            parameters = Parameters(query, (*query.ask, *shared, *more))
        except Unmovable:
            break
        shared += sorted(set(parameters.names) - chosen)
        chosen = set(parameters.names)
    factors = [group_factor(query, group, chosen) for group in groups(query, chosen)]
    return Factorisation(parameters, tuple(f for f, _ in factors), tuple(shared))


def _above(query: Query, name: str, chosen: Collection[str]) -> tuple[list[str], list[str]]:
    """Walking up from a node: hidden nodes on the way, and where the walk ends: parameters, known nodes and inputs."""
    graph = query.graph if name in query.graph else query.summaries.mechanism.graph  # type: ignore[union-attr]
    hidden: dict[str, None] = {}
    ends: dict[str, None] = {}
    stack = [name]
    while stack:
        node = graph[stack.pop()]
        for parent in (*node.parents, *node.lags):
            if parent == name:
                continue
            inside = parent in query.free and parent not in chosen
            summed = parent not in query.graph or name not in query.graph
            if (inside or (summed and parent not in chosen and not graph[parent].is_input)) and (
                parent not in hidden
            ):
                hidden[parent] = None
                stack.append(parent)
            elif not inside and parent not in hidden:
                ends[parent] = None
    return list(hidden), list(ends)


def groups(query: Query, chosen: Collection[str]) -> list[tuple[str, ...]]:
    """Compared nodes that share a hidden random node, or depend on one another."""
    names = query.compared
    reach = {n: set(_above(query, n, chosen)[0]) | {n} for n in names}
    for n in names:
        reach[n] |= {e for e in _above(query, n, chosen)[1] if e in names}
    random = {
        n
        for n in {m for r in reach.values() for m in r}
        if n not in query.graph or query.mechanism.facts[n].kind in ("explicit", "opaque")
    }
    groups: list[tuple[set[str], list[str]]] = []
    for name in names:
        mine = reach[name] & random | {name}
        touching = [g for g in groups if g[0] & mine]
        for g in touching:
            groups.remove(g)
            mine |= g[0]
        members = [m for g in touching for m in g[1]]
        groups.append((mine, [*members, name]))
    return [tuple(n for n in names if n in group) for _, group in groups]


def group_factor(
    query: Query, names: tuple[str, ...], chosen: Collection[str]
) -> tuple[Factor, set[str]]:
    """A group as a factor, and the hidden nodes because of which its members are dependent."""
    hidden, ends = [], []
    for name in names:
        h, e = _above(query, name, chosen)
        hidden += h
        ends += e
    hidden, ends = list(dict.fromkeys(hidden)), [e for e in dict.fromkeys(ends) if e not in names]
    facts = query.mechanism.facts
    explicit = all(n in query.graph and facts[n].kind == "explicit" for n in names) and all(
        facts[h].kind == "deterministic" for h in hidden
    )
    plate, shared = None, set[str]()
    if all(n in query.graph for n in names):
        plate, shared = _plate(query, names, hidden)
    dimensions = sum(prod(member_shape(query, n, plate)) for n in names)
    indexed = plate is not None and any(
        edge.kind == "index" and edge.source == plate
        for n in (*names, *hidden)
        for body in query.graph[n].bodies
        for edge in body.parents
    )
    return Factor(names, plate, tuple(ends), indexed, explicit, dimensions), shared


def _plate(query: Query, names: tuple[str, ...], hidden: list[str]) -> tuple[str | None, set[str]]:
    """The plate over whose members the group is a product; or hidden nodes that would have to be parameters for it to be one."""
    graph, facts = query.graph, query.mechanism.facts
    candidates = [p for p in graph[names[0]].plates if not graph.plates[p].ordered]
    candidates.sort(key=lambda p: -query.sizes[p])
    shared: set[str] = set()
    for plate in candidates:
        inside = [n for n in (*names, *hidden) if plate in graph[n].plates]
        if not set(names) <= set(inside):
            continue
        outside = [h for h in hidden if h not in inside and facts[h].kind in ("explicit", "opaque")]
        # A function of members that members depend on ties them together.
        tied = any(
            plate in graph[p].axes and plate not in graph[h].plates
            for h in (*names, *hidden)
            for p in graph[h].parents
            if p in hidden
        )
        if tied:
            continue
        if not outside:
            return plate, set()
        shared |= set(outside)
        break
    return None, shared
