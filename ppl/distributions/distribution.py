"""A distribution: a family and its tensors, built for one draw and lifted over many.

A body builds the distribution of one draw. Its tensors can be taken out, batched and put back, whatever vmap did in between; Pyro's object is made
only when something is computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to

from ..errors import DistributionError

__all__ = ["Distribution", "Family"]

#: The largest product of independent finite components whose values are enumerated.
LARGEST_DOMAIN = 2**20


@dataclass(frozen=True, eq=False)
class Family:
    """A kind of distribution.

    Args:
        name: As errors and plans print it.
        ranks: How many event axes each parameter has.
        build: Makes the Pyro distribution from the tensors.
        discrete: Whether values are whole numbers.
        rows: Parameters that are rows of probabilities.
        score: log_prob where Pyro's is not exact, of (parameters, value).
        draw: Sampling where Pyro's is slow or clamps, of (parameters, shape).
        values: The values of one component for finite families, `(cardinality, *event)`, of (parameters).
        support: The support, of (parameters), where it is not Pyro's.
        demand: Checks beyond the constraints: returns a sentence or `None`, of (parameters).
        liftable: Whether the tensors say everything, so that they can be batched.
    """

    name: str
    ranks: Mapping[str, int]
    build: Callable[[Mapping[str, Tensor]], Any] | None = None
    discrete: bool = False
    rows: tuple[str, ...] = ()
    score: Callable[[Mapping[str, Tensor], Tensor], Tensor] | None = None
    draw: Callable[[Mapping[str, Tensor], tuple[int, ...]], Tensor] | None = None
    values: Callable[[Mapping[str, Tensor]], Tensor] | None = None
    support: Callable[[Mapping[str, Tensor]], Any] | None = None
    demand: Callable[[Mapping[str, Tensor]], str | None] | None = None
    event: Callable[[Mapping[str, Tensor]], tuple[int, ...]] | None = None
    liftable: bool = True
    constraints: Mapping[str, Any] = field(default_factory=dict)


class Distribution:
    """What a body returns: the law of one draw, or of a batch of them after lifting.

    Args:
        family: The kind.
        parameters: float64 tensors of one shape `(*lifted, *own)` before their event axes.
        lifted: How many leading axes belong to the library; the others are components of one draw.

    Example:
        >>> from ppl.distributions import Normal
        >>> d = Normal([0, 0, 0], 1)
        >>> d.event_shape, d.log_prob([0, 0, 0])
        (torch.Size([3]), tensor(-2.7568, dtype=torch.float64))
    """

    def __init__(self, family: Family, parameters: Mapping[str, Tensor], lifted: int = 0):
        self.family, self.parameters, self.lifted = family, dict(parameters), lifted
        self._pyro: Any = None

    # -- shapes ----------------------------------------------------------------------------------

    @property
    def _leading(self) -> torch.Size:
        name, tensor = next(iter(self.parameters.items()))
        return tensor.shape[: tensor.dim() - self.family.ranks[name]]

    @property
    def batch_shape(self) -> torch.Size:
        """The axes of the library, `(*lifted,)`."""
        return self._leading[: self.lifted]

    @property
    def _own(self) -> torch.Size:
        return self._leading[self.lifted :]

    @property
    def _base_event(self) -> tuple[int, ...]:
        if self.family.event is not None:
            return self.family.event(self.parameters)
        return tuple(self.to_torch().event_shape)

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one draw."""
        return torch.Size((*self._own, *self._base_event))

    def lift(self, parameters: Mapping[str, Tensor], lifted: int) -> Distribution:
        """The same family with batched tensors, whose first `lifted` axes are each of full size or 1."""
        if not lifted:
            return Distribution(self.family, parameters, 0)
        shape = torch.broadcast_shapes(*(t.shape[:lifted] for t in parameters.values()))
        return Distribution(
            self.family,
            {k: t.expand((*shape, *t.shape[lifted:])) for k, t in parameters.items()},
            lifted,
        )

    def select(self, index: Tensor) -> Distribution:
        """Rows of the first lifted axis; `index` may have any shape."""
        lifted = self.lifted - 1 + index.dim()
        return Distribution(self.family, {k: t[index] for k, t in self.parameters.items()}, lifted)

    def expand(self, batch_shape: Sequence[int]) -> Distribution:
        """Broadcast the lifted axes."""
        if tuple(batch_shape) == tuple(self.batch_shape):
            return self
        return Distribution(
            self.family,
            {
                k: t.expand((*batch_shape, *t.shape[self.lifted :]))
                for k, t in self.parameters.items()
            },
            len(batch_shape),
        )

    # -- what it is ------------------------------------------------------------------------------

    def to_torch(self) -> Any:
        """Pyro's object, whose batch shape is `(*lifted, *own)`."""
        if self._pyro is None:
            if self.family.build is None:
                raise DistributionError(f"{self.family.name} has no Pyro counterpart.")
            self._pyro = self.family.build(self.parameters)
        return self._pyro

    def to_pyro(self) -> Any:
        """Pyro's object, whose batch shape is `(*lifted,)`."""
        self.check()
        return self.to_torch().to_event(len(self._own))

    @property
    def discrete(self) -> bool:
        """Whether values are whole numbers."""
        return self.family.discrete

    @property
    def support(self) -> Any:
        """The constraint that a draw satisfies, own axes included."""
        base = (
            self.family.support(self.parameters) if self.family.support else self.to_torch().support
        )
        own = len(self._own)
        return constraints.independent(base, own) if own else base

    @property
    def finite(self) -> bool:
        """Whether the values can be enumerated."""
        if self.family.values is None:
            return False
        components = prod(self._own)
        if components <= 1:
            return True
        return len(self.family.values(self.parameters)) ** components <= LARGEST_DOMAIN

    def domain(self) -> Tensor:
        """Every value of a finite distribution, over all lifted rows, sorted, `(cardinality, *event)`."""
        if not self.finite or self.family.values is None:
            raise DistributionError(f"{self.family.name} has no finite set of values.")
        values = self.family.values(self.parameters)
        components = prod(self._own)
        if not self._own:
            return values
        index = torch.tensor(list(itertools.product(range(len(values)), repeat=components)))
        return values[index].reshape((len(index), *self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, *event)`."""
        return self._expectation(lambda x: x) if self.family.values else self.to_torch().mean

    @property
    def variance(self) -> Tensor:
        """The variance, `(*batch, *event)`."""
        if not self.family.values:
            return self.to_torch().variance
        return self._expectation(lambda x: x**2) - self.mean**2

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Of each component of a finite distribution, summed over its values."""
        assert self.family.values is not None
        values = self.family.values(self.parameters).to(torch.float64)
        event = values.dim() - 1
        lead = len(self._leading)
        spread = values.reshape((len(values), *[1] * lead, *values.shape[1:]))
        whole = Distribution(self.family, self.parameters, max(lead, 1) if lead else 0)
        weights = whole.log_prob(spread).exp()
        return (weights.reshape((*weights.shape, *[1] * event)) * function(spread)).sum(dim=0)

    # -- checks ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse parameters that are NaN, out of range, or rows that do not sum to one.

        Raises:
            DistributionError: It names the parameter and the first offending value.
        """
        for name, tensor in self.parameters.items():
            if bool(torch.isnan(tensor).any()):
                raise DistributionError(f"{self.family.name} was given NaN for {name}.")
            if name in self.family.rows:
                self._check_rows(name, tensor)
                continue
            constraint = self.family.constraints.get(name)
            if constraint is None and self.family.build is not None:
                constraint = _constraint(self.to_torch(), name)
            if constraint is None or constraints.is_dependent(constraint):
                continue
            inside = constraint.check(tensor)
            if not bool(inside.all()):
                wrong = tensor[~inside] if inside.shape == tensor.shape else tensor
                shown = (
                    f"{float(wrong.reshape(-1)[0]):g}"
                    if inside.shape == tensor.shape
                    else "a matrix that is not"
                )
                raise DistributionError(
                    f"{self.family.name} was given {name} = {shown}; it must satisfy {_spelled(constraint)}."
                )
        if self.family.demand is not None:
            complaint = self.family.demand(self.parameters)
            if complaint:
                raise DistributionError(f"{self.family.name} {complaint}.")

    def _check_rows(self, name: str, tensor: Tensor) -> None:
        if bool((tensor < 0).any()):
            raise DistributionError(
                f"{self.family.name} was given a negative probability, {float(tensor.min()):g}."
            )
        total = tensor.sum(dim=-1)
        bad = (total - 1).abs() > 1e-5
        if bool(bad.any()):
            rows = tensor.reshape(-1, tensor.shape[-1])
            i = int(bad.reshape(-1).nonzero()[0, 0])
            shown = ", ".join(f"{x:g}" for x in rows[i][:8].tolist())
            raise DistributionError(
                f"{self.family.name} was given a row of {name} that sums to {float(total.reshape(-1)[i]):g}, not to one: "
                f"[{shown}{', …' if rows.shape[1] > 8 else ''}]."
            )

    # -- drawing and scoring ---------------------------------------------------------------------

    def sample(self, shape: Sequence[int] = ()) -> Tensor:
        """Draws, `(*shape, *batch, *event)`: int64 when discrete, float64 otherwise."""
        if not self.lifted:
            self.check()
        with torch.no_grad():
            shape = tuple(shape)
            value = (
                self.family.draw(self.parameters, shape)
                if self.family.draw
                else self.to_torch().sample(shape)
            )
            return value.to(torch.int64 if self.discrete else torch.float64)

    def rsample(self, shape: Sequence[int] = ()) -> Tensor:
        """Draws that are differentiable in the parameters.

        Raises:
            DistributionError: If the family cannot be reparametrised.
        """
        if self.family.build is None or not self.to_torch().has_rsample:
            raise DistributionError(f"{self.family.name} has no reparametrised draws.")
        return self.to_torch().rsample(tuple(shape))

    def log_prob(self, value: Any) -> Tensor:
        """The log density or log mass, `(*shape, *batch)`; minus infinity outside the support.

        Args:
            value: `(*shape, *batch, *event)`, as a tensor, an array, a list or a number.
        """
        if not self.lifted:
            self.check()
        value = torch.as_tensor(value)
        value = (
            value.to(torch.float64)
            if not value.is_floating_point() or value.dtype != torch.float64
            else value
        )
        own = len(self._own)
        if self.family.score is not None:
            scores = self.family.score(self.parameters, value)
        else:
            scores = self._scored(value)
        return scores.sum(dim=tuple(range(-own, 0))) if own else scores

    def _scored(self, value: Tensor) -> Tensor:
        built = self.to_torch()
        support = self.family.support(self.parameters) if self.family.support else built.support
        inside = support.check(value) & ~torch.isnan(value).reshape(
            (*value.shape[: value.dim() - support.event_dim], -1)
        ).any(-1)
        if self.discrete:
            whole = value == value.round()
            inside = inside & (
                whole.flatten(-support.event_dim).all(-1) if support.event_dim else whole
            )
        if not bool(inside.all()):
            # A value inside takes the place of one outside, so that neither the score nor its gradient is NaN.
            mask = inside.reshape((*inside.shape, *[1] * support.event_dim))
            value = torch.where(mask, value, self._inner(built, support, value))
        scores = built.log_prob(value)
        return torch.where(inside.expand(scores.shape), scores, torch.full_like(scores, -torch.inf))

    def _inner(self, built: Any, support: Any, value: Tensor) -> Tensor:
        if self.discrete:
            with torch.no_grad():
                return built.sample().to(torch.float64).expand(value.shape)
        transform = transform_to(support)
        shape = transform.inverse_shape(value.shape)
        return transform(torch.zeros(shape, dtype=torch.float64))

    def __repr__(self) -> str:
        shown = []
        for name, tensor in self.parameters.items():
            text = f"{float(tensor):g}" if tensor.dim() == 0 else f"tensor{tuple(tensor.shape)}"
            shown.append(f"{name}={text}")
        return f"{self.family.name}({', '.join(shown)})"


def _constraint(built: Any, name: str) -> Any:
    base = built
    while name not in base.arg_constraints and hasattr(base, "base_dist"):
        base = base.base_dist
    return base.arg_constraints.get(name)


def _spelled(constraint: Any) -> str:
    names = {
        "Real()": "a real number",
        "GreaterThan(lower_bound=0.0)": "> 0",
        "GreaterThanEq(lower_bound=0.0)": ">= 0",
        "Interval(lower_bound=0.0, upper_bound=1.0)": "0 <= p <= 1",
        "IntegerGreaterThan(lower_bound=0)": "a whole number >= 0",
        "PositiveDefinite()": "positive definite",
    }
    return names.get(str(constraint), str(constraint))
