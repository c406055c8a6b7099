"""The first calls of a model, made in a worker before this process makes them: a simulator that hangs or ends its process there takes no driver along."""

from __future__ import annotations

from ..errors import GaltonError, SimulationError
from ..graph import Graph
from ..mechanism import PROBE, Data, Mechanism, called, forward, probe
from .campaign import Campaign
from .driver import Workers
from .luggage import packed
from .pool import Lost, Pool

__all__ = ["tried"]

#: Seeds that are tried, and seconds that each has beyond those of a batch, since a fresh worker reads the model first.
SEEDS, PATIENCE = 12, 5.0


def tried(
    graph: Graph, data: Data, record: bool, workers: Workers | None, timeout: float | None
) -> Mechanism:
    """A probed mechanism, from draws that a worker survived.

    Args:
        graph: The graph.
        data: Inputs, columns and sizes.
        record: Whether simulators may fail for some draws.
        workers: Local processes, which make the calls first; anybody else makes none.
        timeout: Seconds for a batch.

    Raises:
        SimulationError: If the calls hang or end their process for every seed, or for the first where failures are not to be recorded.
    """
    if not isinstance(workers, Pool):
        return probe(graph, data, record)
    payload = packed(Campaign(Mechanism(graph, data), 0, 2, only=called(graph)))
    seconds = None if timeout is None else timeout + PATIENCE
    ends: list[Lost] = []
    for seed in range(PROBE, PROBE + (SEEDS if record else 1)):
        lost = workers.survives(_probed, payload, seed, record, seconds)
        if lost is None:
            return probe(graph, data, record, seed)
        ends.append(lost)
    raise SimulationError(
        f"The first two draws of {graph.name} {ends[-1].status.words}, whichever of {len(ends)} seeds they had; nothing can be learned "
        f"about the model that way. Does its simulator end for most of its prior"
        + (f", within timeout={timeout:g} seconds?" if timeout else "?")
    )


def _probed(payload: bytes, seed: int, record: bool) -> None:
    """In a worker: the calls that a probe makes; what they raise is left to the driver, who will see it too."""
    import cloudpickle

    campaign = cloudpickle.loads(payload)
    for draws in (2, 32) if record else (2,):
        try:
            forward(campaign.mechanism, draws, seed, only=campaign.only)
            return
        except GaltonError:
            for caller in campaign.mechanism.callers.values():
                caller.record = True
