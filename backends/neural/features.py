"""Features: observed nodes as one vector of standardised numbers, categories as indicators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ppl.compiler import Query

__all__ = ["Features"]

#: Categories with more values than this stay numbers.
MOST_INDICATORS = 32


@dataclass(frozen=True, eq=False)
class Features:
    """How observations become vectors.

    Args:
        names: The observed nodes, in order.
        categories: The number of values of the nodes that become indicators.
        mean: Of every feature over the simulations, `(features,)`.
        scale: Standard deviation of every feature; 1 for constants.
    """

    names: tuple[str, ...]
    categories: Mapping[str, int]
    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, query: Query, names: Sequence[str], values: Mapping[str, Tensor]) -> Features:
        """Learn the scale from simulations, `(draws, *plates, *event)` each."""
        categories = {}
        for name in names:
            facts = query.mechanism.facts[name]
            top = int(values[name].max()) + 1 if facts.discrete else 0
            if facts.family == "Categorical" and top <= MOST_INDICATORS:
                categories[name] = top
        raw = _raw(names, categories, values)
        scale = raw.std(dim=0)
        return cls(
            tuple(names),
            categories,
            raw.mean(dim=0),
            torch.where(scale > 0, scale, torch.ones_like(scale)),
        )

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """`(draws, features)`, float32."""
        return ((_raw(self.names, self.categories, values) - self.mean) / self.scale).to(
            torch.float32
        )


def _raw(
    names: Sequence[str], categories: Mapping[str, int], values: Mapping[str, Tensor]
) -> Tensor:
    parts = []
    for name in names:
        value = values[name]
        if name in categories:
            value = torch.nn.functional.one_hot(
                value.clamp(0, categories[name] - 1), categories[name]
            )
        parts.append(value.reshape((len(value), -1)).to(torch.float64))
    return torch.cat(parts, dim=1)
