"""The unobserved nodes that an engine moves or adjusts, as vectors without bounds and as codes.

A continuous node goes through the bijection of its support, so that no number leads outside. Finite nodes are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to

from ppl.compiler import Query
from ppl.distributions.tensors import unbounded_shape
from ppl.mechanism import Mechanism, forward
from ppl.mechanism.joint import log_density
from ppl.mechanism.laws import fixed_support
from ppl.mechanism.tables import NotFinite, Tables, TooLarge

__all__ = ["Coordinates", "Parameters", "Prior", "Unmovable"]


class Unmovable(Exception):
    """Some parameter has no prior density; the reason is the message."""


class Parameters:
    """The random nodes that a sampler moves, as coordinates and codes, with the density of their prior.

    Args:
        query: The component.
        names: The random nodes; by default those that the asked ones are, or are made of.

    Raises:
        Unmovable: If one is a simulator, or counts without end.
    """

    def __init__(self, query: Query, names: Sequence[str] | None = None):
        graph, facts = query.graph, query.mechanism.facts
        wanted = query.ask if names is None else tuple(names)
        above = graph.ancestors_of(wanted) | set(wanted)
        free = [n for n in graph.nodes if n in above and n in query.free]
        self.names = [n for n in free if facts[n].kind != "deterministic"]
        for name in self.names:
            if facts[name].kind != "explicit":
                raise Unmovable(f"the prior of '{name}' can only be sampled, so it cannot be moved")
            if name in query.partial:
                raise Unmovable(f"'{name}' is observed in part")
        self.coordinates = Coordinates(query.mechanism, self.names)
        self.prior = Prior(query.mechanism, self.names)
        tables = Tables(query.mechanism)
        self.domains: dict[str, Tensor] = {}
        for name in self.names:
            if facts[name].discrete:
                try:
                    self.domains[name] = tables.domain(name)
                except (NotFinite, TooLarge) as error:
                    raise Unmovable(f"'{name}' is discrete and cannot be listed") from error
                if self.domains[name].dim() > 1:
                    raise Unmovable(f"'{name}' is a discrete vector")
        #: The shape of one draw of each, plates included.
        self.shapes = {n: _shape(query.mechanism, n) for n in self.names}

    def codes(self, values: Mapping[str, Tensor]) -> Tensor:
        """Positions of the finite nodes in their domains, `(n, members)`."""
        parts = [
            torch.searchsorted(self.domains[n].sort().values, values[n].contiguous()).reshape(
                (len(values[n]), -1)
            )
            for n in self.domains
        ]
        rows = max((len(v) for v in values.values()), default=0)
        return torch.cat(parts, dim=1) if parts else torch.zeros(rows, 0, dtype=torch.long)

    def values(self, u: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Values of the moved nodes, `(n, *plates, *event)`."""
        found, start = self.coordinates.split(u), 0
        for name, domain in self.domains.items():
            stop = start + prod(self.shapes[name])
            found[name] = (
                domain.sort().values[codes[:, start:stop]].reshape((len(codes), *self.shapes[name]))
            )
            start = stop
        return found

    def log_prior(
        self, u: Tensor, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]
    ) -> Tensor:
        """The prior's log density on unbounded scales, `(n,)`."""
        return self.prior.log_prob(values, fixed) + self.coordinates.stretch(u)

    @property
    def cards(self) -> Tensor:
        """How many values each finite member has, `(members,)`."""
        sizes = [[len(d)] * prod(self.shapes[n]) for n, d in self.domains.items()]
        return torch.tensor([s for part in sizes for s in part], dtype=torch.float64)


class Coordinates:
    """Values of continuous nodes as rows of unbounded numbers.

    Args:
        mechanism: It knows shapes and supports.
        names: Nodes; those that are not continuous are left out.
    """

    def __init__(self, mechanism: Mechanism, names: Sequence[str]):
        self.names = tuple(n for n in names if not mechanism.facts[n].discrete)
        self._mechanism = mechanism
        self._transforms = {n: _bijection(mechanism, n) for n in self.names}
        self._shapes = {n: _shape(mechanism, n) for n in self.names}
        self._inner = {n: unbounded_shape(self._transforms[n], self._shapes[n]) for n in self.names}
        self.size = sum(map(prod, self._inner.values()))

    def join(self, values: Mapping[str, Tensor]) -> Tensor:
        """`(n, size)` from values `(n, *plates, *event)`."""
        rows = max((len(v) for v in values.values()), default=0)
        parts = []
        for n in self.names:
            value = values[n].expand((rows, *values[n].shape[1:])).to(torch.float64)
            parts.append(self._transforms[n].inv(value).reshape((rows, -1)))
        return torch.cat(parts, dim=1) if parts else torch.zeros(rows, 0, dtype=torch.float64)

    def targets(self, values: Mapping[str, Tensor]) -> Tensor:
        """What a summary predicts, `(n, columns)`: bounded parameters as they are, since without bounds their ends would count for most."""
        rows = max((len(v) for v in values.values()), default=0)
        parts = []
        for n in self.names:
            value = values[n].expand((rows, *values[n].shape[1:])).to(torch.float64)
            bounded = len(_bounds(self._mechanism.facts[n].support)) == 2
            parts.append((value if bounded else self._transforms[n].inv(value)).reshape((rows, -1)))
        return torch.cat(parts, dim=1) if parts else torch.zeros(rows, 0, dtype=torch.float64)

    def split(self, u: Tensor) -> dict[str, Tensor]:
        """Values from rows."""
        found, start = {}, 0
        for n, shape in self._inner.items():
            raw = u[:, start : start + prod(shape)].reshape((len(u), *shape))
            found[n] = self._transforms[n](raw)
            start += prod(shape)
        return found

    def stretch(self, u: Tensor) -> Tensor:
        """The log of how much the values' volume stretches, `(n,)`."""
        total, start = torch.zeros(len(u), dtype=torch.float64), 0
        for n, shape in self._inner.items():
            raw = u[:, start : start + prod(shape)].reshape((len(u), *shape))
            log = self._transforms[n].log_abs_det_jacobian(raw, self._transforms[n](raw))
            total = total + log.reshape((len(u), -1)).sum(dim=1)
            start += prod(shape)
        return total


class Prior:
    """The prior of the nodes that a sampler moves.

    Args:
        mechanism: How the bodies are called.
        names: The random nodes that are moved, every one of them explicit.
    """

    def __init__(self, mechanism: Mechanism, names: Sequence[str]):
        self._mechanism, self.names = mechanism, tuple(names)
        graph = mechanism.graph
        above = graph.ancestors_of(self.names) - set(self.names)
        #: Functions of moved nodes that other moved nodes depend on.
        self._between = {n for n in above if mechanism.facts[n].kind == "deterministic"}

    def log_prob(self, values: Mapping[str, Tensor], fixed: Mapping[str, Tensor]) -> Tensor:
        """log p at some values, `(n,)`; minus infinity outside the support."""
        rows = max(len(values[n]) for n in self.names)
        known = {**fixed, **values}
        mechanism = self._mechanism
        inputs = {n for n in mechanism.graph.nodes if mechanism.graph[n].is_input}
        batch = forward(mechanism, rows, 0, fixed=known, only=self._between | inputs).values
        total = torch.zeros(rows, dtype=torch.float64)
        for name in self.names:
            logs = log_density(mechanism, mechanism.graph[name], batch, rows)
            total = total + logs.reshape((len(logs), -1)).sum(dim=1)
        return torch.nan_to_num(total, nan=-torch.inf, posinf=-torch.inf)


def _shape(mechanism: Mechanism, name: str) -> tuple[int, ...]:
    node = mechanism.graph[name]
    # The event of a block begins with its plate.
    plates = node.axes if node.picks is not None else node.plates
    return (*(mechanism.sizes[p] for p in plates), *mechanism.facts[name].event_shape)


def _bijection(mechanism: Mechanism, name: str):
    """From the real line to the node's support; the identity where that is not known, or moves with its parents."""
    support = mechanism.facts[name].support
    real = torch.distributions.constraints.real
    if support is None or not fixed_support(mechanism, name):
        return biject_to(real)
    while isinstance(support, torch.distributions.constraints.independent):
        support = support.base_constraint
    bounds = _bounds(support)
    if any(isinstance(b, Tensor) for b in bounds):
        support = type(support)(*(float(torch.as_tensor(b).reshape(-1)[0]) for b in bounds))
    return biject_to(support)


def _bounds(support: Any) -> list[Any]:
    while isinstance(support, torch.distributions.constraints.independent):
        support = support.base_constraint
    names = ("lower_bound", "upper_bound")
    return [getattr(support, name) for name in names if hasattr(support, name)]
