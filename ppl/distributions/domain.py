"""The values of a finite distribution: component by component, then their product."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor

__all__ = ["component_values", "whole_numbers"]

#: The largest number of values that are enumerated, of one component and of the product of all.
LARGEST_DOMAIN = 2**20

Parameters = Mapping[str, Tensor]


def whole_numbers(low: Tensor, high: Tensor) -> Tensor | None:
    """Every whole number that lies in one of the ranges, sorted; `None` when there are too many.

    Args:
        low: First numbers, of any shape.
        high: Last numbers, included, of the same shape.

    Example:
        >>> whole_numbers(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 6.0]))
        tensor([0, 1, 5, 6])
    """
    low, high = torch.broadcast_tensors(low.detach(), high.detach())
    least, most = float(low.min()), float(high.max())
    # NaN and infinity compare as false.
    if not most - least < LARGEST_DOMAIN:
        return None
    first, count = int(least), int(most) - int(least) + 1
    starts = (low.reshape(-1) - first).to(torch.int64)
    ends = (high.reshape(-1) - first).to(torch.int64) + 1
    changes = torch.zeros(count + 1, dtype=torch.int64)
    changes.index_add_(0, starts, torch.ones_like(starts))
    changes.index_add_(0, ends, -torch.ones_like(ends))
    return (changes.cumsum(0)[:-1] > 0).nonzero()[:, 0] + first


def component_values(
    values: Callable[[Parameters], Tensor | None],
    parameters: Parameters,
    ranks: Mapping[str, int],
    lifted: int,
    own: tuple[int, ...],
) -> list[Tensor] | None:
    """The values of each component, each `(cardinality, *event)`; `None` when their product is too large."""
    found: list[Tensor] = []
    count = 1
    flat = {
        k: t.reshape((*t.shape[:lifted], prod(own), *t.shape[t.dim() - ranks[k] :]))
        for k, t in parameters.items()
    }
    for i in range(prod(own)):
        part = values({k: t.select(lifted, i) for k, t in flat.items()})
        if part is None:
            return None
        count *= len(part)
        if count > LARGEST_DOMAIN:
            return None
        found.append(part)
    return found
