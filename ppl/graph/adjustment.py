"""Adjustment sets: which measured nodes make the effect of an intervention computable from observations.

References:
    | Causality (Pearl, 2nd ed. 2009), definitions 3.3.1 (back-door) and 3.3.3 (front-door)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from ..errors import QueryError

if TYPE_CHECKING:
    import networkx

    from .graph import Graph

__all__ = ["backdoor_sets", "frontdoor_sets"]

#: Up to this many candidates every minimal set is found; beyond, one of them.
CANDIDATES = 14


def backdoor_sets(
    graph: Graph, cause: str, effect: str, measured: Iterable[str] | None
) -> tuple[frozenset[str], ...]:
    """See `Graph.backdoor_sets`."""
    import networkx

    dag, known = _checked(graph, cause, effect, measured)
    cut = dag.copy()
    cut.remove_edges_from(list(dag.out_edges(cause)))
    # Every minimal separator lies among the ancestors of what it separates.
    near = networkx.ancestors(cut, cause) | networkx.ancestors(cut, effect)
    possible = (known & near) - networkx.descendants(dag, cause) - {cause, effect}
    if len(possible) > CANDIDATES:
        found = networkx.find_minimal_d_separator(cut, cause, effect, restricted=possible)
        return () if found is None else (frozenset(found),)

    def closes(some: frozenset[str]) -> bool:
        return networkx.is_d_separator(cut, {cause}, {effect}, set(some))

    return tuple(_minimal(sorted(possible), closes))


def frontdoor_sets(
    graph: Graph, cause: str, effect: str, measured: Iterable[str] | None
) -> tuple[frozenset[str], ...]:
    """See `Graph.frontdoor_sets`."""
    import networkx

    dag, known = _checked(graph, cause, effect, measured)
    between = networkx.descendants(dag, cause) & networkx.ancestors(dag, effect)
    possible = sorted((known & between) - {cause, effect})
    if len(possible) > CANDIDATES:
        raise QueryError(
            f"{len(possible)} measured nodes lie between '{cause}' and '{effect}'; name at most {CANDIDATES} of them with measured=."
        )
    from_cause = dag.copy()
    from_cause.remove_edges_from(list(dag.out_edges(cause)))

    def serves(some: frozenset[str]) -> bool:
        if not some:
            return cause not in networkx.ancestors(dag, effect)
        rest = dag.copy()
        rest.remove_nodes_from(some)
        if networkx.has_path(rest, cause, effect):
            return False  # a directed path goes round
        if not networkx.is_d_separator(from_cause, {cause}, set(some), set()):
            return False  # a back-door path leads from the cause into the set
        from_set = dag.copy()
        from_set.remove_edges_from([e for m in some for e in dag.out_edges(m)])
        return networkx.is_d_separator(from_set, set(some), {effect}, {cause})

    return tuple(_minimal(possible, serves))


def _minimal(candidates: list[str], serves) -> Iterator[frozenset[str]]:
    """The sets that serve and of which no smaller part does, smallest first."""
    found: list[frozenset[str]] = []
    for size in range(len(candidates) + 1):
        for some in map(frozenset, combinations(candidates, size)):
            if not any(other <= some for other in found) and serves(some):
                found.append(some)
                yield some


def _checked(
    graph: Graph, cause: str, effect: str, measured: Iterable[str] | None
) -> tuple[networkx.DiGraph, set[str]]:
    """The DAG, and the nodes that may be used."""
    for name in (cause, effect, *(measured or ())):
        graph[name]
    if cause == effect:
        raise QueryError(f"'{cause}' is both cause and effect.")
    chained = [name for name in graph.nodes if graph.chain_plate(name) is not None]
    if chained:
        raise QueryError(
            f"'{chained[0]}' is a chain; adjustment sets are about nodes with one value. Write the steps that matter as nodes."
        )
    if measured is not None:
        return graph.dag, set(measured)
    seen = {n.name for n in graph.nodes.values() if n.role not in ("latent", "nuisance")}
    return graph.dag, seen - {cause, effect} or set(graph.nodes)
