"""The mechanism: the bodies of a graph made callable, for given inputs and plate sizes.

It aligns every parent with its child's plates, hands the batch to the body's caller, and remembers what each node turned out to be.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy
import torch
from torch import Tensor

from ..errors import ModelError, QueryError
from ..graph import Body, Graph, Node, Parent
from ..graph.closure import changed_since
from .caller import Caller
from .calling import Packing
from .cases import Cases
from .data import Data
from .outcome import Outcome

__all__ = ["Facts", "Mechanism", "Window"]

#: Part of a chain: the ordered plate, the first member and the one after the last.
Window = tuple[str, int, int]


@dataclass(frozen=True)
class Facts:
    """What a node turned out to be.

    Args:
        kind: `"explicit"`, `"opaque"`, `"deterministic"` or `"input"`.
        family: The name of the distribution; empty for values.
        discrete: Whether its values are whole numbers.
        finite: Whether its values can be enumerated, given its parents.
        event_shape: The shape of one member's value.
        support: The support of one member's value, where it is known.
    """

    kind: str
    family: str = ""
    discrete: bool = False
    finite: bool = False
    event_shape: tuple[int, ...] = ()
    support: Any = None


class Mechanism:
    """Calls bodies for batches of draws.

    Args:
        graph: The graph whose bodies are called.
        data: Inputs, columns and sizes; observations are not looked at.
        record: Whether a simulator that raises makes a failed row instead of an error.

    Raises:
        ModelError: If a closed-over value changed since the decorator, or a lagged node does not exist.
        QueryError: If the size of a plate is unknown, or an input is missing.
    """

    def __init__(self, graph: Graph, data: Data, record: bool = False):
        self.graph, self.data = graph, data
        self.sizes = dict(data.sizes)
        self.columns = data.columns
        self.facts: dict[str, Facts] = {}
        #: What the bodies gave when they were probed, `(draws or 1, *plates, *event)`.
        self.probed: dict[str, Tensor] = {}
        self.packings: dict[str, Packing] = {}
        self.callers: dict[tuple[str, str], Caller] = {}
        for node in graph.nodes.values():
            self._check(node)
            for part, body in (("body", node.body), ("start", node.start)):
                if body is not None:
                    self.callers[node.name, part] = Caller(node, body, record)

    def _check(self, node: Node) -> None:
        for body in node.bodies:
            name = changed_since(body)
            if name is not None:
                raise ModelError(
                    f"'{node.name}' ({body.where}) closes over '{name}', which has changed since the decorator ran. Keep the "
                    f"value at the decorator: write {name}={name} among the arguments."
                )
        for lag in node.lags:
            if lag not in self.graph:
                raise ModelError(
                    f"'{node.name}' ({node.where}) looks back at '{lag}', which {self.graph.name} has not."
                )
            if not set(self.graph[lag].plates) & {
                p for p in node.plates if self.graph.plates[p].ordered
            }:
                raise ModelError(
                    f"'{node.name}' ({node.where}) looks back at '{lag}', which is in no ordered plate with it."
                )
        for plate in node.axes:
            if plate not in self.sizes:
                raise QueryError(
                    f"'{node.name}' is in plate '{plate}', whose size is not known: declare it, give data for it, or pass "
                    f"sizes={{'{plate}': 10}}."
                )
            of = self.graph.plates[plate].of
            if of and set(self.columns.get(plate, ())) != set(of):
                raise QueryError(
                    f"'{node.name}' is in the long-format plate '{plate}': give the integer columns {', '.join(map(repr, of))}."
                )

    # -- shapes ----------------------------------------------------------------------------------

    @property
    def kinds(self) -> dict[str, str]:
        """For pictures and stories: what each node was seen to be, `"explicit: Normal"`, `"opaque"`, `"deterministic"` or `"input"`."""
        return {
            name: f"explicit: {facts.family}" if facts.kind == "explicit" else facts.kind
            for name, facts in self.facts.items()
        }

    def shape(self, node: Node, draws: int, window: Window | None = None) -> tuple[int, ...]:
        """The batch of a node's body: draws, then its own plates."""
        own = []
        for plate in node.plates:
            inside = window is not None and window[0] == plate
            own.append(window[2] - window[1] if inside else self.sizes[plate])  # type: ignore[index]
        return (draws, *own)

    def arguments(
        self, node: Node, body: Body, values: dict[str, Tensor], window: Window | None = None
    ) -> list[Tensor]:
        """The body's arguments, each `(draws or 1, *own plates or 1, *extra plates, *event)`."""
        return [self.argument(node, edge, values, window) for edge in body.parents]

    def argument(
        self, node: Node, edge: Parent, values: dict[str, Tensor], window: Window | None
    ) -> Tensor:
        own = node.plates
        if edge.kind == "index":
            return self._index(node, edge.source, window)
        value, axes = values[edge.source], list(self.graph[edge.source].axes)
        if window is not None and window[0] in axes:
            back = 1 if edge.kind == "previous" else 0
            value = value.narrow(1 + axes.index(window[0]), window[1] - back, window[2] - window[1])
        for plate in own:
            pointed = [q for q in self.graph.plates[plate].of if q in axes and q not in own]
            if pointed:
                front = [1 + axes.index(q) for q in pointed]
                rest = [1 + i for i, a in enumerate(axes) if a not in pointed]
                tail = range(1 + len(axes), value.dim())
                value = value.permute(0, *front, *rest, *tail)
                columns = [self.columns[plate][q] for q in pointed]
                picked: Any = (slice(None), *columns)
                value = value[picked]
                axes = [plate] + [a for a in axes if a not in pointed]
        order = list(self.graph.plates)
        shared = [p for p in own if p in axes]
        extra = sorted((p for p in axes if p not in own), key=order.index)
        tail = range(1 + len(axes), value.dim())
        value = value.permute(0, *(1 + axes.index(p) for p in shared + extra), *tail)
        for position, plate in enumerate(own):
            if plate not in axes:
                value = value.unsqueeze(1 + position)
        return value

    def _index(self, node: Node, plate: str, window: Window | None) -> Tensor:
        if plate in node.plates:
            axis, numbers = node.plates.index(plate), torch.arange(self.sizes[plate])
            if window is not None and window[0] == plate:
                numbers = numbers[window[1] : window[2]]
        else:
            owner = next(p for p in node.plates if plate in self.graph.plates[p].of)
            axis, numbers = node.plates.index(owner), self.columns[owner][plate]
        shape = [1] * (1 + len(node.plates))
        shape[1 + axis] = len(numbers)
        return numbers.reshape(shape)

    # -- outcomes --------------------------------------------------------------------------------

    def outcome(
        self,
        node: Node,
        values: dict[str, Tensor],
        draws: int,
        seed: int,
        window: Window | None = None,
        audit: bool = True,
    ) -> Outcome:
        """What a node's body gives for a batch; with a window that begins at member 0, what its start gives.

        Args:
            values: Values of its parents, `(draws or 1, *plates, *event)`.
            draws: The length of the axis of draws.
            seed: Decides the random numbers that the body draws itself.
            window: Members of a chain; the first member only, or members after it.
            audit: Whether lifted calls are compared with single ones.
        """
        part = (
            "start" if window is not None and window[1] == 0 and node.start is not None else "body"
        )
        body = node.start if part == "start" else node.body
        assert body is not None
        shape = self.shape(node, draws, window)
        outcome = self.callers[node.name, part](
            self.arguments(node, body, values, window), shape, seed, audit
        )
        if outcome.packing is not None:
            self.packings[node.name] = outcome.packing
        self._learn(node, outcome, len(shape))
        return outcome

    def _learn(self, node: Node, outcome: Outcome, lead: int) -> None:
        d = outcome.distribution
        if d is not None:
            event = tuple(d.event_shape)
            name = d.name if isinstance(d, Cases) else d.family.name
            facts = Facts(
                "input" if node.is_input else "explicit",
                name,
                d.discrete,
                d.finite,
                event,
                d.support,
            )
        else:
            assert outcome.value is not None
            event = tuple(outcome.value.shape[lead:])
            kind = "input" if node.is_input else "deterministic" if node.determined else "opaque"
            facts = Facts(
                kind, "", not outcome.value.is_floating_point(), False, event, node.support
            )
        if node.over is not None and (not event or event[0] != self.sizes[node.over]):
            raise ModelError(
                f"'{node.name}' ({node.where}) is over plate '{node.over}' of {self.sizes[node.over]} members: one call returns "
                f"them all along the leading axis, but it returned the shape {event}."
            )
        old = self.facts.get(node.name)
        if old is not None and old.event_shape != event:
            raise ModelError(
                f"'{node.name}' ({node.where}): the shape of its value changes, {old.event_shape} and then {event}. "
                "Every member and every draw must have one shape."
            )
        if old is None or (old.finite and not facts.finite):
            self.facts[node.name] = facts
            self._check_states(node, outcome)

    def _check_states(self, node: Node, outcome: Outcome) -> None:
        if node.states is None or outcome.distribution is None:
            return
        if not outcome.distribution.finite or outcome.distribution.event_shape:
            raise ModelError(
                f"'{node.name}' ({node.where}) has states= but its values are no finite set of numbers."
            )
        count = len(outcome.distribution.domain())
        if count > len(node.states):
            raise ModelError(
                f"'{node.name}' ({node.where}) has {count} values and {len(node.states)} states."
            )

    def seed(self, name: str, seed: int | tuple[int, ...]) -> int:
        """The seed of one node: equal for equal names, whatever else is in the graph."""
        words = [seed] if isinstance(seed, int) else list(seed)
        entropy = [int(w) % 2**64 for w in words] + [zlib.crc32(name.encode())]
        return int(numpy.random.SeedSequence(entropy).generate_state(1, numpy.uint64)[0]) % 2**62

    def count(self, node: Node) -> int:
        """How many values a node has in one draw, over its plates and its event."""
        return prod((*(self.sizes[p] for p in node.plates), *self.facts[node.name].event_shape))
