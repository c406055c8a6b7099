"""A model as a Pyro program: a function that Pyro's handlers and engines run, condition and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import pyro
import torch
from torch import Tensor

from ..errors import QueryError
from ..graph import Graph, Node
from ..mechanism import Data, Mechanism, forward, kinds, probe, quiet, read_data
from ..mechanism.mechanism import Window
from .site import Site

__all__ = ["Program"]


class Program:
    """The model, for Pyro.

    Every random node is a `pyro.sample` site of its name, every deterministic one a `pyro.deterministic`, every plate a `pyro.plate`. A
    node of a chain has one site for each member, `name[0]`, `name[1]`, …, and its whole value as a deterministic of its name.

    Calling it with `obs` scores these values; without, `pyro.condition` may do so. Inputs are keyword arguments, columns of long-format
    plates too.

    Args:
        graph: The model's graph.
        sizes: Sizes of plates that neither the model nor the data tell.

    Raises:
        QueryError: If a node is opaque: it has no density for Pyro to score.
    """

    def __init__(self, graph: Graph, sizes: Mapping[str, int] | None = None):
        self.graph, self.sizes = graph, dict(sizes or {})
        self.__name__ = graph.name
        _refuse(graph, kinds(graph))
        self._depth = _depths(graph)
        #: How many axes of Pyro's are plates.
        self.max_plate_nesting = max(self._depth.values(), default=0)
        self._last: Mechanism | None = None

    def __repr__(self) -> str:
        return f"Program({self.graph.name}, {len(self.graph)} nodes)"

    def __call__(self, obs: Mapping[str, Any] | None = None, /, **inputs: Any) -> dict[str, Tensor]:
        """Run the program.

        Args:
            obs: Observed values by node, `(*plates, *event)`; labels are accepted.
            inputs: Values of inputs and columns by name.

        Returns:
            The value of every node.

        Raises:
            QueryError: If an input or the size of a plate is missing, or an observed cell.
        """
        data = read_data(self.graph, {**(obs or {}), **inputs}, sizes=self.sizes)
        for name in data.observed:
            if data.missing(name):
                raise QueryError(
                    f"'{name}' has missing cells, for which a Pyro program has no place; ppl.infer sums them out."
                )
        mechanism, fresh = self._mechanism(data)
        run = _Run(mechanism, data, self._depth, self.max_plate_nesting, fresh)
        for group in self.graph.strata:
            plate = self.graph.chain_plate(group[0])
            if plate is None:
                run.node(self.graph[group[0]])
            else:
                run.chain([self.graph[name] for name in group], plate)
        return run.values

    def _mechanism(self, data: Data) -> tuple[Mechanism, bool]:
        """How bodies are called, probed anew only for other inputs; and whether it was."""
        old = self._last
        if old is not None and old.sizes == dict(data.sizes) and _same(old.data, data):
            return old, False
        mechanism = probe(self.graph, data)
        _refuse(self.graph, {n: f.kind for n, f in mechanism.facts.items()})
        self._last = mechanism
        return mechanism, True


class _Run:
    """One run: the values so far, on Pyro's axes, `(*lead, *slots, *event)`."""

    def __init__(self, mechanism: Mechanism, data: Data, depth, nesting: int, audit: bool):
        self.mechanism, self.data, self.depth = mechanism, data, depth
        self.nesting, self.audit = nesting, audit
        self.values: dict[str, Tensor] = {}
        self.plates = {p: pyro.plate(p, mechanism.sizes[p], dim=-d) for p, d in depth.items()}

    # -- nodes -----------------------------------------------------------------------------------

    def node(self, node: Node) -> None:
        """Sample, compute or take a node."""
        name, mechanism = node.name, self.mechanism
        if node.is_input:
            found = forward(mechanism, 1, 0, fixed=mechanism.data.inputs, only={name}).values[name]
            self.values[name] = self._outward(found, node, ())
            return
        known, lead = self._inward(node)
        draws = prod(lead)
        if node.picks is not None:
            with quiet():
                found = forward(mechanism, draws, 0, fixed=known, only={name}).values[name]
        else:
            with quiet():
                outcome = mechanism.outcome(node, known, draws, 0, None, self.audit)
            if outcome.distribution is not None:
                self.values[name] = self._sampled(
                    node, name, outcome.distribution, lead, None, self.data.observed.get(name)
                )
                return
            assert outcome.value is not None
            found = outcome.value
        shape = mechanism.shape(node, draws)
        found = found.expand((len(found), *shape[1:], *found.shape[len(shape) :]))
        self.values[name] = self._outward(found, node, lead)
        if not node.outputs:
            self._noted(node)

    def chain(self, nodes: Sequence[Node], plate: str) -> None:
        """Sample a chain, or several that are woven, member by member."""
        size = self.mechanism.sizes[plate]
        members: dict[str, list[Tensor]] = {node.name: [] for node in nodes}
        for t in range(size):
            for node in nodes:
                members[node.name].append(self._member(node, plate, t, size))
                self.values[node.name] = self._whole(node, plate, members[node.name], size)
        for node in nodes:
            self._noted(node)

    def _member(self, node: Node, plate: str, t: int, size: int) -> Tensor:
        name, mechanism = node.name, self.mechanism
        window: Window = (plate, t, t + 1)
        known, lead = self._inward(node)
        with quiet():
            audit = self.audit and t in (0, 1, size - 1)
            outcome = mechanism.outcome(node, known, prod(lead), 0, window, audit)
        if outcome.distribution is None:
            shape = mechanism.shape(node, prod(lead), window)
            assert outcome.value is not None
            value = outcome.value
            value = value.expand((len(value), *shape[1:], *value.shape[len(shape) :]))
            return self._outward(value, node, lead)
        seen = self.data.observed.get(name)
        if seen is not None:
            seen = seen.narrow(1 + node.plates.index(plate), t, 1)
        return self._sampled(node, f"{name}[{t}]", outcome.distribution, lead, plate, seen)

    def _whole(self, node: Node, plate: str, members: list[Tensor], size: int) -> Tensor:
        """The members so far along the plate's axis, zeros for those to come."""
        event = len(self.mechanism.facts[node.name].event_shape)
        axis = -(self.depth[plate] + event)
        width = max(m.dim() for m in members)
        shape = torch.broadcast_shapes(*(m.shape for m in members))
        parts = [m.reshape((*[1] * (width - m.dim()), *m.shape)).expand(shape) for m in members]
        if len(parts) < size:
            rest = list(shape)
            rest[axis] = size - len(parts)
            parts.append(torch.zeros(rest, dtype=members[-1].dtype))
        return torch.cat(parts, dim=axis)

    def _sampled(
        self, node: Node, site: str, law: Any, lead: Sequence[int], chain: str | None, seen: Any
    ) -> Tensor:
        """The value of a site of Pyro's."""
        slots = [1] * self.nesting
        with ExitStack() as inside:
            for p in node.plates:
                if p != chain:
                    slots[-self.depth[p]] = self.mechanism.sizes[p]
                    inside.enter_context(self.plates[p])
            own = [1 if p == chain else self.mechanism.sizes[p] for p in node.plates]
            with quiet():
                law = law.expand((prod(lead), *own))
            obs = None if seen is None else self._outward(seen, node, ())
            value = pyro.sample(site, Site(law, lead, slots), obs=obs)
        return self._padded(node, value)

    def _noted(self, node: Node) -> None:
        """Record a value in the trace."""
        event = len(self.mechanism.facts[node.name].event_shape)
        pyro.deterministic(node.name, self.values[node.name], event_dim=event + self.nesting)

    # -- axes ------------------------------------------------------------------------------------

    def _padded(self, node: Node, value: Tensor) -> Tensor:
        """With all the axes of plates, which Pyro leaves out where they have size 1."""
        event = len(self.mechanism.facts[node.name].event_shape)
        lacking = self.nesting + event - value.dim()
        return value.reshape((*[1] * lacking, *value.shape)) if lacking > 0 else value

    def _outward(self, value: Tensor, node: Node, lead: Sequence[int]) -> Tensor:
        """From `(draws or 1, *own plates, *event)`."""
        slots = [1] * self.nesting
        for i, p in enumerate(node.plates):
            slots[-self.depth[p]] = value.shape[1 + i]
        front = tuple(lead) if len(value) == prod(lead) else (1,) * len(lead)
        return value.reshape((*front, *slots, *value.shape[1 + len(node.plates) :]))

    def _inward(self, node: Node) -> tuple[dict[str, Tensor], tuple[int, ...]]:
        """The values of a node's parents, `(draws, *own plates, *event)`, and what the draws are on Pyro's axes."""
        parents = [p for p in dict.fromkeys((*node.parents, *node.lags)) if p in self.values]
        leads = {}
        for name in parents:
            event = len(self.mechanism.facts[name].event_shape)
            leads[name] = self.values[name].shape[: self.values[name].dim() - event - self.nesting]
        lead = tuple(torch.broadcast_shapes(*leads.values())) if leads else ()
        known = {}
        for name in parents:
            value, one = self.values[name], self.mechanism.graph[name]
            rest = value.shape[len(leads[name]) :]
            own = [rest[self.nesting - self.depth[p]] for p in one.plates]
            value = value.expand((*lead, *rest))
            known[name] = value.reshape((prod(lead), *own, *rest[self.nesting :]))
        return known, lead


def _refuse(graph: Graph, found: Mapping[str, str]) -> None:
    for name, kind in found.items():
        if kind == "opaque" and graph[name].picks is None:
            raise QueryError(
                f"'{name}' ({graph[name].where}) is a simulator without a density, which Pyro cannot score. Let its body return a "
                "distribution, declare it deterministic, or use model.prior and model.simulator with a library that simulates."
            )


def _depths(graph: Graph) -> dict[str, int]:
    """For each plate how far from the right Pyro finds it: 1 for the innermost."""
    order = list(graph.plates)
    inside: dict[str, set[str]] = {p: set() for node in graph.nodes.values() for p in node.plates}
    for node in graph.nodes.values():
        for i, p in enumerate(node.plates):
            inside[p] |= set(node.plates[i + 1 :])
    depth: dict[str, int] = {}
    for p in sorted(inside, key=order.index, reverse=True):
        depth[p] = 1 + max((depth[q] for q in inside[p]), default=0)
    return depth


def _same(one: Data, other: Data) -> bool:
    """Whether two data hold the same inputs and columns."""

    def flat(data: Data) -> dict[Any, Tensor]:
        columns = {(p, k): v for p, found in data.columns.items() for k, v in found.items()}
        return {**data.inputs, **columns}

    a, b = flat(one), flat(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
