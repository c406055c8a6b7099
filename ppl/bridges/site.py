"""The distribution of one Pyro site: one of ours, seen through Pyro's idea of axes.

Ours has one axis of draws and then the node's own plates. Pyro counts axes from the right, gives every plate a place of its own there, and puts whatever
it enumerates or vectorises to the left of all plates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ..distributions import Distribution
from ..mechanism import quiet
from ..mechanism.calling import seed_globals
from .support import rebuilt

__all__ = ["Site"]


class Site(TorchDistribution):
    """A distribution of ours as a Pyro distribution.

    Args:
        law: With the batch `(draws, *own plates)`.
        lead: The axes left of all plates, whose product is `draws`.
        slots: The axes of all plates: the size of each plate that the node is in, and 1 for the others.
    """

    arg_constraints: dict = {}

    def __init__(self, law: Any, lead: Sequence[int], slots: Sequence[int]):
        self._law, self._lead, self._slots = law, tuple(lead), tuple(slots)
        super().__init__(
            torch.Size((*self._lead, *self._slots)),
            torch.Size(law.event_shape),
            validate_args=False,
        )

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether draws are differentiable in the parents."""
        law = self._law
        return (
            isinstance(law, Distribution)
            and law.family.build is not None
            and bool(law.to_torch().has_rsample)
        )

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """Whether Pyro may sum over its values."""
        return bool(self._law.finite)

    @property
    def support(self) -> Any:  # type: ignore[override]
        """The constraint of a value, with bounds on Pyro's axes."""
        support = self._law.support
        if support is None:
            return constraints.dependent
        event = len(self.event_shape)

        def moved(bound: Any) -> Any:
            if not isinstance(bound, Tensor) or bound.numel() == 1:
                return float(bound)
            if bound.dim() < event + len(self._law.batch_shape):
                return bound
            whole = bound.expand((*self._law.batch_shape, *self.event_shape))
            return self._outward(whole, event)

        return rebuilt(support, moved)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Site:
        """The same with more axes on the left."""
        shape = torch.Size(batch_shape)
        if shape == self.batch_shape:
            return self
        lead = shape[: len(shape) - len(self._slots)]
        if tuple(shape[len(lead) :]) != self._slots:
            raise NotImplementedError(
                f"A plate of Pyro's would repeat a node along its own plates: {tuple(self.batch_shape)} to {tuple(shape)}."
            )
        return Site(self._at(lead), lead, self._slots)

    def _at(self, lead: Sequence[int]) -> Any:
        """Our distribution with the draws broadcast to other leading axes."""
        if tuple(lead) == self._lead:
            return self._law
        rows = torch.arange(prod(self._lead)).reshape(self._lead or (1,))
        return self._law.select(rows.expand(tuple(lead) or (1,)).reshape(-1))

    def _outward(self, value: Tensor, event: int, shape: Sequence[int] = ()) -> Tensor:
        """From `(*shape, draws, *own, *event)` to `(*shape, *lead, *slots, *event)`."""
        tail = value.shape[value.dim() - event :]
        return value.reshape((*shape, *self._lead, *self._slots, *tail))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draws; torch's global generator decides them."""
        seed = int(torch.randint(2**62, ()))
        with quiet(), torch.no_grad():
            seed_globals(seed)
            drawn = self._law.sample(tuple(sample_shape))
        return self._outward(drawn, len(self.event_shape), tuple(sample_shape))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Draws that are differentiable in the parents."""
        drawn = self._law.rsample(tuple(sample_shape))
        return self._outward(drawn, len(self.event_shape), tuple(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """`(*lead, *slots)`, broadcast with the axes of the value."""
        event = len(self.event_shape)
        given = value.shape[: value.dim() - event]
        full = torch.broadcast_shapes(given, self.batch_shape)
        lead = full[: len(full) - len(self._slots)]
        law, draws = self._at(lead), prod(lead)
        whole = value.expand((*full, *self.event_shape))
        own = law.batch_shape[1:]
        if prod(full[len(lead) :]) != prod(own):
            raise ValueError(
                f"a value of shape {tuple(value.shape)} does not fit the plates {self._slots} and the event {tuple(self.event_shape)}"
            )
        with quiet():
            score = law.log_prob(whole.reshape((draws, *own, *self.event_shape)))
        return score.expand((draws, *own)).reshape(full)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Every value, `(cardinality, *batch or 1s, *event)`."""
        domain = self._law.domain()
        ones = [1] * len(self.batch_shape)
        values = domain.reshape((len(domain), *ones, *self.event_shape))
        if expand:
            values = values.expand((len(domain), *self.batch_shape, *self.event_shape))
        return values
