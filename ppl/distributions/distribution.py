"""A distribution: a family and its tensors, built for one draw and lifted over many.

A body builds the distribution of one draw. Its tensors can be taken out, batched and put back, whatever vmap did in between; Pyro's object is made
only when something is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.distributions import constraints, transform_to

from ..errors import DistributionError
from .checks import check
from .domain import component_values
from .tails import TAILS
from .tensors import to_tensor
from .tracing import tracing

__all__ = ["Distribution", "Family"]


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
        values: The values of one component for finite families, sorted, `(cardinality, *event)`, of (parameters of that
            component); `None` when these parameters make them infinite or too many.
        moments: Mean and variance, of (parameters), where Pyro has none or is not exact.
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
    values: Callable[[Mapping[str, Tensor]], Tensor | None] | None = None
    moments: Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]] | None = None
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
        shape = numpy.broadcast_shapes(*(t.shape[:lifted] for t in parameters.values()))
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

    def collapsed(self) -> Distribution:
        """The same with lifted axes of size 1 where nothing varies along them: densities broadcast over the rest."""
        tensors = {}
        for k, t in self.parameters.items():
            for axis in range(self.lifted):
                if t.shape[axis] > 1 and t.stride(axis) == 0:
                    t = t.narrow(axis, 0, 1)
            tensors[k] = t
        lead = numpy.broadcast_shapes(*(t.shape[: self.lifted] for t in tensors.values()))
        tensors = {k: t.expand((*lead, *t.shape[self.lifted :])) for k, t in tensors.items()}
        return Distribution(self.family, tensors, self.lifted)

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
        return self._components() is not None

    def _components(self) -> list[Tensor] | None:
        if self.family.values is None:
            return None
        family = self.family
        return component_values(
            family.values,  # type: ignore[arg-type]
            self.parameters,
            family.ranks,
            self.lifted,
            tuple(self._own),
        )

    def domain(self) -> Tensor:
        """Every value of a finite distribution, over all lifted rows, sorted, `(cardinality, *event)`.

        Example:
            >>> from ppl.distributions import Binomial
            >>> Binomial([1, 2], 0.5).domain().tolist()
            [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
        """
        parts = self._components()
        if parts is None:
            raise DistributionError(f"{self.family.name} has no finite set of values.")
        if not self._own:
            return parts[0]
        grid = torch.meshgrid(*(torch.arange(len(part)) for part in parts), indexing="ij")
        columns = [part[i.reshape(-1)] for part, i in zip(parts, grid, strict=True)]
        return torch.stack(columns, dim=1).reshape((-1, *self.event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean, `(*batch, *event)`.

        Raises:
            DistributionError: If it is not known.
        """
        return self._moment("mean", 0)

    @property
    def variance(self) -> Tensor:
        """The variance of each entry, `(*batch, *event)`.

        Raises:
            DistributionError: If it is not known.
        """
        return self._moment("variance", 1)

    def _moment(self, name: str, which: int) -> Tensor:
        if self.family.moments is not None:
            return self.family.moments(self.parameters)[which]
        if self._base_event == () and (points := self._points()) is not None:
            # Component by component, each over its own values.
            values = points.reshape((-1, *[1] * len(self._leading)))
            weights = self._single_components().log_prob(values).exp()
            mean = (weights * values).sum(dim=0)
            return (weights * (values - mean) ** 2).sum(dim=0) if which else mean
        try:
            return getattr(self.to_torch(), name)
        except (NotImplementedError, AttributeError) as error:
            raise DistributionError(f"{self.family.name} has no known {name}.") from error

    def _points(self) -> Tensor | None:
        """All values that any component of a finite family can take."""
        if self.family.values is None:
            return None
        values = self.family.values(self.parameters)
        return None if values is None else values.to(torch.float64)

    def _single_components(self) -> Distribution:
        """Every axis as a lifted one: nothing is summed."""
        return Distribution(self.family, self.parameters, len(self._leading))

    def cdf(self, value: Any) -> Tensor:
        """P(X ≤ value), entry by entry, `(*shape, *batch, *own)`.

        Raises:
            DistributionError: If the family has no cdf here.
        """
        x = to_tensor(value, self.family.name, "value")
        if self.family.name in TAILS:
            return TAILS[self.family.name].log_cdf(self.parameters, x).exp()
        return self._by_pyro("cdf", x)

    def icdf(self, q: Any) -> Tensor:
        """The value below which lies the probability q, entry by entry, `(*shape, *batch, *own)`.

        Raises:
            DistributionError: If the family has no inverse cdf here.
        """
        p = to_tensor(q, self.family.name, "q")
        tails = TAILS.get(self.family.name)
        if tails is None or tails.from_cdf is None or tails.from_sf is None:
            return self._by_pyro("icdf", p)
        low = tails.from_cdf(self.parameters, p.clamp(max=0.5).log())
        high = tails.from_sf(self.parameters, torch.log1p(-p.clamp(min=0.5)))
        return torch.where(p < 0.5, low, high)

    def _by_pyro(self, name: str, value: Tensor) -> Tensor:
        try:
            return getattr(self.to_torch(), name)(value)
        except (NotImplementedError, AttributeError) as error:
            raise DistributionError(f"{self.family.name} has no known {name}.") from error

    # -- checks ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse parameters that are NaN, out of range, or rows that do not sum to one.

        Raises:
            DistributionError: It names the parameter and the first offending value.
        """
        check(self)

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

    def log_prob(self, value: Any, inside: bool = False) -> Tensor:
        """The log density or log mass, `(*shape, *batch)`; minus infinity outside the support.

        Args:
            value: `(*shape, *batch, *event)`, as a tensor, an array, a list or a number.
            inside: A promise that the value lies in the support, which is then not looked at.
        """
        if not self.lifted:
            self.check()
        value = to_tensor(value, self.family.name, "a value")
        own = len(self._own)
        if inside and self.family.build is not None and self.family.score is None:
            scores = self.to_torch().log_prob(value)
        elif self.family.score is not None:
            scores = self.family.score(self.parameters, value)
        else:
            scores = self._scored(value)
        return scores.sum(dim=tuple(range(-own, 0))) if own else scores

    def _scored(self, value: Tensor) -> Tensor:
        built = self.to_torch()
        support = self.family.support(self.parameters) if self.family.support else built.support
        # An infinite value has density zero everywhere, and Pyro's formulas give NaN for some.
        inside = support.check(value) & torch.isfinite(value).reshape(
            (*value.shape[: value.dim() - support.event_dim], -1)
        ).all(-1)
        if self.discrete:
            whole = value == value.round()
            inside = inside & (
                whole.flatten(-support.event_dim).all(-1) if support.event_dim else whole
            )
        if tracing() or not bool(inside.all()):
            # A value inside takes the place of one outside, so that neither the score nor its gradient is NaN.
            mask = inside.reshape((*inside.shape, *[1] * support.event_dim))
            value = torch.where(mask, value, self._inner(built, support, value))
        scores = built.log_prob(value)
        # inf − inf: on a corner where one factor of the density is infinite and another is zero, or beyond 1e308.
        inside = inside.expand(scores.shape) & ~torch.isnan(scores)
        return torch.where(inside, scores, torch.full_like(scores, -torch.inf))

    def _inner(self, built: Any, support: Any, value: Tensor) -> Tensor:
        if self.discrete:
            with torch.no_grad():
                return built.sample().to(torch.float64).expand(value.shape)
        transform = transform_to(support)
        shape = transform.inverse_shape(value.shape)
        return transform(torch.zeros(shape, dtype=torch.float64))

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={_shown(t)}" for k, t in self.parameters.items())
        return f"{self.family.name}({shown})"


def _shown(tensor: Tensor) -> str:
    """A number, a short list, or a shape; under vmap, where numbers cannot be read, a shape."""
    if torch._C._functorch.is_batchedtensor(tensor) or tensor.dim() > 1 or tensor.numel() > 6:
        return f"tensor{tuple(tensor.shape)}"
    if tensor.dim() == 0:
        return f"{float(tensor):g}"
    return f"[{', '.join(f'{x:g}' for x in tensor.tolist())}]"
