"""Targets: the parameters that a net is trained for, on unconstrained space.

A continuous node goes through `biject_to` of its support, so that no draw can leave it. Ordered whole numbers are spread uniformly over their cells first
(dequantised), so that a density on the line says how probable each is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints

from ppl.compiler import Query
from ppl.mechanism.tables import NotFinite, Tables, TooLarge

__all__ = ["Target", "Unsuitable", "split", "targets"]

#: Whole numbers with fewer values than this are no line; they need a classifier.
FEWEST_VALUES = 16


class Unsuitable(Exception):
    """A node that a flow cannot be trained for; the reason is the message."""


@dataclass(frozen=True, eq=False)
class Target:
    """One node to be inferred.

    Args:
        name: The node.
        shape: The shape of one draw, plates included.
        support: The support of a continuous node, with constant bounds.
        domain: The values of an ordered finite node, `(cardinality,)`, instead.
    """

    name: str
    shape: tuple[int, ...]
    support: Any = None
    domain: Tensor | None = None

    @property
    def size(self) -> int:
        """How many unconstrained numbers it takes."""
        if self.domain is not None:
            return prod(self.shape)
        return prod(biject_to(self.support).inverse_shape(torch.Size(self.shape)))

    def unconstrain(self, value: Tensor, noise: Tensor | None = None) -> Tensor:
        """`(draws, size)` from `(draws, *shape)`; finite values take their place in the cell from `noise` or its middle."""
        if self.domain is not None:
            index = torch.searchsorted(self.domain, value.contiguous()).to(torch.float64)
            inside = 0.5 if noise is None else noise.reshape(index.shape)
            value = ((index + inside) / len(self.domain)).clamp(1e-9, 1 - 1e-9)
            return torch.logit(value).reshape(len(value), -1)
        return biject_to(self.support).inv(self._inside(value)).reshape((len(value), -1))

    def _inside(self, value: Tensor) -> Tensor:
        """Values on the very edge of the support, moved in by a rounding error: the map would send them to infinity."""
        lower, upper = (getattr(self.support, k, None) for k in ("lower_bound", "upper_bound"))
        if lower is not None:
            value = value.clamp(min=float(lower) + 1e-12 * max(abs(float(lower)), 1.0))
        if upper is not None:
            value = value.clamp(max=float(upper) - 1e-12 * max(abs(float(upper)), 1.0))
        return value

    def constrain(self, flat: Tensor) -> Tensor:
        """`(draws, *shape)` from `(draws, size)`."""
        if self.domain is not None:
            index = (
                (flat.sigmoid() * len(self.domain))
                .floor()
                .clamp(0, len(self.domain) - 1)
                .to(torch.int64)
            )
            return self.domain[index].reshape((len(flat), *self.shape))
        transform = biject_to(self.support)
        return transform(
            flat.reshape((len(flat), *transform.inverse_shape(torch.Size(self.shape))))
        )

    def log_det(self, flat: Tensor) -> Tensor:
        """log |d unconstrained / d value|, summed, `(draws,)`; for finite nodes the log of cell width over density."""
        if self.domain is not None:
            # One cell has the width 1 / cardinality in (0, 1): mass = density on (0, 1) / cardinality.
            log_slope = torch.nn.functional.logsigmoid(flat) + torch.nn.functional.logsigmoid(-flat)
            return -(log_slope + torch.tensor(float(len(self.domain))).log()).sum(dim=1)
        transform = biject_to(self.support)
        u = flat.reshape((len(flat), *transform.inverse_shape(torch.Size(self.shape))))
        return -transform.log_abs_det_jacobian(u, transform(u)).reshape((len(flat), -1)).sum(dim=1)


def targets(query: Query) -> list[Target]:
    """What a net must be trained for so that all asked nodes follow.

    Raises:
        Unsuitable: If one of them has values that a flow cannot describe.
    """
    names: dict[str, None] = {}
    stack = list(reversed(query.ask))
    while stack:
        name = stack.pop()
        node = query.graph[name]
        if query.mechanism.facts[name].kind == "deterministic":
            stack += [p for p in (*node.parents, *node.lags) if p in query.free and p != name]
        elif name in query.free:
            names[name] = None
    return [_target(query, name) for name in query.graph.nodes if name in names]


def _target(query: Query, name: str) -> Target:
    node, facts = query.graph[name], query.mechanism.facts[name]
    shape = (*(query.sizes[p] for p in node.axes), *facts.event_shape)
    if facts.kind == "opaque" and node.support is None:
        raise Unsuitable(f"'{name}' is a prior that can only be sampled, and declares no support=")
    if not facts.discrete:
        support = node.support if node.support is not None else _settled(name, facts.support)
        return Target(name, shape, support=support)
    if not facts.finite:
        raise Unsuitable(f"'{name}' has countably many values ({facts.family})")
    try:
        domain = Tables(query.mechanism).domain(name)
    except (NotFinite, TooLarge) as reason:
        raise Unsuitable(str(reason)) from reason
    if (
        facts.family in ("Categorical", "Bernoulli", "OneHotCategorical")
        or domain.dim() > 1
        or len(domain) < FEWEST_VALUES
    ):
        raise Unsuitable(
            f"'{name}' is finite ({facts.family} with {len(domain)} values); a flow describes numbers on a line"
        )
    return Target(name, shape, domain=domain)


def _settled(name: str, support: Any) -> Any:
    """The support with plain numbers for bounds, which must be the same for every draw and member."""
    if isinstance(support, constraints.independent):
        return _settled(name, support.base_constraint)
    bounds = {}
    for key in ("lower_bound", "upper_bound"):
        bound = getattr(support, key, None)
        if bound is not None:
            values = torch.as_tensor(bound, dtype=torch.float64).reshape(-1)
            if bool((values != values[0]).any()):
                raise Unsuitable(f"the support of '{name}' depends on its parents")
            bounds[key] = float(values[0])
    if len(bounds) == 2:
        return constraints.interval(bounds["lower_bound"], bounds["upper_bound"])
    if "lower_bound" in bounds:
        return constraints.greater_than(bounds["lower_bound"])
    if "upper_bound" in bounds:
        return constraints.less_than(bounds["upper_bound"])
    return support


def split(parts: list[Target], flat: Tensor) -> Mapping[str, Tensor]:
    """Values of every target from joint unconstrained rows, `(draws, total)`."""
    found, begin = {}, 0
    for target in parts:
        found[target.name] = target.constrain(flat[:, begin : begin + target.size])
        begin += target.size
    return found
