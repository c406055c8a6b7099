"""The model in a report: its story and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import Graph
from ..graph.drawing import draw
from ..graph.story import story
from .image import Image, of_drawing

__all__ = ["Scene", "scene"]


@dataclass(frozen=True)
class Scene:
    """What a model is.

    Args:
        story: How the data came about, a line a node.
        graph: The DAG, or `None` where no program can draw it.
    """

    story: str
    graph: Image | None


def scene(graph: Graph, plan: Any) -> Scene:
    """The scene of a graph, with what the plan has seen of its bodies."""
    kinds = _kinds(plan)
    picture = of_drawing(
        draw(graph, kinds=kinds, legend=True),
        f"The graph of {graph.name}: {len(graph)} nodes",
    )
    return Scene(story(graph, kinds), picture)


def _kinds(plan: Any) -> Mapping[str, str]:
    """The kind and family of each node; nothing of a posterior from a file, which has no plan that could be asked."""
    if getattr(plan, "query", None) is None:
        return {}
    return plan.query.mechanism.kinds
