"""One's own distribution: a log density and a sampler, called one value at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.distributions import constraints

from .distribution import Distribution, Family

__all__ = ["Density"]

Parameters = Mapping[str, Tensor]


def Density(
    log_prob: Callable[[Tensor], Any],
    sample: Callable[[numpy.random.Generator], Any],
    support: Any = constraints.real,
) -> Distribution:
    """One's own distribution.

    Args:
        log_prob: The log density of one value, normalised.
        sample: One draw, from a seeded generator.
        support: A `torch.distributions.constraints` object.

    Example:
        >>> half = Density(lambda x: torch.log(2 * x), lambda rng: rng.random() ** 0.5, constraints.unit_interval)
        >>> round(float(half.log_prob(0.5)), 6)
        0.0
    """

    @cache
    def event() -> tuple[int, ...]:
        # Asked for late: a body that is only built, or built under vmap, does not sample.
        return tuple(torch.as_tensor(sample(numpy.random.default_rng(0))).shape)

    def score(q: Parameters, x: Tensor) -> Tensor:
        rows = x.reshape((-1, *event()))
        inside = support.check(rows)
        inside = inside.reshape((len(rows), -1)).all(-1)
        scored = [
            torch.as_tensor(log_prob(row), dtype=torch.float64).reshape(())
            if bool(ok)
            else torch.tensor(-torch.inf, dtype=torch.float64)
            for row, ok in zip(rows, inside, strict=True)
        ]
        return torch.stack(scored).reshape(x.shape[: x.dim() - len(event())])

    def draw(q: Parameters, shape: tuple[int, ...]) -> Tensor:
        count = int(numpy.prod(shape, dtype=int))
        seeds = torch.randint(2**62, (count,)).tolist()
        values = [
            torch.as_tensor(sample(numpy.random.default_rng(s)), dtype=torch.float64) for s in seeds
        ]
        return torch.stack(values).reshape((*shape, *event()))

    family = Family(
        "Density",
        {"none": 0},
        discrete=bool(support.is_discrete),
        score=score,
        draw=draw,
        support=lambda q: support,
        event=lambda q: event(),
        liftable=False,
    )
    return Distribution(family, {"none": torch.zeros((), dtype=torch.float64)})
