"""The members of a plate as rows: values of nodes, aligned with the members that a factor is a product over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppl.compiler import Query
from ppl.graph import Node
from ppl.mechanism import Facts

__all__ = ["aligned", "axes_of", "facts_of", "find", "members", "present_members"]


def find(query: Query, name: str) -> Node:
    """A node of the query, or one of its summaries."""
    if name in query.graph:
        return query.graph[name]
    assert query.summaries is not None
    return query.summaries.mechanism.graph[name]


def facts_of(query: Query, name: str) -> Facts:
    """What a node, or a summary, turned out to be."""
    if name in query.graph:
        return query.mechanism.facts[name]
    assert query.summaries is not None
    return query.summaries.mechanism.facts[name]


def axes_of(query: Query, name: str) -> tuple[str, ...]:
    """The plates that a node's values have axes for."""
    return find(query, name).axes


def members(query: Query, plate: str | None) -> int:
    """How many members there are; one without a plate."""
    return 1 if plate is None else query.sizes[plate]


def aligned(query: Query, name: str, value: Tensor, plate: str | None) -> Tensor:
    """A node's values for each member, `(draws, members or 1, entries)`.

    A node in the plate gives each member its own; one in a plate that members point at gives each that which it points at; any other gives all
    members the same, hence the axis of length 1.

    Args:
        value: `(draws, *plates, *event)`.
    """
    axes = list(axes_of(query, name))
    if plate is None:
        return value.reshape((len(value), 1, -1))
    if plate in axes:
        return (
            value.movedim(1 + axes.index(plate), 1).flatten(2)
            if value.dim() > 2
            else value[..., None]
        )
    pointed = [p for p in query.graph.plates[plate].of if p in axes]
    if pointed:
        front = [1 + axes.index(p) for p in pointed]
        rest = [i for i in range(1, value.dim()) if i not in front]
        value = value.permute(0, *front, *rest)
        places: Any = (slice(None), *(query.mechanism.columns[plate][p] for p in pointed))
        value = value[places]
        return value.reshape((*value.shape[:2], -1))
    return value.reshape((len(value), 1, -1))


def present_members(
    query: Query, names: tuple[str, ...], present: Mapping[str, Tensor], plate: str | None
) -> Tensor:
    """Members of which every cell is there, `(datasets, members)`."""
    parts = [aligned(query, n, present[n], plate).all(dim=-1) for n in names if n in present]
    if not parts:
        return torch.ones(1, 1, dtype=torch.bool)
    whole = parts[0]
    for part in parts[1:]:
        whole = whole & part
    return whole
