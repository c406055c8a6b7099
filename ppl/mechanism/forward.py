"""Forward sampling: a batch of draws of every node, parents first.

A chain is drawn member by member; everything else at once over draws and plates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from ..errors import QueryError
from ..graph import Node
from .caller import Outcome
from .calling import quiet, seed_globals
from .mechanism import Facts, Mechanism, Window

__all__ = ["Batch", "forward"]


@dataclass
class Batch:
    """Draws of nodes.

    Args:
        values: By node, `(draws, *plates, *event)`; inputs and what depends on nothing random have a leading 1.
        status: How each draw ended (`Status`), `(draws,)`.
        culprits: By node at which draws failed first, which ones, `(failed there,)`.
        errors: The first exceptions: node, draw, and what was said.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    status: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.uint8))
    culprits: dict[str, Tensor] = field(default_factory=dict)
    errors: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def failed(self) -> Tensor:
        """Draws that have no value, `(draws,)`."""
        return self.status != 0

    @property
    def failures(self) -> dict[str, int]:
        """How many draws failed at each node."""
        return {name: len(rows) for name, rows in self.culprits.items()}


def forward(
    mechanism: Mechanism,
    draws: int,
    seed: int | tuple[int, ...],
    fixed: Mapping[str, Tensor] | None = None,
    only: Collection[str] | None = None,
) -> Batch:
    """Draw nodes from the model.

    Args:
        mechanism: How the bodies are called.
        draws: How many draws.
        seed: Each node's numbers derive from this and its name.
        fixed: Values that are not drawn but taken, `(draws or 1, *plates, *event)`.
        only: The nodes to draw; their parents must be among them or fixed. All by default.

    Raises:
        QueryError: If an input without a range is not given.
    """
    graph = mechanism.graph
    batch = Batch(dict(fixed or {}), torch.zeros(draws, dtype=torch.uint8))
    with quiet(), torch.no_grad():
        for group in graph.strata:
            names = [n for n in group if n not in batch.values and (only is None or n in only)]
            if not names:
                continue
            plate = graph.chain_plate(names[0])
            if plate is None:
                _draw(
                    mechanism, graph[names[0]], batch, draws, mechanism.seed(names[0], seed), None
                )
                continue
            seeds = {name: mechanism.seed(name, seed) for name in names}
            size = mechanism.sizes[plate]
            # The first steps, the last and a random one are audited; all of them would cost more than the steps.
            audited = {0, 1, size - 1, mechanism.seed(names[0], seed) % size}
            for t in range(size):
                for name in names:
                    # A multiple of an odd constant keeps the members' seeds apart.
                    at = (seeds[name] + t * 0x9E3779B97F4A7C15) % 2**62
                    _draw(mechanism, graph[name], batch, draws, at, (plate, t, t + 1), t in audited)
    return batch


def _draw(
    mechanism: Mechanism,
    node: Node,
    batch: Batch,
    draws: int,
    seed: int,
    window: Window | None,
    audit: bool = True,
) -> None:
    if node.is_input and node.name in mechanism.data.inputs:
        batch.values[node.name] = _given(mechanism, node)
        return
    if node.is_input and node.body is None:
        raise QueryError(
            f"Input '{node.name}' is not given: pass it with the observation, or as inputs={{'{node.name}': ...}}."
        )
    if node.picks is not None:
        carrier = node.parents[0]
        batch.values[node.name] = mechanism.packings[carrier].unpack(
            batch.values[carrier], node.picks
        )
        event = tuple(batch.values[node.name].shape[1 + len(node.axes) :])
        discrete = not batch.values[node.name].is_floating_point()
        mechanism.facts[node.name] = Facts("deterministic", "", discrete, False, event)
        return
    outcome = mechanism.outcome(node, batch.values, draws, seed, window, audit)
    shape = mechanism.shape(node, draws, window)
    value = _value(outcome, shape, seed)
    if outcome.status is not None:
        status = outcome.status.reshape(draws, -1).amax(dim=1)
        rows = ((status != 0) & (batch.status == 0)).nonzero()[:, 0]
        members = prod(shape[1:])
        batch.errors += [(node.name, row // members, said) for row, said in outcome.errors]
        if len(rows):
            batch.status[rows] = status[rows]
            before = batch.culprits.get(node.name)
            batch.culprits[node.name] = rows if before is None else torch.cat([before, rows])
    if window is None:
        batch.values[node.name] = value
        return
    axis = 1 + node.axes.index(window[0])
    if window[1] == 0:
        full = list(value.shape)
        full[axis] = mechanism.sizes[window[0]]
        batch.values[node.name] = torch.zeros(full, dtype=value.dtype)
    whole = batch.values[node.name]
    if value.is_floating_point() and not whole.is_floating_point():
        whole = batch.values[node.name] = whole.to(torch.float64)
    if value.shape[0] > whole.shape[0]:
        whole = batch.values[node.name] = whole.expand((value.shape[0], *whole.shape[1:])).clone()
    whole.narrow(axis, window[1], 1).copy_(value)


def _given(mechanism: Mechanism, node: Node) -> Tensor:
    value = mechanism.data.inputs[node.name]
    event = tuple(value.shape[1 + len(node.axes) :])
    mechanism.facts[node.name] = Facts("input", "", not value.is_floating_point(), False, event)
    return value


def _value(outcome: Outcome, shape: tuple[int, ...], seed: int) -> Tensor:
    """A draw of the outcome, `(draws, *plates, *event)`."""
    if outcome.distribution is not None:
        seed_globals(seed)
        return outcome.distribution.sample()
    assert outcome.value is not None
    # The plates' axes are made whole; an axis of draws that nothing varies along stays 1.
    lead = outcome.value.shape[0] if outcome.status is None else shape[0]
    return outcome.value.expand((lead, *shape[1:], *outcome.value.shape[len(shape) :]))
