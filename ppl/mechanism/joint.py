"""The log joint density of an explicit model at given values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import QueryError
from ..graph import Graph, Node
from .calling import quiet
from .data import read_data
from .forward import forward
from .mechanism import Mechanism, Window
from .probe import probe

__all__ = ["log_density", "log_joint"]


def log_joint(
    graph: Graph, values: Mapping[str, Any], inputs: Mapping[str, Any] | None = None
) -> Tensor:
    """log p(values), the sum over all nodes of log p(node | parents).

    Args:
        graph: The model's graph.
        values: One value for each random node, `(*plates, *event)`; labels are accepted.
        inputs: Values of the inputs, and columns of long-format plates.

    Raises:
        QueryError: If a random node has no value or no density, or a cell is missing.
    """
    data = read_data(graph, {**values, **(inputs or {})})
    mechanism = probe(graph, data)
    for node in graph.nodes.values():
        facts = mechanism.facts[node.name]
        if facts.kind == "opaque":
            raise QueryError(
                f"'{node.name}' ({node.where}) is a simulator without a density; log_joint needs explicit nodes."
            )
        if facts.kind == "explicit" and node.name not in data.observed:
            raise QueryError(f"log_joint needs a value for '{node.name}'.")
    for name in data.observed:
        if data.missing(name):
            raise QueryError(
                f"log_joint needs every cell of '{name}'; {data.missing(name)} are missing."
            )
    known = {**data.inputs, **data.observed}
    random = {n for n in graph.nodes if mechanism.facts[n].kind == "explicit"}
    rest = forward(mechanism, 1, 0, fixed=known, only=set(graph.nodes) - random)
    with quiet():
        total = torch.zeros((), dtype=torch.float64)
        for name in random:
            total = total + log_density(mechanism, graph[name], rest.values, 1).sum()
    return total


def log_density(
    mechanism: Mechanism, node: Node, values: dict[str, Tensor], draws: int, audit: bool = True
) -> Tensor:
    """log p(node | parents) of every member, `(draws, *plates)`; a block (`over=`) is one member.

    Args:
        mechanism: How bodies are called.
        node: The node.
        values: Its value and its parents', `(draws or 1, *plates, *event)`.
        draws: The length of the axis of draws.
        audit: Whether lifted calls are compared with single ones; who scores again and again does so once.
    """
    plate = (
        next((p for p in node.plates if mechanism.graph.plates[p].ordered), None)
        if node.lags
        else None
    )
    if plate is None:
        return _scored(mechanism, node, values, draws, None, audit)
    size = mechanism.sizes[plate]
    parts = [_scored(mechanism, node, values, draws, (plate, 0, 1), audit)]
    if size > 1:
        parts.append(_scored(mechanism, node, values, draws, (plate, 1, size), audit))
    return torch.cat(parts, dim=1 + node.plates.index(plate))


def _scored(
    mechanism: Mechanism, node: Node, values, draws: int, window: Window | None, audit: bool
) -> Tensor:
    outcome = mechanism.outcome(node, values, draws, 0, window, audit)
    assert outcome.distribution is not None
    value = values[node.name]
    if window is not None:
        value = value.narrow(1 + node.plates.index(window[0]), window[1], window[2] - window[1])
    return outcome.distribution.log_prob(value).expand(mechanism.shape(node, draws, window))
