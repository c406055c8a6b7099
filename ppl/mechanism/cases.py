"""A batch of distributions that are not all of one family: a body returned one or another by branch.

It answers what a lifted `Distribution` answers, part by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy
import torch
from torch import Tensor

from ..distributions import Distribution
from ..errors import ModelError

__all__ = ["Cases", "stack"]


def stack(distributions: Sequence[Distribution]) -> Distribution | Cases:
    """One batch, `(len(distributions),)`, of single distributions; one family where possible."""
    groups: dict = {}
    for i, d in enumerate(distributions):
        shapes = tuple((k, tuple(v.shape)) for k, v in d.parameters.items())
        key = (d.family, shapes) if d.family.liftable else i
        groups.setdefault(key, []).append(i)
    parts = []
    for rows in groups.values():
        first = distributions[rows[0]]
        if first.family.liftable:
            tensors = {
                k: torch.stack([distributions[i].parameters[k] for i in rows])
                for k in first.parameters
            }
            parts.append((torch.tensor(rows), first.lift(tensors, 1)))
        else:
            parts.append((torch.tensor(rows), first))
    if len(parts) == 1 and parts[0][1].family.liftable:
        return parts[0][1]
    return Cases((len(distributions),), parts)


class Cases:
    """Distributions of several families over one batch.

    Args:
        batch_shape: The axes of the batch.
        parts: For each part, the rows of the flattened batch that it serves, and the distribution: lifted over these rows,
            or a single one that serves them all.
    """

    def __init__(self, batch_shape: Sequence[int], parts: Sequence[tuple[Tensor, Distribution]]):
        self.batch_shape = torch.Size(batch_shape)
        self.parts = list(parts)
        shapes = {tuple(d.event_shape) for _, d in parts}
        if len(shapes) > 1:
            raise ModelError(
                f"the shape of its draws changes from call to call: {', '.join(map(str, sorted(shapes)))}"
            )
        self.event_shape = torch.Size(shapes.pop())

    @property
    def discrete(self) -> bool:
        return all(d.discrete for _, d in self.parts)

    @property
    def finite(self) -> bool:
        return all(d.finite for _, d in self.parts)

    @property
    def support(self):
        supports = [d.support for _, d in self.parts]
        return supports[0] if all(str(s) == str(supports[0]) for s in supports) else None

    @property
    def family(self):
        return self.parts[0][1].family

    @property
    def name(self) -> str:
        return " or ".join(dict.fromkeys(d.family.name for _, d in self.parts))

    def domain(self) -> Tensor:
        """All values that any part can take, sorted, `(cardinality, *event)`."""
        return torch.unique(torch.cat([d.domain() for _, d in self.parts]), dim=0)

    def check(self) -> None:
        for _, d in self.parts:
            d.check()

    def sample(self, shape=()) -> Tensor:
        """`(*shape, *batch, *event)`."""
        rows = prod(self.batch_shape)
        dtype = torch.int64 if self.discrete else torch.float64
        out = torch.empty(prod(shape), rows, *self.event_shape, dtype=dtype)
        for index, d in self.parts:
            draws = d.sample((prod(shape),) if d.lifted else (prod(shape), len(index)))
            out[:, index] = draws.to(dtype)
        return out.reshape((*shape, *self.batch_shape, *self.event_shape))

    def log_prob(self, value: Tensor, inside: bool = False) -> Tensor:
        """`(*shape, *batch)` for a value `(*shape, *batch, *event)`."""
        value = torch.as_tensor(value)
        event = len(self.event_shape)
        lead = numpy.broadcast_shapes(value.shape[: value.dim() - event], self.batch_shape)
        rows = prod(self.batch_shape)
        flat = value.expand((*lead, *self.event_shape)).reshape((-1, rows, *self.event_shape))
        out = torch.zeros(len(flat), rows, dtype=torch.float64)
        for index, d in self.parts:
            if d.lifted:
                scores = d.log_prob(flat[:, index])
            else:
                each = [d.log_prob(row) for row in flat[:, index].reshape((-1, *self.event_shape))]
                scores = torch.stack([torch.as_tensor(s) for s in each]).reshape(
                    (len(flat), len(index))
                )
            out = out.index_copy(1, index, scores)
        return out.reshape(lead)

    def expand(self, batch_shape) -> Cases:
        """Broadcast the batch."""
        numbers = torch.arange(prod(self.batch_shape)).reshape(self.batch_shape)
        return self._at(numbers.expand(batch_shape))

    def select(self, index: Tensor) -> Cases:
        """Rows of the first axis of the batch."""
        numbers = torch.arange(prod(self.batch_shape)).reshape(self.batch_shape)
        return self._at(numbers[index])

    def _at(self, numbers: Tensor) -> Cases:
        """The batch whose entries are these rows of this one's flattened batch."""
        flat, parts = numbers.reshape(-1), []
        for index, d in self.parts:
            position = torch.full((prod(self.batch_shape),), -1)
            position[index] = torch.arange(len(index))
            found = position[flat]
            rows = (found >= 0).nonzero()[:, 0]
            if len(rows):
                parts.append((rows, d.select(found[rows]) if d.lifted else d))
        return Cases(numbers.shape, parts)
