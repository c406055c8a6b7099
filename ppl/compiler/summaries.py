"""Summaries: functions of observed nodes that are declared once and applied to data and to simulations alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import Graph
from ..mechanism import Data, Mechanism, forward, probe

__all__ = ["Summaries", "summaries_of"]


@dataclass(frozen=True, eq=False)
class Summaries:
    """The summaries of what is given.

    Args:
        mechanism: Calls their bodies.
        sources: By summary, the observed nodes that it is a function of.
    """

    mechanism: Mechanism
    sources: Mapping[str, frozenset[str]]

    def of(self, evidence: Collection[str]) -> tuple[str, ...]:
        """What is compared instead of these nodes: their summaries, and the nodes that have none."""
        names = [n for n, sources in self.sources.items() if sources <= set(evidence)]
        covered = {s for n in names for s in self.sources[n]}
        return (*names, *(n for n in evidence if n not in covered))

    def __call__(self, values: Mapping[str, Tensor], draws: int) -> dict[str, Tensor]:
        """The values with those of the summaries that can be computed from them, `(draws, *plates, *event)`."""
        names = [n for n, sources in self.sources.items() if sources <= set(values)]
        graph = self.mechanism.graph
        known = {n: v for n, v in values.items() if n in graph and n not in self.sources}
        inputs = {n for n in graph.nodes if graph[n].is_input}
        found = forward(self.mechanism, draws, 0, fixed=known, only={*names, *inputs}).values
        return {**values, **{n: found[n].expand((draws, *found[n].shape[1:])) for n in names}}

    def seen(self, data: Data) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Observed values and which of their cells are there, with those of the summaries."""
        whole = {n for n in data.observed if not data.missing(n)}
        values = self({n: data.observed[n] for n in whole}, data.datasets)
        observed, present = dict(data.observed), dict(data.present)
        for name in self.sources:
            if name in values:
                observed[name] = values[name]
                axes = values[name].dim() - len(self.mechanism.facts[name].event_shape)
                present[name] = torch.ones(values[name].shape[:axes], dtype=torch.bool)
        return observed, present


def summaries_of(graph: Graph, given: Collection[str], data: Data) -> Summaries | None:
    """The summaries whose observed nodes are all given; `None` if there are none."""
    sources = {}
    for node in graph.nodes.values():
        if node.summary:
            seen = _sources(graph, node.name)
            if seen and seen <= set(given):
                sources[node.name] = frozenset(seen)
    if not sources:
        return None
    return Summaries(probe(graph.subgraph(graph.ancestors_of(sources)), data), sources)


def _sources(graph: Graph, name: str) -> set[str]:
    """The observed nodes that a summary is a function of, through other summaries."""
    found: set[str] = set()
    for parent in graph[name].parents:
        node = graph[parent]
        if node.summary:
            found |= _sources(graph, parent)
        elif not node.is_input:
            found.add(parent)
    return found
