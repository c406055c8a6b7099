"""Passes: from what the user asked to independent components that engines can judge.

Each takes values and returns new ones: resolve what is asked, prune what cannot matter, split what is independent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch

from ..errors import QueryError, closest
from ..graph import Graph, Node
from ..mechanism import Data, Facts, Mechanism
from ..mechanism.laws import fixed_support, seems_fixed
from .query import Query

__all__ = ["Pruned", "check_observation", "merged", "prune", "resolve_ask", "split"]


@dataclass(frozen=True)
class Pruned:
    """A node that was left out, and why."""

    name: str
    reason: str


def resolve_ask(
    graph: Graph, of: Collection[str] | str | None, given: Collection[str], partial: Collection[str]
) -> tuple:
    """The nodes that the answer is about: what was asked, or what the roles say.

    Raises:
        QueryError: For an unknown node, an input, a node that is given already, or when nothing is left to ask.
    """
    known = set(given) - set(partial)
    if of is not None:
        names = (of,) if isinstance(of, str) else tuple(dict.fromkeys(of))
        for name in names:
            node = graph.nodes.get(name)
            if node is None:
                raise QueryError(
                    f"of= asks for '{name}', which {graph.name} has not.{closest(name, graph.nodes)}"
                )
            if node.is_input:
                raise QueryError(
                    f"of= asks for '{name}', which is an input: it is known, never inferred."
                )
            if node.outputs:
                raise QueryError(
                    f"of= asks for the group '{name}'; ask for one of {name}.{{{', '.join(node.outputs)}}}."
                )
            if name in known:
                raise QueryError(f"of= asks for '{name}', which the observation gives.")
        if not names:
            raise QueryError("of= is empty: name at least one node.")
        return names
    for role in ("theta", "latent", "nuisance", "observed", "deterministic"):
        names = tuple(
            n.name
            for n in graph.nodes.values()
            if n.role == role
            and n.name not in known
            and not n.outputs
            and n.intervened not in ("value", "policy")
        )
        if names:
            return names
    raise QueryError(f"Everything in {graph.name} is given; there is nothing to infer.")


def prune(graph: Graph, ask: Collection[str], given: Collection[str]) -> tuple[Graph, list[Pruned]]:
    """Without the nodes that nothing asked for or given depends on."""
    useful = graph.ancestors_of({*ask, *given})
    gone = [
        Pruned(name, "barren: nothing asked or given depends on it")
        for name in graph.nodes
        if name not in useful
    ]
    return graph.subgraph(useful), gone


def check_observation(graph: Graph, mechanism: Mechanism, data: Data) -> Data:
    """The observation in the dtype of each node, its shape and support checked.

    Raises:
        QueryError: For a wrong event shape, a fraction where whole numbers are, or a value outside the support.
    """
    observed = dict(data.observed)
    for name, value in observed.items():
        node, facts = graph[name], mechanism.facts[name]
        if _plainly_inside(value, node, facts):
            continue
        event = tuple(value.shape[1 + len(node.axes) :])
        if event != facts.event_shape:
            raise QueryError(
                f"'{name}' has values of shape {facts.event_shape}; the observation has {event}"
                + (" after its plates." if node.axes else ".")
            )
        there = data.present[name]
        shown = value[there]
        if facts.discrete and value.is_floating_point():
            if bool((shown != shown.round()).any()):
                wrong = shown[shown != shown.round()].reshape(-1)[0]
                raise QueryError(
                    f"'{name}' takes whole numbers; it was observed as {float(wrong):g}."
                )
            observed[name] = value = torch.nan_to_num(value).round().to(torch.int64)
            shown = value[there]
        if not facts.discrete and not value.is_floating_point():
            observed[name] = value = value.to(torch.float64)
            shown = value[there]
        if value.is_floating_point() and not bool(torch.isfinite(shown).all()):
            raise QueryError(f"'{name}' was observed as infinite.")
        if (
            facts.kind == "explicit"
            and facts.support is not None
            and shown.numel()
            and seems_fixed(facts.support)
            and not bool((inside := facts.support.check(shown)).all())
            and fixed_support(mechanism, name)
        ):
            rows = inside.reshape((len(shown), -1)).all(-1)
            listed = shown.reshape((len(shown), -1))[~rows][0].tolist()
            text = listed[0] if len(listed) == 1 else listed
            raise QueryError(
                f"'{name}' was observed as {text}, which is outside its support ({_constraint(facts.support)})."
            )
        if node.states is not None and facts.discrete and bool((shown >= len(node.states)).any()):
            raise QueryError(
                f"'{name}' has {len(node.states)} states, numbered from 0; it was observed as {int(shown.max())}."
            )
    return replace(data, observed=observed)


def _plainly_inside(value: torch.Tensor, node: Node, facts: Facts) -> bool:
    """Whether this is one whole number of a node with finitely many, and among them: then nothing else need be looked at."""
    if value.shape != (1,) or not facts.finite or facts.event_shape or value.is_floating_point():
        return False
    low, high = (getattr(facts.support, name, None) for name in ("lower_bound", "upper_bound"))
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    return low <= int(value) <= high and (node.states is None or int(value) < len(node.states))


def _constraint(support) -> str:
    """A support in words."""
    low, high = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    bounds = [float(torch.as_tensor(b).reshape(-1)[0]) for b in (low, high) if b is not None]
    whole = "whole numbers " if getattr(support, "is_discrete", False) else ""
    if len(bounds) == 2:
        return f"{whole}from {bounds[0]:g} to {bounds[1]:g}"
    if bounds:
        return f"{whole}{'at least' if low is not None else 'at most'} {bounds[0]:g}"
    return str(support)[:80]


def split(query: Query) -> tuple[list[Query], list[Pruned]]:
    """Independent components given what is observed, and the nodes that are d-separated from everything asked.

    Free nodes belong together when they share a child, a parent or an edge in the moral graph from which fully observed nodes are removed. A
    component without asked nodes matters only for the evidence.
    """
    graph = query.graph
    known = (set(query.given) - query.partial) | {
        n.name for n in graph.nodes.values() if n.is_input or n.intervened == "value"
    }
    group = {name: name for name in graph.nodes if name not in known}

    def root(name: str) -> str:
        while group[name] != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    families = {
        n.name: [p for p in dict.fromkeys((n.name, *n.parents, *n.lags)) if p in group]
        for n in graph.nodes.values()
    }
    for family in families.values():
        for other in family[1:]:
            group[root(other)] = root(family[0])
    components: dict[str, list[str]] = {}
    for name in group:
        components.setdefault(root(name), []).append(name)
    queries, gone = [], []
    loose = [
        name
        for name in query.given
        if name in graph and not families[name] and name not in query.partial
    ]
    for names in [*components.values(), *([[]] if loose else [])]:
        free = tuple(names)
        evidence = tuple(
            e
            for e in query.given
            if e in graph and (set(families[e]) & set(free) if free else e in loose)
        )
        involved = dict.fromkeys(
            p for n in (*free, *evidence) for p in (*graph[n].parents, *graph[n].lags)
        )
        clamped = tuple(
            p
            for p in involved
            if p in known and p not in evidence and not graph[p].is_input and p in query.given
        )
        needed = {*free, *evidence, *involved}
        needed |= graph.ancestors_of(
            [p for p in needed if graph[p].is_input or graph[p].intervened == "value"]
        )
        ask = tuple(name for name in query.ask if name in free)
        if not ask and free:
            gone += [
                Pruned(name, "d-separated from everything asked, given the observation")
                for name in free
            ]
        queries.append(
            replace(
                query,
                graph=graph.subgraph(needed),
                free=free,
                evidence=evidence,
                clamped=clamped,
                ask=ask,
                task="posterior" if ask else "evidence",
            )
        )
    return queries, gone


def merged(queries: list[Query], whole: Graph) -> Query:
    """Components as one query, for an engine that takes them together as cheaply as one by one."""
    if len(queries) == 1:
        return queries[0]
    names = {name for q in queries for name in q.graph.nodes}

    def joined(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for part in parts for name in part))

    ask = joined([q.ask for q in queries])
    return replace(
        queries[0],
        graph=whole.subgraph(names),
        free=joined([q.free for q in queries]),
        evidence=joined([q.evidence for q in queries]),
        clamped=joined([q.clamped for q in queries]),
        ask=ask,
        task="posterior" if ask else "evidence",
    )
