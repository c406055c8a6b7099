"""The structure of a posterior net: which parameters hold for all data, and which belong to the members of a plate.

Where the members of a plate depend on one another through the global parameters alone, the posterior is p(global | all) × ∏ p(local_i | x_i, global).
"""

from __future__ import annotations

from dataclasses import dataclass

from ppl.compiler import Query

from .factors import group_factor, groups
from .variables import Unsuitable, Variable, closure, parameter

__all__ = ["Local", "Structure", "structure"]


@dataclass(frozen=True, eq=False)
class Local:
    """Parameters of the members of a plate.

    Args:
        plate: The plate.
        parts: The parameters.
        data: The observed nodes of a member that tell of them.
    """

    plate: str
    parts: tuple[Variable, ...]
    data: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Structure:
    """What a posterior net describes.

    Args:
        top: The global parameters.
        local: The local ones, plate by plate.
        shared: Global parameters that nobody asked for, which tie the members of plates together.
    """

    top: tuple[Variable, ...]
    local: tuple[Local, ...]
    shared: tuple[str, ...]

    @property
    def parts(self) -> tuple[Variable, ...]:
        """All parameters."""
        return (*self.top, *(v for one in self.local for v in one.parts))

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters' names."""
        return tuple(v.name for v in self.parts)

    @property
    def size(self) -> int:
        """How many numbers and codes one member of everything takes."""
        return sum(v.size for v in self.parts)


def structure(query: Query) -> Structure:
    """The structure of the posterior of the asked nodes.

    Raises:
        Unsuitable: If one of them has values that no net describes.
    """
    names = closure(query)
    if query.summaries is None:
        found = _by_member(query, names)
        if found is not None:
            return found
    return Structure(tuple(parameter(query, n) for n in names), (), ())


def _by_member(query: Query, names: list[str]) -> Structure | None:
    """With local parameters, where the graph has such; `None` where it has not."""
    graph, facts = query.graph, query.mechanism.facts
    plates = dict.fromkeys(_plate(query, n) for n in names)
    shared: list[str] = []
    for plate in plates:
        if plate is None:
            continue
        inside = [n for n in names if _plate(query, n) == plate]
        data = [e for e in query.evidence if plate in graph[e].plates]
        # Whatever random these hang on outside the plate must be among the parameters.
        above = graph.ancestors_of([*inside, *data])
        more = [
            n
            for n in graph.nodes
            if n in above
            and n in query.free
            and facts[n].kind in ("explicit", "opaque")
            and plate not in graph[n].plates
            and n not in (*names, *shared)
        ]
        try:
            for n in more:
                parameter(query, n)
        except Unsuitable:
            return None
        shared += more
    every = [n for n in graph.nodes if n in {*names, *shared}]
    factors = [group_factor(query, g, set(every))[0] for g in groups(query, set(every))]
    local: list[Local] = []
    for plate in plates:
        if plate is None:
            continue
        inside = [n for n in every if _plate(query, n) == plate]
        touching = [f for f in factors if set(f.parents) & set(inside)]
        if any(f.plate != plate for f in touching) or _tied(query, inside, plate):
            return None
        data = [n for f in touching for n in f.names]
        local.append(Local(plate, tuple(parameter(query, n, plate) for n in inside), tuple(data)))
    if not local:
        return None
    mine = {v.name for one in local for v in one.parts}
    top = tuple(parameter(query, n) for n in every if n not in mine)
    return Structure(top, tuple(local), tuple(shared))


def _plate(query: Query, name: str) -> str | None:
    """The unordered plate whose members have a value of this parameter each."""
    plates = [p for p in query.graph[name].plates if not query.graph.plates[p].ordered]
    lagged = bool(query.graph[name].lags)
    return max(plates, key=lambda p: query.sizes[p]) if plates and not lagged else None


def _tied(query: Query, names: list[str], plate: str) -> bool:
    """Whether other parameters than the members' own hang on these."""
    graph = query.graph
    children = [
        n for n in query.free if set(graph[n].parents) & set(names) and plate not in graph[n].plates
    ]
    return bool(children)
