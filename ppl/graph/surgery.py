"""Surgery on graphs: `do` cuts edges, `include` copies a graph into another, `counterfactual` makes the twin network.

References:
    | Causality, chapters 3 and 7 (Pearl, 2009)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from ..errors import ModelError, QueryError, closest
from .graph import Graph
from .node import Body, Node, Parent

__all__ = ["counterfactual", "include", "intervene"]


def intervene(graph: Graph, interventions: Mapping[str, Any]) -> Graph:
    """The graph in which these nodes are set from outside: Pearl's do.

    A constant or a policy makes the node deterministic, a distribution gives it a new mechanism without parents. The
    edges that are cut are remembered for the picture.
    """
    for name, mechanism in interventions.items():
        node = graph[name]
        if node.outputs:
            raise QueryError(
                f"'{name}' is a group; intervene on one of {', '.join(f'{name}.{o}' for o in node.outputs)}."
            )
        graph = replace(graph, nodes={**graph.nodes, name: _set(graph, node, mechanism)})
    return graph.sorted()


def _set(graph: Graph, node: Node, mechanism: Any) -> Node:
    where = f"do({node.name})"
    if callable(mechanism) and not hasattr(mechanism, "log_prob"):
        parents = []
        downstream = graph.descendants_of(node.name)
        for argument in inspect.signature(mechanism).parameters.values():
            if argument.default is not argument.empty:
                continue
            if argument.name in node.plates:
                parents.append(Parent(argument.name, argument.name, "index"))
                continue
            if argument.name not in graph:
                raise QueryError(
                    f"The policy for '{node.name}' looks at '{argument.name}', which {graph.name} has not."
                    f"{closest(argument.name, graph.nodes)}"
                )
            if argument.name in downstream:
                raise QueryError(
                    f"The policy for '{node.name}' looks at '{argument.name}', which depends on '{node.name}' itself."
                )
            parents.append(Parent(argument.name, argument.name))
        body, how = Body(mechanism, tuple(parents), where=where), "policy"
    elif hasattr(mechanism, "log_prob"):
        body, how = Body(lambda: mechanism, where=where), "soft"
    else:
        body, how = _constant(node, mechanism, where), "value"
    kept = {p.source for p in body.parents}
    cut = tuple(
        p for p in dict.fromkeys(node.parents + node.lags) if p not in kept and not node.is_input
    )
    return replace(
        node,
        body=body,
        start=None,
        intervened=how,
        cut=cut,
        outputs=(),
        picks=None,
        over=None,
        plates=node.axes,
    )


def _constant(node: Node, value: Any, where: str) -> Body:
    """A body that gives the constant, or the member's own of one value a member."""
    labels = list(node.states or ())
    if isinstance(value, str):
        if value not in labels:
            raise QueryError(
                f"do({node.name}={value!r}): there is no such state.{closest(value, labels)}"
            )
        value = labels.index(value)
    if isinstance(value, list | tuple) and any(isinstance(item, str) for item in value):
        unknown = [item for item in value if item not in labels]
        if unknown:
            raise QueryError(
                f"do({node.name}=...): no state {unknown[0]!r}.{closest(unknown[0], labels)}"
            )
        value = [labels.index(item) for item in value]
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise QueryError(
            f"do({node.name}={value!r}): that is no number, array, function or distribution."
        ) from error
    tensor = tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64)
    if bool(torch.isnan(tensor).any()):
        raise QueryError(f"do({node.name}=...) has a NaN.")
    axes = node.axes
    if not axes or tensor.dim() < len(axes):
        return Body(lambda: tensor, where=where)
    edges = tuple(Parent(f"member{i}", plate, "index") for i, plate in enumerate(axes))

    def member(**index: int) -> torch.Tensor:
        return tensor[tuple(index[f"member{i}"] for i in range(len(axes)))]

    return Body(member, edges, where=where)


def include(graph: Graph, other: Graph, prefix: str, bindings: Mapping[str, str]) -> Graph:
    """`graph` with the nodes of `other` as `prefix.name`; bound ones are replaced by nodes of `graph`."""
    for inner, outer in bindings.items():
        if inner not in other:
            raise ModelError(
                f"include: {other.name} has no node '{inner}'.{closest(inner, other.nodes)}"
            )
        if outer not in graph:
            raise ModelError(
                f"include: {graph.name} has no node '{outer}' to bind '{inner}' to.{closest(outer, graph.nodes)}"
            )
    plates = {name: f"{prefix}.{name}" for name in other.plates}
    for inner, outer in bindings.items():
        mine, theirs = graph[outer].axes, other[inner].axes
        if len(theirs) != len(mine):
            raise ModelError(
                f"include: '{outer}' has {len(mine)} plates and '{inner}' has {len(theirs)}; they cannot be one node."
            )
        plates.update(zip(theirs, mine, strict=True))
    names = {name: bindings.get(name, f"{prefix}.{name}") for name in other.nodes}
    for plate in other.plates.values():
        if plates[plate.name] not in graph.plates:
            copy = replace(plate, name=plates[plate.name], of=tuple(plates[p] for p in plate.of))
            graph = graph.with_plate(copy)
    for node in other.nodes.values():
        if node.name in bindings:
            continue
        if names[node.name] in graph:
            raise ModelError(f"include: {graph.name} already has a node '{names[node.name]}'.")
        graph = graph.with_node(_renamed(node, names, plates))
    return graph


def _renamed(node: Node, names: Mapping[str, str], plates: Mapping[str, str]) -> Node:
    def body(old: Body | None) -> Body | None:
        if old is None:
            return None
        edges = tuple(
            replace(
                p,
                source=plates.get(p.source, p.source)
                if p.kind == "index"
                else names.get(p.source, p.source),
            )
            for p in old.parents
        )
        return replace(old, parents=edges)

    return replace(
        node,
        name=names[node.name],
        body=body(node.body),
        start=body(node.start),
        plates=tuple(plates.get(p, p) for p in node.plates),
        over=None if node.over is None else plates.get(node.over, node.over),
        cut=tuple(names.get(p, p) for p in node.cut),
    )


def counterfactual(graph: Graph, do: Mapping[str, Any]) -> Graph:
    """The twin network: beside the graph, `would.*` is what the affected nodes would have been (Pearl 2009, §7.1.4)."""
    if not do:
        raise QueryError("counterfactual(do=...) was given nothing to set.")
    for name, value in do.items():
        if callable(value) or hasattr(value, "log_prob"):
            raise QueryError(
                f"counterfactual: '{name}' must be set to a constant; policies are not determined."
            )
    affected = graph.descendants_of(do) - set(do)
    for name in graph.nodes:
        if name in affected and not graph[name].determined:
            raise QueryError(
                f"counterfactual: '{name}' ({graph[name].where}) depends on {', '.join(do)} and is not deterministic, so the "
                f"graph does not say what it would have been. Write its noise as a node of its own and make '{name}' "
                "@model.deterministic."
            )
    cut = intervene(graph, do)
    twin = {name: f"would.{name}" for name in cut.nodes if name in affected or name in do}
    for name in list(cut.nodes):
        if name in twin:
            if twin[name] in graph:
                raise QueryError(f"counterfactual: {graph.name} already has a node '{twin[name]}'.")
            graph = graph.with_node(_renamed(cut[name], twin, {}))
    return graph
