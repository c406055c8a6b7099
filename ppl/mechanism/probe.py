"""Probing: two draws of everything, to learn what each node is before any long work."""

from __future__ import annotations

from collections.abc import Mapping

from torch.distributions import constraints

from ..errors import GaltonError, ModelError, SimulationError
from ..graph import Graph, Node
from .data import Data, read_data
from .forward import forward
from .lookup import Lookup
from .mechanism import Facts, Mechanism

__all__ = ["PROBE", "called", "kinds", "probe"]

#: A seed that no user chooses, so that probing never repeats a user's first draws.
PROBE = 0x0DD5EED


def probe(graph: Graph, data: Data, record: bool = True, seed: int = PROBE) -> Mechanism:
    """A mechanism that has called every body for two draws, and knows the facts of every node.

    Args:
        graph: The graph.
        data: Inputs, columns and sizes.
        record: Whether simulators may raise for some draws: then more draws are tried until one succeeds.
        seed: Of the draws.

    Raises:
        ModelError: For a body that returns nonsense, hides randomness or breaks a promise.
        SimulationError: If a body raises.
    """
    needed = called(graph)
    mechanism = Mechanism(graph, data)
    try:
        if needed:
            mechanism.probed = forward(mechanism, 2, seed, only=needed).values
    except (SimulationError, ModelError) as error:
        if not record:
            raise
        mechanism = Mechanism(graph, data, record=True)
        try:
            mechanism.probed = forward(mechanism, 32, seed, only=needed).values
        except (SimulationError, ModelError):
            raise error from None
    for node in graph.nodes.values():
        if node.name not in needed:
            mechanism.facts[node.name] = _facts(node)
    for caller in mechanism.callers.values():
        caller.record = record
    return mechanism


def called(graph: Graph) -> set[str]:
    """The nodes that a probe draws: look-ups need not be called to be known; they are drawn only for the bodies below them."""
    bodies = [n.name for n in graph.nodes.values() if not _lookup(n)]
    return set(graph.ancestors_of(bodies))


def _lookup(node: Node) -> bool:
    """Whether a node is nothing but tables."""
    return node.intervened is None and all(isinstance(b.function, Lookup) for b in node.bodies)


def _facts(node: Node) -> Facts:
    """What a look-up is known to be."""
    table = node.body.function.table  # type: ignore[union-attr]
    support = constraints.integer_interval(0, table.shape[-1] - 1)
    return Facts("explicit", "Categorical", True, True, (), support)


def kinds(graph: Graph) -> Mapping[str, str]:
    """For pictures and stories: the kind and family of each node, or nothing where the model cannot be probed yet."""
    sizes = {p.name: p.size or 2 for p in graph.plates.values() if not p.of}
    try:
        mechanism = probe(graph, read_data(graph, {}, sizes=sizes))
    except GaltonError:
        return {}
    return mechanism.kinds
