"""Probing: two draws of everything, to learn what each node is before any long work."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import GaltonError, SimulationError
from ..graph import Graph
from .data import Data, read_data
from .forward import forward
from .mechanism import Mechanism

__all__ = ["kinds", "probe"]

#: A seed that no user chooses, so that probing never repeats a user's first draws.
PROBE = 0x0DD5EED


def probe(graph: Graph, data: Data, record: bool = True) -> Mechanism:
    """A mechanism that has called every body for two draws, and knows the facts of every node.

    Args:
        graph: The graph.
        data: Inputs, columns and sizes.
        record: Whether simulators may raise for some draws: then more draws are tried until one succeeds.

    Raises:
        ModelError: For a body that returns nonsense, hides randomness or breaks a promise.
        SimulationError: If a body raises.
    """
    mechanism = Mechanism(graph, data)
    try:
        forward(mechanism, 2, PROBE)
    except SimulationError as error:
        if not record:
            raise
        mechanism = Mechanism(graph, data, record=True)
        try:
            forward(mechanism, 32, PROBE)
        except SimulationError:
            raise error from None
    for caller in mechanism.callers.values():
        caller.record = record
    return mechanism


def kinds(graph: Graph) -> Mapping[str, str]:
    """For pictures and stories: the kind and family of each node, or nothing where the model cannot be probed yet."""
    sizes = {p.name: p.size or 2 for p in graph.plates.values() if not p.of}
    try:
        mechanism = probe(graph, read_data(graph, {}, sizes=sizes))
    except GaltonError:
        return {}
    return {
        name: f"explicit: {facts.family}" if facts.kind == "explicit" else facts.kind
        for name, facts in mechanism.facts.items()
    }
